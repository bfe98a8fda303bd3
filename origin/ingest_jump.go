package origin

import "time"

const (
	// maxJump is the largest difference between the steps of the encoder's clock
	// and of ours from one access unit to the next. Beyond it the encoder has
	// begun a new count.
	maxJump = 10 * time.Second
	// maxBack is how far the times of a track may go back: pictures are sent in
	// the order of decoding, and shown in another. Beyond it, too, a new count
	// has begun.
	maxBack = time.Second

	// maxJumps bounds the new counts of jumpWindow; with more the encoder is
	// dropped. A file that is sent in a loop has one a round.
	maxJumps   = 10
	jumpWindow = time.Minute

	// sameJump is how much the jumps of two tracks may differ that are one jump of
	// the encoder's one clock: what arrival is uncertain by. They are then taken
	// to be equal, so that sound stays in step with the picture.
	sameJump = time.Second
)

// jump is the latest one of an encoder's clock.
type jump struct {
	by    time.Duration // beyond what has passed
	at    time.Time     // when its first unit came
	moved time.Duration // of all jumps: what they add to the offset of a track
	began time.Time     // of the jumps that are counted
	count int
}

// followJump takes up a new count of the encoder's clock. The publication's
// times then go on by maxJump, for all tracks: the packager ends its run, and
// the programme goes on with a new one at the next key picture.
func (in *ingest) followJump(t *ingestTrack, u *timedUnit) error {
	by, jumps := t.checkJump(*u)
	if !jumps {
		return nil
	}
	u.afterLoss = true // decoding times can't be found across it
	if in.sink == nil {
		in.held, in.heldBytes = nil, 0 // nothing was promised yet
	}
	same := u.arrival.Sub(in.jump.at) < maxJump && (by-in.jump.by).Abs() < sameJump && !t.followed
	if same {
		t.followed = true
		t.offset += in.jump.by
		return nil
	}
	if in.jump.count == 0 || u.arrival.Sub(in.jump.began) > jumpWindow {
		in.jump.began, in.jump.count = u.arrival, 0
	}
	in.jump.by, in.jump.at = by, u.arrival
	if in.jump.count++; in.jump.count > maxJumps {
		return errJump
	}
	for _, other := range in.tracks {
		other.followed = false
		other.offset -= maxJump
	}
	t.followed = true
	t.offset += by
	in.jump.moved += by - maxJump
	in.logger.Warn("the encoder's timestamps jumped", "by", by.Round(time.Millisecond), "times", in.jump.count)
	return nil
}

// checkJump tells whether the track's clock begins a new count with u, and how
// far that is from where the old one would be.
func (t *ingestTrack) checkJump(u timedUnit) (by time.Duration, jumps bool) {
	if !t.previousArrival.IsZero() {
		step := u.pts - t.previous
		by = step - u.arrival.Sub(t.previousArrival)
		jumps = by.Abs() > maxJump || step < -maxBack
	}
	t.previous, t.previousArrival = u.pts, u.arrival
	return by, jumps
}
