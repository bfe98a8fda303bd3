package origin

import (
	"bytes"
	"time"
)

// wrongStep is how far a time may be off what its predecessor and the arrival
// let expect. Pictures are reordered by less.
const wrongStep = time.Second

// trackHealth is what is known of one track of a feed.
type trackHealth struct {
	of    *ingestTrack
	video bool
	frame frameLimits
	gop   gopHealth

	came    time.Time // the newest unit
	open    trackSecond
	window  [healthWindow]trackSecond
	seconds int // in the window, closed since the last jump

	newest  time.Duration // the greatest PTS
	arrived time.Duration // when that came, from the feed's beginning
	jitter  float64       // RFC 3550 section 6.4.1, in seconds
	drift   delayLine

	jumps  int // of the timestamps
	jumped time.Time
	by     time.Duration // the latest one

	before  []byte // the sound's frame before
	tiny    int    // pictures in a row
	keySize int    // of the newest key picture's slices, bytes
}

// trackSecond is what came in one second.
type trackSecond struct {
	units, bytes int64
	between      int64         // pictures that are no key pictures
	still        int64         // of these, such that show next to nothing new
	silent       int64         // frames of sound that seem to have none
	reach        time.Duration // the greatest PTS by its end
	least        time.Duration // the least of arrival − PTS, if there are units
}

func newTrackHealth(t *ingestTrack) trackHealth {
	h := trackHealth{of: t, video: t.video}
	h.frame.learn(t.form.codec())
	return h
}

// unit takes a unit that came so long after the feed's first one.
func (t *trackHealth) unit(u *timedUnit, s shaped, arrival time.Duration) {
	if s.changed {
		t.frame.learn(t.of.form.codec())
	}
	t.clock(u, arrival)
	t.open.units++
	t.open.bytes += u.bytes()
	if t.video {
		t.picture(u, s)
	} else {
		t.sound(s)
	}
}

// clock follows the timestamps. Of pictures that are reordered only those count
// that are shown later than all before: what comes between them is in no order
// with its coming.
func (t *trackHealth) clock(u *timedUnit, arrival time.Duration) {
	first := t.came.IsZero()
	t.came = u.arrival
	step, passed := u.pts-t.newest, arrival-t.arrived
	if !first && (step < -wrongStep || step > wrongStep && step-passed > wrongStep) {
		t.jumps, t.jumped, t.by = t.jumps+1, u.arrival, step-passed
		t.anew()
		first = true
	}
	delay := arrival - u.pts
	if t.open.units == 0 || delay < t.open.least {
		t.open.least = delay
	}
	t.drift.take(delay)
	if !first && step <= 0 {
		return
	}
	if !first {
		t.jitter += ((passed - step).Abs().Seconds() - t.jitter) / 16
	}
	t.newest, t.arrived = u.pts, arrival
	t.open.reach = u.pts
}

// anew forgets what was measured on a count that is over.
func (t *trackHealth) anew() {
	t.seconds, t.open, t.drift = 0, trackSecond{}, delayLine{}
	t.gop.anew()
}

func (t *trackHealth) picture(u *timedUnit, s shaped) {
	if len(s.payload) == 0 {
		return
	}
	t.gop.picture(u, s)
	if s.random {
		t.keySize = s.sliceBytes
		return
	}
	t.open.between++
	if s.sliceBytes > t.frame.tiny {
		t.tiny = 0
		return
	}
	if t.tiny++; t.tiny >= tinyRun {
		t.open.still++
	}
}

func (t *trackHealth) sound(s shaped) {
	if len(s.payload) != 1 {
		return
	}
	frame := s.payload[0]
	if len(frame) <= t.frame.tiny || bytes.Equal(frame, t.before) {
		t.open.silent++
	}
	t.before = frame // its bytes are never changed
}

// close closes the open second.
func (t *trackHealth) close() {
	t.window[t.seconds%healthWindow] = t.open
	t.seconds++
	t.open = trackSecond{reach: t.open.reach}
	t.drift.second()
}

// back is the window's second that was closed n seconds ago, 0 the newest.
func (t *trackHealth) back(n int) *trackSecond {
	return &t.window[(t.seconds-1-n)%healthWindow]
}

// sum adds up the newest seconds, as many as there are.
func (t *trackHealth) sum(seconds int) (all trackSecond, n int) {
	n = min(seconds, t.seconds, healthWindow)
	for i := range n {
		s := t.back(i)
		all.units += s.units
		all.bytes += s.bytes
		all.between += s.between
		all.still += s.still
		all.silent += s.silent
		if s.units > 0 && (all.units == s.units || s.least < all.least) {
			all.least = s.least
		}
	}
	return all, n
}

// bitRate is in bits per second of arrival.
func (t *trackHealth) bitRate() float64 {
	all, n := t.sum(rateSeconds)
	if n == 0 {
		return 0
	}
	return float64(all.bytes*8) / float64(n)
}

// frameRate is in units per second of the encoder's clock, 0 while not known.
func (t *trackHealth) frameRate() float64 {
	n := min(rateSeconds, t.seconds-1)
	if n < 1 {
		return 0
	}
	all, _ := t.sum(n)
	span := t.back(0).reach - t.back(n).reach
	if span <= 0 {
		return 0
	}
	return float64(all.units) / span.Seconds()
}

// delay is by how much units come later than the common zero of all tracks lets
// expect: the least of the window. ok is false while nothing is known.
func (t *trackHealth) delay() (delay time.Duration, ok bool) {
	all, _ := t.sum(rateSeconds)
	return all.least + t.of.offset, all.units > 0 && t.of.anchored
}

// missing tells whether nothing came for some seconds while others may have.
func (t *trackHealth) missing(end, begun time.Time) bool {
	since := t.came
	if since.IsZero() {
		since = begun
	}
	return end.Sub(since) >= missingAfter
}
