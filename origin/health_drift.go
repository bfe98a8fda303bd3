package origin

import (
	"slices"
	"time"
)

const (
	// driftWindow is how many seconds the least delay is taken from: it has at
	// least one unit that nothing held up on its way.
	driftWindow = 10

	// driftWindows bounds how far it looks back: ten minutes.
	driftWindows = 60

	// leastDriftWindows are needed before it says something.
	leastDriftWindows = 6
)

// delayLine finds how much faster or slower the encoder's clock goes than ours:
// the least delays of windows lie on a line, whatever the jitter above it.
type delayLine struct {
	first   time.Duration // the first window's
	least   time.Duration // of the open window
	units   int           // in it
	seconds int           // of it

	delays [driftWindows]time.Duration // a ring
	count  int
}

// take takes how much later than its PTS a unit came.
func (d *delayLine) take(delay time.Duration) {
	if d.units == 0 || delay < d.least {
		d.least = delay
	}
	d.units++
}

// second passes. A window without a unit does not count.
func (d *delayLine) second() {
	if d.seconds++; d.seconds < driftWindow {
		return
	}
	if d.units > 0 {
		if d.count == 0 {
			d.first = d.least
		}
		d.delays[d.count%driftWindows] = d.least
		d.count++
	}
	d.units, d.seconds = 0, 0
}

// rate is how much faster the encoder's clock goes, as a ratio: 1e-6 is one
// second in eleven days. It is the median of many slopes, so that a few windows
// without a unit that came at once do not bend it. ok is false in the first
// minute.
func (d *delayLine) rate() (rate float64, ok bool) {
	n := min(d.count, driftWindows)
	if n < leastDriftWindows {
		return 0, false
	}
	half := n / 2
	var slopes [driftWindows / 2]float64
	for i := range n - half {
		from, to := d.delays[(d.count-n+i)%driftWindows], d.delays[(d.count-n+i+half)%driftWindows]
		slopes[i] = (from - to).Seconds() / float64(half*driftWindow)
	}
	all := slopes[:n-half]
	slices.Sort(all)
	return all[len(all)/2], true
}

// ahead is how far the encoder's clock has come ahead of ours since the
// beginning.
func (d *delayLine) ahead() time.Duration {
	if d.count == 0 {
		return 0
	}
	return d.first - d.delays[(d.count-1)%driftWindows]
}
