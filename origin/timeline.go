package origin

import (
	"fmt"
	"slices"
	"time"

	"surgecast/relay"
)

const (
	// leastSegments is how many a live list keeps, however short they are.
	leastSegments = 6
	// rebirthLead is how far beyond the newest known segment a timeline begins
	// that has lost its list: more than the journal can be behind.
	rebirthLead = 10
	// runLead is how many segments more than seconds have passed a timeline may
	// have and still begin a run: a run may end with a short segment. It is less
	// than rebirthLead, so that a rebirth stays ahead of all that was used.
	runLead = 5
	// maxSlew bounds how far a segment's date is moved towards wall time. A
	// jump would make players that map dates to media time jump with it.
	maxSlew = time.Millisecond
)

// timeline makes the media playlist of one rendition. It lives as long as the
// origin and goes on from one publication to the next: the media sequence and
// media time only grow. One caller at a time.
//
//	beginRun ─▶ (openSegment ─▶ addPart … ─▶ closeSegment) … ─▶ beginRun …
//
// A run is media with one init segment and unbroken timestamps; each but the
// first begins with a discontinuity.
type timeline struct {
	rendition string
	window    *relay.Window
	epoch     relay.Epoch
	keep      time.Duration // least length of the live list
	lead      *timeline     // of a rendition beside the leading one: it slides with that

	list          relay.Playlist
	born          time.Time // zero before birth
	base          uint64    // media sequence number at birth
	discontinuity uint64    // discontinuity sequence number of the open segment

	initName  relay.MediaName
	initBytes []byte
	nextInit  uint64

	news chan<- struct{} // takes one: there is something for the media journal

	fragments uint32        // moof sequence number of the latest part
	mediaEnd  time.Duration // media time that all tracks have come to

	// Of the run.
	rate   int   // ticks a second of the leading track
	played int64 // ticks in parts since the run began
	date   programDate
}

// newTimeline goes on after last, when the stream was known before.
func newTimeline(rendition string, w *relay.Window, epoch relay.Epoch, c relay.Constants, keep time.Duration, last streamRecord, known bool) *timeline {
	t := &timeline{rendition: rendition, window: w, epoch: epoch, keep: max(keep, 3*c.TargetDuration)}
	t.list.Constants = c
	if known {
		t.list.MediaSequence = last.MediaSequence + rebirthLead
		t.list.DiscontinuitySequence = last.Discontinuity
		t.discontinuity = last.Discontinuity
		t.nextInit = last.Init + 1
		t.list.Open.Discontinuity = true
	}
	return t
}

// leadAfter makes t the timeline that the others slide with, in place of was.
func (t *timeline) leadAfter(was *timeline) {
	t.lead, t.date, t.mediaEnd = nil, was.date, max(t.mediaEnd, was.mediaEnd)
}

// birth sets where the media sequence begins; it tells whether this was the
// first call, after which the record should be made durable.
func (t *timeline) birth(now time.Time) bool {
	if !t.born.IsZero() {
		return false
	}
	t.born = now
	t.list.MediaSequence = max(t.list.MediaSequence, uint64(max(now.Unix(), 0)))
	t.base = t.list.OpenSequence()
	if t.list.Open.Discontinuity {
		t.discontinuity++
	}
	return true
}

// mayBegin tells whether a run may begin. An encoder whose timestamps or
// parameters change all the time ends a run, and so a segment, with each change:
// media sequence numbers would overtake the clock. Its runs begin when that has
// come.
func (t *timeline) mayBegin(now time.Time) bool {
	return t.born.IsZero() || t.list.OpenSequence()-t.base <= uint64(max(now.Sub(t.born), 0)/time.Second)+runLead
}

// beginRun starts a run with this init segment, a leading track of rate ticks a
// second and a first frame that is shown at wall. The segment before must be
// closed. Dates go on from the run before where wall lies before its end.
func (t *timeline) beginRun(init []byte, rate int, wall time.Time) {
	t.beginSideRun(init, rate)
	t.date.begin(wall)
}

// beginSideRun is beginRun for a rendition that has its dates from the lead.
func (t *timeline) beginSideRun(init []byte, rate int) {
	if len(t.list.Segments) > 0 && !t.list.Open.Discontinuity {
		t.list.Open.Discontinuity = true
		t.discontinuity++
	}
	t.setInit(init)
	t.rate, t.played = rate, 0
}

// setInit puts an init segment in force, from the next segment on.
func (t *timeline) setInit(init []byte) {
	if slices.Equal(init, t.initBytes) {
		return
	}
	t.initName = relay.MediaName{Kind: relay.Init, Epoch: t.epoch, Number: t.nextInit}
	t.initBytes = init
	t.nextInit++
	t.window.Put(t.initName, init, 0)
}

// openSegment begins a segment start after the run's first frame, whose first
// frame was captured at wall.
func (t *timeline) openSegment(start time.Duration, wall time.Time) {
	t.list.Open.Map = t.initName
	t.list.Open.ProgramDateTime = t.date.at(start, wall)
}

// openSideSegment begins a segment of that date.
func (t *timeline) openSideSegment(date time.Time) {
	t.list.Open.Map = t.initName
	t.list.Open.ProgramDateTime = date
}

// addPart puts a part of so many ticks into the window and adds it to the open
// segment. Durations are differences of rounded positions, in microseconds as
// the list says them, so rounding does not add up over a day.
func (t *timeline) addPart(body []byte, ticks int64, independent bool) {
	from := t.position()
	t.played += ticks
	p := relay.Part{
		Name:        t.nextPart(),
		Duration:    t.position() - from,
		Independent: independent,
	}
	t.window.Put(p.Name, body, p.Duration)
	t.list.Open.Parts = append(t.list.Open.Parts, p)
	t.list.Open.Duration += p.Duration
}

// addGap adds a part that has no media. Its segment then counts as a gap as a
// whole, as the protocol wants it.
func (t *timeline) addGap(ticks int64) {
	from := t.position()
	t.played += ticks
	p := relay.Part{Name: t.nextPart(), Duration: t.position() - from, Gap: true}
	t.list.Open.Parts = append(t.list.Open.Parts, p)
	t.list.Open.Duration += p.Duration
	t.list.Open.Gap = true
}

// owes tells whether a part of the open segment was hinted, and has not come.
func (t *timeline) owes() bool {
	return t.list.Hint.Number == t.list.OpenSequence() && t.list.Hint.Part == len(t.list.Open.Parts)
}

// position is how much the run has played, to the microsecond.
func (t *timeline) position() time.Duration {
	return time.Duration(rescale(t.played, t.rate, 1e6)) * time.Microsecond
}

// nextPart is the name of the part that comes next, and so the preload hint.
func (t *timeline) nextPart() relay.MediaName {
	return relay.MediaName{
		Kind:   relay.PartMedia,
		Epoch:  t.epoch,
		Number: t.list.OpenSequence(),
		Part:   len(t.list.Open.Parts),
	}
}

// closeSegment closes the open segment and drops what is older than the live
// list may be. It returns the segment's duration.
func (t *timeline) closeSegment() time.Duration {
	s := t.list.Open
	s.Name = relay.MediaName{Kind: relay.SegmentMedia, Epoch: t.epoch, Number: t.list.OpenSequence()}
	t.date.reach(s.ProgramDateTime.Add(s.Duration))
	t.list.Segments = append(t.list.Segments, s)
	t.list.Open = relay.Segment{}
	t.slide()
	return s.Duration
}

// slide drops segments from the front while what is left is long enough; beside
// a lead, those that the lead has dropped.
func (t *timeline) slide() {
	var total time.Duration
	for i := range t.list.Segments {
		total += t.list.Segments[i].Duration
	}
	keep, n := t.keep, 0
	if t.lead != nil {
		keep = 3 * t.list.TargetDuration
	}
	for n < len(t.list.Segments)-leastSegments && total-t.list.Segments[n].Duration >= keep &&
		(t.lead == nil || t.list.MediaSequence < t.lead.list.MediaSequence) {
		total -= t.list.Segments[n].Duration
		t.list.MediaSequence++
		if t.list.Segments[n].Discontinuity {
			t.list.DiscontinuitySequence++
		}
		n++
	}
	t.list.Segments = slices.Delete(t.list.Segments, 0, n)
}

// dropOldParts takes the parts from segments that lie wholly farther than
// 3 × TARGETDURATION from the end.
func (t *timeline) dropOldParts() {
	after := t.list.Open.Duration
	for i := len(t.list.Segments) - 1; i >= 0; i-- {
		s := &t.list.Segments[i]
		if after >= 3*t.list.TargetDuration {
			if s.Parts == nil {
				return // and so have all before it
			}
			s.Parts = nil
		}
		after += s.Duration
	}
}

// publishAll makes the lists as they are now known to everybody. All texts are
// made before the first is published, so that their reports agree.
func publishAll(news, all []*timeline) error {
	texts := make([][]byte, len(news))
	for _, t := range news {
		t.dropOldParts()
		t.dropOldRanges()
		t.list.Hint = t.nextPart()
	}
	for i, t := range news {
		t.list.Reports = t.list.Reports[:0]
		for _, other := range all {
			if r, ok := other.list.Report(other.rendition); ok && other != t {
				t.list.Reports = append(t.list.Reports, r)
			}
		}
		texts[i] = t.list.AppendText(nil)
	}
	for i, t := range news {
		if err := t.window.Publish(texts[i]); err != nil {
			return fmt.Errorf("publish segment %d of %s: %w", t.list.OpenSequence(), t.rendition, err)
		}
		select {
		case t.news <- struct{}{}:
		default: // the media journal is behind, and takes this with what it missed
		}
	}
	return nil
}

// begin is the date at which the list begins; zero before the first segment.
func (t *timeline) begin() time.Time {
	if len(t.list.Segments) == 0 {
		return time.Time{}
	}
	return t.list.Segments[0].ProgramDateTime
}

// dropOldRanges takes the date ranges that lie wholly before the list.
func (t *timeline) dropOldRanges() {
	begin := t.begin()
	t.list.DateRanges = slices.DeleteFunc(t.list.DateRanges, func(d relay.DateRange) bool {
		return !d.End.IsZero() && d.End.Before(begin)
	})
}

// maxListedMarks bounds the date ranges of a list; one without an end stays.
const maxListedMarks = 100

// mark adds a date range, to be published with the next part.
func (t *timeline) mark(d relay.DateRange) error {
	if len(t.list.DateRanges) >= maxListedMarks {
		return fmt.Errorf("%w: the list has %d", ErrDateRange, maxListedMarks)
	}
	t.list.DateRanges = append(t.list.DateRanges, d)
	return nil
}

// length is that of the list.
func (t *timeline) length() (total time.Duration) {
	for i := range t.list.Segments {
		total += t.list.Segments[i].Duration
	}
	return total
}

// reach notes that a track's media come to this media time.
func (t *timeline) reach(end time.Duration) { t.mediaEnd = max(t.mediaEnd, end) }

// nextStart is where the next run begins, in ticks of rate a second: at the
// first tick after all that there is, for any track.
func (t *timeline) nextStart(rate int) int64 {
	if t.mediaEnd == 0 {
		return 0
	}
	return rescale(int64(t.mediaEnd)+1, int(time.Second), rate) + 1
}

// record is what the journal keeps of t.
func (t *timeline) record() streamRecord {
	return streamRecord{
		MediaSequence: t.list.OpenSequence(),
		Discontinuity: t.discontinuity,
		Init:          max(t.nextInit, 1) - 1,
		MediaEnd:      t.mediaEnd,
	}
}

// programDate gives segments their PROGRAM-DATE-TIME: the wall time of the
// run's first frame, continued by media time and slewed towards the wall time
// of each segment's first frame.
type programDate struct {
	anchor time.Time     // of the run's first frame
	slew   time.Duration // added since then
	end    time.Time     // of all media so far
}

// begin starts a run. An encoder whose clock is behind that of the one before
// does not make dates go back: it goes on where that one ended, and is slewed.
func (d *programDate) begin(wall time.Time) {
	d.anchor, d.slew = wall, 0
	if wall.Before(d.end) {
		d.anchor = d.end
	}
}

// at returns the date of a segment that begins start after the run's first
// frame, at wall.
func (d *programDate) at(start time.Duration, wall time.Time) time.Time {
	date := d.anchor.Add(start + d.slew)
	step := min(max(wall.Sub(date), -maxSlew), maxSlew)
	d.slew += step
	return date.Add(step)
}

// reach notes that media up to this date are in the list.
func (d *programDate) reach(end time.Time) {
	if end.After(d.end) {
		d.end = end
	}
}

// rescale converts v from ticks of one rate to ticks of another, rounded down.
// Both factors are bounded so that centuries fit: v is split into whole seconds
// and the rest.
func rescale(v int64, from, to int) int64 {
	seconds, rest := v/int64(from), v%int64(from)
	if rest < 0 {
		seconds, rest = seconds-1, rest+int64(from)
	}
	return seconds*int64(to) + rest*int64(to)/int64(from)
}
