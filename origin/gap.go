package origin

import (
	"time"
)

// gapFiller lets the clock of a stream run while there are no media: segments
// of a target duration that are gaps, of whole parts, the same in all
// renditions.
type gapFiller struct {
	stream *stream
	filled time.Duration
}

func newGapFiller(s *stream) *gapFiller {
	for _, t := range s.timelines() {
		t.beginGap()
	}
	return &gapFiller{stream: s}
}

// advance adds the parts that are whole before upTo, and publishes them.
func (f *gapFiller) advance(upTo time.Duration) error {
	part, news := f.stream.Constants.PartTarget, false
	for f.filled+part <= upTo {
		length := f.stream.timeline.list.Open.Duration
		f.add(min(part, f.stream.Constants.TargetDuration-length))
		news = true
	}
	if !news {
		return nil
	}
	all := f.stream.timelines()
	return publishAll(all, all)
}

func (f *gapFiller) step() time.Duration { return f.stream.Constants.PartTarget }

// add adds a part to each rendition, and closes segments that are full.
func (f *gapFiller) add(length time.Duration) {
	s := f.stream
	f.filled += length
	date := s.timeline.gapDate()
	for _, t := range s.timelines() {
		t.addGapPart(date, length)
	}
	s.timeline.reach(s.timeline.mediaEnd + length)
	if s.timeline.list.Open.Duration >= s.Constants.TargetDuration {
		f.close()
	}
}

func (f *gapFiller) close() {
	for _, t := range f.stream.timelines() {
		t.closeSegment()
	}
	f.stream.journal.note(f.stream.Name, f.stream.record())
}

// end closes the open segment, behind the part that was hinted for it: a hint is
// kept, even if with next to nothing.
func (f *gapFiller) end() error {
	if len(f.stream.timeline.list.Open.Parts) == 0 {
		return nil
	}
	if f.stream.timeline.owes() {
		f.add(leastGap)
	}
	if len(f.stream.timeline.list.Open.Parts) > 0 {
		f.close()
	}
	all := f.stream.timelines()
	return publishAll(all, all)
}

// leastGap is the length of a part that is there only since it was hinted.
const leastGap = time.Millisecond

// beginGap begins a run without media: it needs no init segment and no
// discontinuity.
func (t *timeline) beginGap() { t.rate, t.played = int(time.Second/time.Microsecond), 0 }

// gapDate is the date of the open segment, or of the one that begins where the
// list ends.
func (t *timeline) gapDate() time.Time {
	if len(t.list.Open.Parts) > 0 {
		return t.list.Open.ProgramDateTime
	}
	return t.date.end
}

// addGapPart adds a part that has no media to the segment of that date.
func (t *timeline) addGapPart(date time.Time, length time.Duration) {
	if len(t.list.Open.Parts) == 0 {
		t.openSideSegment(date)
	}
	t.addGap(length.Microseconds())
}
