package relay

import (
	"errors"
	"fmt"
	"time"
)

// Constants of a stream are chosen at its birth and never change: a player
// that sees TARGETDURATION or PART-HOLD-BACK move between two reloads stops
// for good. Parts are cut to fit them, they are never derived from what came.
type Constants struct {
	TargetDuration time.Duration `json:"target_duration"`
	PartTarget     time.Duration `json:"part_target"`
	PartHoldBack   time.Duration `json:"part_hold_back"`
	HoldBack       time.Duration `json:"hold_back"`
	CanSkipUntil   time.Duration `json:"can_skip_until"`
}

// DefaultConstants returns those of a stream whose configuration names none.
// A part of 0.225 s has a legal number of frames at each usual frame rate;
// 0.2 s has none at 23.976, 24 and 29.97.
func DefaultConstants() Constants {
	return ConstantsFor(2*time.Second, 225*time.Millisecond)
}

// ConstantsFor derives the hold-backs and the skip boundary from the two
// durations that are chosen: PART-HOLD-BACK 3 × PART-TARGET, HOLD-BACK 3 × and
// CAN-SKIP-UNTIL 6 × TARGETDURATION.
func ConstantsFor(target, part time.Duration) Constants {
	return Constants{
		TargetDuration: target,
		PartTarget:     part,
		PartHoldBack:   3 * part,
		HoldBack:       3 * target,
		CanSkipUntil:   6 * target,
	}
}

// Validate returns a sentence on what the protocol forbids in c, or nil.
func (c Constants) Validate() error {
	switch {
	case c.TargetDuration < time.Second || c.TargetDuration%time.Second != 0:
		return fmt.Errorf("target duration %v: want whole seconds, at least 1s", c.TargetDuration)
	case c.TargetDuration > time.Minute:
		return fmt.Errorf("target duration %v: want at most 1m", c.TargetDuration)
	case c.PartTarget < 50*time.Millisecond || c.PartTarget > c.TargetDuration:
		return fmt.Errorf("part target %v: want 50ms to the target duration", c.PartTarget)
	case c.PartHoldBack < 2*c.PartTarget:
		return errors.New("part hold back: want at least twice the part target")
	case c.HoldBack < 3*c.TargetDuration:
		return errors.New("hold back: want at least three target durations")
	case c.CanSkipUntil < 6*c.TargetDuration:
		return errors.New("can skip until: want at least six target durations")
	}
	return nil
}

// advanceParts is how many parts past the newest one a request may name and
// still be held: the protocol's Advance Part Limit and two more, since players
// compute where they tune in and treat a 400 as the end.
func (c Constants) advanceParts() int {
	limit := 3
	if c.PartTarget > 0 && c.PartTarget < time.Second {
		limit = int((3*time.Second + c.PartTarget - 1) / c.PartTarget)
	}
	return limit + 2
}

// maxHold is how long a request is held before it gets 503.
func (c Constants) maxHold() time.Duration { return 3 * c.TargetDuration }
