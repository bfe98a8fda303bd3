package origin

import (
	"math"

	"surgecast/relay"
)

const (
	// maxSounds bounds the audio renditions of a stream. An encoder's further
	// audio tracks are dropped.
	maxSounds = 8
	// soundPatience is how far sound may be behind the picture, in part targets,
	// before it is taken for lost. Meanwhile its list stands; a frame that comes
	// even later is dropped.
	soundPatience = 4
	// forever is an end that is not known yet.
	forever = math.MaxInt64 / 4
)

// sound makes an audio rendition beside the leading one. Its segments are those
// of the lead: same numbers, same boundaries to within a frame, same
// discontinuities; its parts have their own length, as audio frames do not fit
// a video's parts.
//
//	Unit ─▶ queue ─▶ (what the lead has come to) ─▶ segmenter ─▶ timeline
//
// A frame is taken only when the lead's open segment is known to reach it, so
// that there is always another part where one was hinted. Where sound is
// missing, GAP parts keep the list in step with the lead.
type sound struct {
	timeline *timeline
	track    Track
	meter    *meter

	queue     []Unit // in the order of arrival, maxQueuedAudio at most
	segmenter *segmenter
	shift     int64 // of the run: from the unit's PTS to media time
	next      int64 // media time at which the next frame is due
	usual     int64 // duration of the latest frame
	due       []leadSegment
	opened    bool // the first of due has a part
	lost      bool
	news      bool // not published yet
	bytes     int  // in the open segment
}

// leadSegment is a segment of the lead that the sound has not closed yet.
type leadSegment struct {
	start, end int64 // media time; end is forever while it is open
	segment    relay.Segment
}

func newSound(t *timeline, c relay.Constants, track Track, m *meter) *sound {
	cut := newCutting(c, track.ClockRate, false)
	cut.segmentMin, cut.segmentMax, cut.segmentLimit = forever, forever, forever
	return &sound{timeline: t, track: track, meter: m, segmenter: newSegmenter(cut)}
}

// push queues a frame. When the queue is full, since the picture stands still,
// the oldest is dropped.
func (s *sound) push(u Unit) {
	if len(s.queue) == maxQueuedAudio {
		s.queue = append(s.queue[:0], s.queue[1:]...)
	}
	s.queue = append(s.queue, u)
}

// begin starts a run with the lead; shift leads from a unit's PTS to media time,
// start is the media time of the lead's first picture.
func (s *sound) begin(shift, start int64) error {
	init, err := initSegment(map[int]Track{audioID: s.track})
	if err != nil {
		return err
	}
	s.shift, s.next, s.lost = shift, start, false
	s.timeline.beginSideRun(init, s.track.ClockRate)
	return nil
}

// open tells of the segment that the lead opens at start.
func (s *sound) open(start int64, lead relay.Segment) {
	s.due = append(s.due, leadSegment{start: start, end: forever, segment: lead})
}

// close tells that the lead's open segment ended there.
func (s *sound) close(end int64) { s.due[len(s.due)-1].end = end }

// advance takes what is known to belong to the lead's segments, the open one
// reaching at least to reached.
func (s *sound) advance(reached int64) error {
	patience := soundPatience * s.segmenter.partMax
	for len(s.due) > 0 {
		one := s.due[0]
		limit := min(reached, one.end)
		waiting, err := s.take(limit)
		if err != nil {
			return err
		}
		late := !waiting && reached >= min(s.next, one.end)+patience
		switch {
		case one.end == forever:
			if late || s.lost { // in whole parts, and something is left to come
				whole := (limit - s.next - 1) / s.segmenter.partMax
				return s.gap(s.next + whole*s.segmenter.partMax)
			}
			return nil
		case !waiting && !late && !s.lost:
			return nil // more of it may come
		}
		s.lost = s.lost || late
		if err := s.finish(one.end); err != nil {
			return err
		}
	}
	return nil
}

// seal ends the run: what is there is taken, what is not will not come.
func (s *sound) seal() error {
	for len(s.due) > 0 {
		end := s.due[0].end
		if _, err := s.take(end); err != nil {
			return err
		}
		if err := s.finish(end); err != nil {
			return err
		}
	}
	s.queue = nil
	return nil
}

// take moves the frames that begin before limit into parts. It tells whether a
// later one is waiting. Times within half a frame of where the frame before
// ended are taken as that; what begins before is dropped.
func (s *sound) take(limit int64) (waiting bool, err error) {
	n := 0
	for ; n < len(s.queue); n++ {
		u := &s.queue[n]
		at, usual := u.PTS+s.shift, frameTicks(s.track.Codec, s.track.ClockRate, u.Payload[0])
		gap := at - s.next
		switch {
		case gap < -usual/2:
			continue
		case gap <= usual/2:
			at = s.next
		}
		if at >= limit {
			waiting = true
			break
		}
		if s.lost {
			if err := s.gap(at); err != nil {
				return false, err
			}
			s.lost = false
		}
		s.usual = usual
		s.next = at + usual
		if err := s.emit(s.segmenter.push(frame{dts: at, random: true, payload: u.Payload[0]})); err != nil {
			return false, err
		}
	}
	rest := append(s.queue[:0], s.queue[n:]...)
	clear(s.queue[len(rest):])
	s.queue = rest
	return waiting, nil
}

// gap puts GAP parts in place of sound that is missing up to until, behind a
// part of what is there.
func (s *sound) gap(until int64) error {
	for first := true; s.next < until; first = false {
		if first {
			if err := s.emit(s.segmenter.seal(s.usual)); err != nil {
				return err
			}
		}
		s.lost = true
		s.addGap(min(until-s.next, s.segmenter.partMax))
	}
	return nil
}

func (s *sound) addGap(ticks int64) {
	s.openSegment(s.next)
	s.timeline.addGap(ticks)
	s.next += ticks
	s.news = true
}

// finish closes the first of the segments that are due, with all that it has.
func (s *sound) finish(end int64) error {
	if err := s.emit(s.segmenter.seal(s.usual)); err != nil {
		return err
	}
	if s.lost {
		if err := s.gap(end); err != nil {
			return err
		}
	}
	// A segment of less than a frame, or a part that was hinted behind a gap: it
	// has to come, even if it is nothing.
	if !s.opened || s.timeline.owes() {
		s.addGap(max(int64(s.track.ClockRate)/1000, 1))
	}
	duration := s.timeline.closeSegment()
	if s.bytes > 0 {
		s.meter.add(s.bytes, duration)
	}
	s.bytes, s.opened, s.news = 0, false, true
	s.due = append(s.due[:0], s.due[1:]...)
	return nil
}

func (s *sound) emit(pieces []piece) error {
	for i := range pieces {
		p := &pieces[i]
		s.openSegment(p.frames[0].dts)
		s.timeline.fragments++
		body, err := partBytes(s.timeline.fragments, map[int][]frame{audioID: p.frames})
		if err != nil {
			return err
		}
		s.timeline.addPart(body, p.duration, true)
		s.bytes += len(body)
		s.news = true
	}
	return nil
}

// openSegment opens the timeline's segment with its first part, at this media
// time; its date is the lead's, moved by what the sound begins before or after.
func (s *sound) openSegment(at int64) {
	if s.opened {
		return
	}
	s.opened = true
	lead := &s.due[0]
	s.timeline.openSideSegment(lead.segment.ProgramDateTime.Add(ticksDuration(at-lead.start, s.track.ClockRate)))
}
