package origin

import (
	"math"
	"time"
)

// How a rung is laid onto the lead's time: by the key pictures, which an encoder
// of several renditions makes at the same moments.

const (
	// maxKeyPictures is how many of the lead's are remembered: rungs that come
	// that much later are not aligned.
	maxKeyPictures = 16

	// clocksAgree is how far two feeds' own clocks may be from what their wall
	// times say, to be taken for one clock. Feeds of one encoder differ by what
	// its coding of one rung takes longer, those of two by anything.
	clocksAgree = 500 * time.Millisecond

	// clockSlack is how far apart two key pictures may be, on one clock, to be
	// the same: muxers shift each output by the priming of its sound, or by the
	// delay of its B-frames.
	clockSlack = 150 * time.Millisecond

	// wallSlack is the same by wall time. The nearest is taken, so key pictures
	// must be twice as far apart.
	wallSlack = 450 * time.Millisecond

	// sureSlack is how near a key picture must be to be taken before it is known
	// that no nearer one comes.
	sureSlack = 10 * time.Millisecond

	// clockCycle is where clocks begin anew that went through MPEG-TS.
	clockCycle = (1 << 33) * time.Second / videoClockRate
)

// keyPicture is one of the lead's.
type keyPicture struct {
	at    int64 // media time as shown, in ticks of the lead
	pts   time.Duration
	clock time.Duration
	wall  time.Time
}

// keyPictures are the latest of the lead's run, and where the lead is.
type keyPictures struct {
	all   []keyPicture
	pts   time.Duration // of the newest picture
	clock time.Duration
	wall  time.Time
}

// see notes a picture of the lead, whose track counts rate ticks a second.
func (k *keyPictures) see(u Unit, at int64, rate int) {
	k.pts, k.clock, k.wall = ticksDuration(u.PTS, rate), u.Clock, u.WallTime
	if !u.Random {
		return
	}
	if len(k.all) == maxKeyPictures {
		k.all = append(k.all[:0], k.all[1:]...)
	}
	k.all = append(k.all, keyPicture{at: at, pts: k.pts, clock: u.Clock, wall: u.WallTime})
}

// verdict is what is known of a rung's key picture.
type verdict int

const (
	unknownKey verdict = iota // the lead has none that goes with it
	earlyKey                  // the lead has not come so far
	sameClock
	sameMoment
)

func (v verdict) String() string {
	if v == sameClock {
		return "the encoder's clock"
	}
	return "the moment it came"
}

// match finds the lead's key picture that shows what this one of a rung shows:
// by the encoder's clock if both have the same one, else by the moment. tied
// tells that the rung's clock is the lead's PTS. offset is by how much it is later
// than the nearest one.
func (k *keyPictures) match(u *Unit, tied bool) (at int64, offset time.Duration, v verdict) {
	if len(k.all) == 0 {
		return 0, 0, earlyKey
	}
	apart, wallApart := clockApart(u.Clock, k.clock), u.WallTime.Sub(k.wall)
	distance, slack, v := func(key *keyPicture) time.Duration { return u.WallTime.Sub(key.wall) }, wallSlack, sameMoment
	ahead := wallApart
	switch {
	case tied:
		distance, slack, v = func(key *keyPicture) time.Duration { return u.Clock - key.pts }, sureSlack, sameClock
		ahead = u.Clock - k.pts
	case (apart - wallApart).Abs() < clocksAgree:
		distance, slack, v = func(key *keyPicture) time.Duration { return clockApart(u.Clock, key.clock) }, clockSlack, sameClock
		ahead = apart
	}
	offset = math.MaxInt64
	for i := range k.all {
		if d := distance(&k.all[i]); d.Abs() < offset.Abs() {
			offset, at = d, k.all[i].at
		}
	}
	switch {
	case offset.Abs() > sureSlack && ahead > -slack:
		return 0, offset, earlyKey // a nearer one may come
	case offset.Abs() > slack:
		return 0, offset, unknownKey
	}
	return at, offset, v
}

// clockApart is a − b on clocks that may have begun anew.
func clockApart(a, b time.Duration) time.Duration {
	d := (a - b) % clockCycle
	switch {
	case d > clockCycle/2:
		d -= clockCycle
	case d < -clockCycle/2:
		d += clockCycle
	}
	return d
}
