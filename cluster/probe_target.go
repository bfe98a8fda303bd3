package cluster

import "time"

// How probes become an opinion.
const (
	fall = 3 // failures in a row
	rise = 2 // successes in a row; the very first success is enough for a start
	// A relay that was lost more than maxFalls times in flapMemory must hold
	// out longer before it counts as up: twice as long each time it falls
	// again, at most maxRise probes.
	maxFalls   = 3
	flapMemory = 2 * time.Minute
	maxRise    = int(flapMemory / probeTick)
)

// target is what a prober remembers of a relay that it probes.
type target struct {
	up, down  bool // neither before the first opinion
	good, bad int  // probes in a row
	failure   Failure
	since     time.Time // it is up, or down
	falls     []time.Time
	patience  int     // good probes that make it up again; 0: the first does
	doubtful  bool    // it was lost with so many others that we may be cut off
	told      Opinion // to the pool; "" is none
}

// note takes in a probe. A relay that was never up is lost only when it is one
// of those that viewers are sent to: one that warms up was never there.
func (t *target) note(f Failure, listable bool, now time.Time) {
	if f == "" {
		t.good++
		t.bad = 0
		if !t.up && t.good >= max(t.patience, 1) {
			t.up, t.down, t.doubtful, t.since = true, false, false, now
			t.patience = max(t.patience, rise)
		}
		return
	}
	t.bad++
	t.good = 0
	if t.failure = f; t.bad >= fall && !t.down && (t.up || listable) {
		t.fell(now)
	}
}

func (t *target) fell(now time.Time) {
	if t.up && now.Sub(t.since) >= flapMemory { // it held out
		t.falls, t.patience = nil, rise
	}
	for len(t.falls) > 0 && now.Sub(t.falls[0]) > flapMemory {
		t.falls = t.falls[1:]
	}
	// Bounded: between two falls lie at least fall failures of a second each.
	t.falls = append(t.falls, now)
	if len(t.falls) > maxFalls || t.patience > rise {
		t.patience = min(2*max(t.patience, rise), maxRise)
	}
	t.up, t.down, t.since = false, true, now
}

// opinion is what there is to tell.
func (t *target) opinion() (Opinion, Failure) {
	switch {
	case t.up:
		return OpinionUp, ""
	case t.down && t.doubtful:
		return OpinionDoubt, t.failure
	case t.down:
		return OpinionDown, t.failure
	}
	return OpinionNone, ""
}
