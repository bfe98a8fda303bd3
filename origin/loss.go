package origin

import (
	"time"

	"surgecast/relay"
)

const (
	// gonePatience is how long the lists stand after the publisher has gone,
	// before something is shown in its place: what an encoder needs that comes
	// back at once, which is held that long until all its tracks are there
	// (startWait). What stands less leaves no trace.
	gonePatience = startWait

	// maxLoss bounds how long a programme goes on without a publisher: who has
	// not come back in a day does not come. The lists then stand, until one comes.
	maxLoss = 24 * time.Hour
)

// filler makes what is shown while no media come.
type filler interface {
	// advance publishes what belongs before upTo, counted from when it began.
	advance(upTo time.Duration) error
	// end closes the open segment.
	end() error
	// step is how often it is to go on.
	step() time.Duration
}

// loss is what a stream knows of the media that don't come.
//
//	media ─▶ heard … patience … ─▶ filler, until the next key picture ─▶ media
//
// A publisher that is gone, one that stands still and one that never sends a key
// picture are the same to it: nothing new is in the list. A slate on command is
// the same filler without the patience. Guarded by stream.mu.
type loss struct {
	hint    relay.MediaName // the part that was to come next when media were last heard
	heard   time.Time       // when that was
	timer   *time.Timer     // wakes fill; nil until it is first needed
	filler  filler          // nil while media come
	began   time.Time       // when the filler did
	slate   *Slate          // that it shows; nil: gaps
	ordered SlateKind       // what was commanded, "" for nothing
	kept    SlateKind       // what was commanded in an earlier life, and waits for a programme
	freed   time.Time       // when the command ended, of a filler that was commanded

	// restored: the list is older than this origin, and nothing was added yet.
	restored bool
}

// heard notes the media that were published since the last call. It costs next
// to nothing where there are none.
func (s *stream) heard() {
	if s.loss.hint == s.timeline.list.Hint {
		return
	}
	s.loss.hint, s.loss.restored = s.timeline.list.Hint, false
	s.lost(time.Now())
}

// lost tells that there was a programme, up to now, and that nothing is known to
// follow. It is also how a stream begins whose lists are older than this origin.
func (s *stream) lost(now time.Time) {
	s.loss.heard = now
	if s.loss.timer == nil && s.OnLoss != StandOnLoss {
		s.wake(s.patience())
	}
}

// wake lets fill run in so much time.
func (s *stream) wake(in time.Duration) {
	if s.loss.timer == nil {
		s.loss.timer = time.AfterFunc(in, s.fill)
		return
	}
	s.loss.timer.Reset(in)
}

// obey lets the slate that an earlier life was told to show be shown again, now
// that there is a programme. It needs s.mu.
func (s *stream) obey() {
	if s.loss.kept == "" {
		return
	}
	s.loss.ordered, s.loss.kept = s.loss.kept, ""
	s.logger.Warn("a slate was commanded before this start, and not taken off", "kind", s.loss.ordered)
	s.wakeOrdered()
}

// wakeOrdered lets a slate that was commanded begin again where it was ended for
// another reason.
func (s *stream) wakeOrdered() {
	if s.loss.ordered != "" {
		s.wake(0)
	}
}

// hasten lets the patience be that of a publisher that has gone.
func (s *stream) hasten() {
	if s.loss.timer != nil && s.loss.filler == nil {
		s.wake(s.patience())
	}
}

// patience is how long nothing may come. Of a publisher that is there, what is
// late may still come, and is worth more than a gap in its place; beyond a
// target duration most players have given up waiting for it.
func (s *stream) patience() time.Duration {
	if s.current != nil {
		return s.Constants.TargetDuration
	}
	return gonePatience
}

// fill is what the timer does: it begins to fill when nothing has come for too
// long, and goes on with it.
func (s *stream) fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.over() != nil {
		return
	}
	if s.loss.filler == nil {
		if s.OnLoss == StandOnLoss && s.loss.ordered == "" {
			return
		}
		if left := s.loss.heard.Add(s.patience()).Sub(now); left > 0 && s.loss.ordered == "" {
			s.wake(left)
			return
		}
		s.beginFill(now)
	}
	switch {
	case s.loss.ordered != "":
	case !s.loss.freed.IsZero() && now.Sub(s.loss.freed) > s.patience():
		s.endFill() // nobody takes over from the slate that was commanded
		s.wake(s.patience())
		return
	case now.Sub(s.loss.began) > maxLoss:
		s.endFill()
		s.loss.timer = nil
		s.logger.Warn("nobody has published for a day: the lists stand")
		return
	}
	s.goOn(now)
}

// goOn lets the filler go on to the present, which for one that began late is
// late too, and a part ahead, so that it begins at once.
func (s *stream) goOn(now time.Time) {
	upTo := now.Sub(s.loss.began)
	if s.loss.ordered == "" {
		upTo += s.Constants.PartTarget
	}
	if err := s.loss.filler.advance(upTo); err != nil {
		s.logger.Error("loss not filled: the lists stand until media come", "err", err)
		s.loss.filler, s.loss.timer = nil, nil
		return
	}
	s.wake(s.loss.filler.step())
}

// beginFill ends the run that media were missing in; the publication, if there
// still is one, goes on with a new one at its next key picture.
func (s *stream) beginFill(now time.Time) {
	if s.current != nil {
		s.current.stand()
	}
	s.loss.began, s.loss.freed = now, time.Time{}
	if s.loss.restored { // no clock ran between its end and the start of this origin
		s.loss.restored = false
		s.timeline.date.reach(now.Add(-gonePatience))
	}
	kind := s.loss.ordered
	if kind == "" && s.OnLoss == SlateOnLoss {
		kind = SlateInterruption
	}
	if kind != "" {
		slate, clip, err := s.findSlate(kind)
		if err == nil {
			err = s.beginSlate(slate, clip)
		}
		if err == nil {
			return
		}
		s.logger.Warn("no slate can be shown: gaps instead", "err", err)
	}
	s.loss.filler, s.loss.slate = newGapFiller(s), nil
	s.logger.Warn("nothing comes: the programme goes on with gaps", "publisher", s.current != nil)
}

// endFill ends the filler where it is.
func (s *stream) endFill() {
	if s.loss.filler == nil {
		return
	}
	if err := s.loss.filler.end(); err != nil {
		s.logger.Error("filler not ended", "err", err)
	}
	now := time.Now()
	s.logger.Info("the filler has ended", "filled", now.Sub(s.loss.began).Round(time.Millisecond))
	s.loss.filler, s.loss.slate = nil, nil
	s.lost(now)
}

// stall is what is known of a publication that stood still, until it goes on.
type stall struct {
	last   int64     // DTS of its last unit of the leading track
	resume time.Time // when the first unit came after that; zero while none has
}

// stand seals the run of a publication that stands still.
func (p *Publication) stand() {
	if p.packager.run == nil {
		return
	}
	p.stall = &stall{last: p.packager.run.last - p.packager.run.shift}
	if err := p.packager.seal(); err != nil {
		p.stream.logger.Error("segment not sealed", "err", err)
	}
}

// resumes tells whether the programme goes on with u: with a key picture of the
// leading track.
//
// What stood still because of the line comes in a burst, all that was missed
// first. Of that as much is left out as was filled, or the list would be ahead
// of the clock by it. An encoder whose own clock stood would wait for ever so:
// what comes a target duration after it moved again is no burst.
func (p *Publication) resumes(u Unit, now time.Time) bool {
	if !p.packager.begins(u) {
		return false
	}
	if p.stall == nil {
		return true
	}
	if p.stall.resume.IsZero() {
		p.stall.resume = now
	}
	missed := ticksDuration(u.DTS-p.stall.last, p.packager.tracks[p.packager.lead].ClockRate)
	if missed < 0 || missed >= now.Sub(p.stream.loss.began) || now.Sub(p.stall.resume) >= p.stream.Constants.TargetDuration {
		p.stall = nil
		return true
	}
	return false
}
