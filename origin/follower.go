package origin

import (
	"cmp"
	"math"
	"time"

	"surgecast/relay"
)

// forever is an end that is not known yet.
const forever = math.MaxInt64 / 4

// follower makes a rendition beside the leading one. Its segments are those of
// the lead: same numbers, same boundaries to within a frame, same
// discontinuities; its parts have their own length, as its frames need not fit
// the lead's parts.
//
//	Unit ─▶ queue ─▶ (what the lead has come to) ─▶ segmenter ─▶ timeline
//
// A frame is taken only when the lead's open segment is known to reach it, so
// that there is always another part where one was hinted. Where media are
// missing, GAP parts keep the list in step with the lead. Times are media time
// as it is shown, in ticks of rate a second.
type follower struct {
	source   taker
	timeline *timeline
	meter    *meter
	id       int   // of its track in the media
	rate     int   // ticks a second
	delay    int64 // from decoding to showing
	patience int64 // how far it may be behind the lead before it is taken for lost; meanwhile its list stands

	segmenter *segmenter
	next      int64 // when the next frame is due
	usual     int64 // duration of the latest frame
	due       []leadSegment
	until     int64     // decoding time of the frame behind the first of due; 0: not known
	exact     bool      // frames fill a segment to its end
	opened    bool      // the first of due has a part
	lost      bool      // there are no media
	hopes     bool      // lost, but they may begin with the first of due
	gone      bool      // nothing more will come, there is no need for patience
	news      bool      // not published yet
	told      time.Time // of the latest news
	bytes     int       // in the open segment
	frames    int       // in the open segment
	report    func(closedSegment)
}

// beside is a rendition that follows the leading one.
type beside interface {
	state() *follower
	seal() error // ends the run
}

func (f *follower) state() *follower { return f }

// taker gives a follower its frames.
type taker interface {
	// take pushes those to the follower that begin before limit, and tells
	// whether a later one is waiting. There is a segment that is due.
	take(limit int64) (waiting bool, err error)
}

// leadSegment is a segment of the lead that the follower has not closed yet.
type leadSegment struct {
	start, end int64 // end is forever while it is open
	random     bool  // it begins with a key picture
	segment    relay.Segment
}

// newFollowerSegmenter returns a segmenter of parts alone.
func newFollowerSegmenter(c relay.Constants, rate int) *segmenter {
	cut := newCutting(c, rate, false)
	cut.segmentMin, cut.segmentMax, cut.segmentLimit = forever, forever, forever
	return newSegmenter(cut)
}

// open tells of the segment that the lead opens at start.
func (f *follower) open(start int64, random bool, lead relay.Segment) {
	f.due = append(f.due, leadSegment{start: start, end: forever, random: random, segment: lead})
}

// close tells that the lead's open segment ended there.
func (f *follower) close(end int64) { f.due[len(f.due)-1].end = end }

// early tells whether a segment would be closed right behind the news of a part
// of it. hls.js (1.7.4) takes a segment for loaded that closes between the
// answer for its last but one part and that part being in the buffer: it asks
// for no more until the segment's parts leave the list, and stands for 5 s.
// Frames of sound come in bursts, so that this happens. Half a part is sooner
// than a last part of sound is due, and mostly longer than a fetch.
func (f *follower) early(now time.Time) bool {
	return f.opened && f.due[0].end != forever && now.Sub(f.told) < ticksDuration(f.segmenter.partMax/2, f.rate)
}

// advance takes what is known to belong to the lead's segments, the open one
// reaching at least to reached.
func (f *follower) advance(reached int64) error {
	for len(f.due) > 0 {
		one := f.due[0]
		limit := one.end
		if limit == forever {
			limit = reached
		}
		waiting, err := f.source.take(limit)
		if err != nil {
			return err
		}
		late := !waiting && (f.gone || reached >= min(f.next, one.end)+f.patience)
		missing := late || f.lost && !f.hopes
		switch {
		case one.end == forever:
			if missing { // in whole parts, and something is left to come
				whole := (limit - f.next - 1) / f.segmenter.partMax
				return f.gap(f.next + whole*f.segmenter.partMax)
			}
			return nil
		case !waiting && !missing:
			return nil // more of it may come
		}
		f.lost = f.lost || late
		if err := f.finish(one.end); err != nil {
			return err
		}
	}
	return nil
}

// seal ends the run: what is there is taken, what is not will not come.
func (f *follower) seal() error {
	for len(f.due) > 0 {
		end := f.due[0].end
		if _, err := f.source.take(end); err != nil {
			return err
		}
		f.lost = f.lost || f.exact && f.next < end-2*f.usual
		if err := f.finish(end); err != nil {
			return err
		}
	}
	return nil
}

// gap puts GAP parts in place of media that are missing up to until, behind a
// part of what is there.
func (f *follower) gap(until int64) error {
	for first := true; f.next < until; first = false {
		if first {
			if err := f.emit(f.segmenter.seal(f.usual)); err != nil {
				return err
			}
		}
		f.lost = true
		f.addGap(min(until-f.next, f.segmenter.partMax))
	}
	return nil
}

func (f *follower) addGap(ticks int64) {
	f.openSegment(f.next)
	f.timeline.addGap(ticks)
	f.next += ticks
	f.news = true
}

// finish closes the first of the segments that are due, with all that it has.
func (f *follower) finish(end int64) error {
	last := f.segmenter.seal
	if f.exact && !f.lost {
		last = func(int64) []piece { return f.segmenter.sealAt(cmp.Or(f.until, end-f.delay)) }
	}
	if err := f.emit(last(f.usual)); err != nil {
		return err
	}
	if f.lost {
		if err := f.gap(end); err != nil {
			return err
		}
	}
	// A segment of less than a frame, or a part that was hinted behind a gap: it
	// has to come, even if it is nothing.
	if !f.opened || f.timeline.owes() {
		f.addGap(max(int64(f.rate)/1000, 1))
	}
	gap := f.timeline.list.Open.Gap
	closed := closedSegment{bytes: f.bytes, frames: f.frames, duration: f.timeline.closeSegment(), gap: gap}
	if f.bytes > 0 {
		f.meter.add(closed.bytes, closed.duration)
	}
	if f.report != nil {
		f.report(closed)
	}
	if f.exact {
		f.next, f.until = end, 0
	}
	f.bytes, f.frames, f.opened, f.news = 0, 0, false, true
	f.due = append(f.due[:0], f.due[1:]...)
	return nil
}

func (f *follower) emit(pieces []piece) error {
	for i := range pieces {
		p := &pieces[i]
		f.openSegment(p.frames[0].dts + f.delay)
		f.timeline.fragments++
		body, err := partBytes(f.timeline.fragments, map[int][]frame{f.id: p.frames})
		if err != nil {
			return err
		}
		f.timeline.addPart(body, p.duration, p.independent())
		f.bytes += len(body)
		f.frames += len(p.frames)
		f.news = true
	}
	return nil
}

// openSegment opens the timeline's segment with its first part, at this media
// time; its date is the lead's, moved by what it begins before or after.
func (f *follower) openSegment(at int64) {
	if f.opened {
		return
	}
	f.opened = true
	lead := &f.due[0]
	f.timeline.openSideSegment(lead.segment.ProgramDateTime.Add(ticksDuration(at-lead.start, f.rate)))
}
