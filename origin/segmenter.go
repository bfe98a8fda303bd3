package origin

import (
	"slices"
	"time"

	"surgecast/relay"
)

const (
	// leastSegment is how much a segment holds before an IDR may close it. No
	// segment is shorter, except before a discontinuity: so media sequence
	// numbers, which begin at the clock's seconds, never overtake the clock.
	leastSegment = time.Second

	// segmentReserve is added to TARGETDURATION before a segment is cut by
	// force. EXTINF may be anything that rounds to TARGETDURATION, and an encoder
	// with a key frame each 2 s at 29.97 frames a second sends one each 2.002 s:
	// to cut 2 ms before it would leave every segment without a key frame at its
	// start. The last 0.1 s below the rounding limit are for a frame that comes
	// later than its predecessors let expect.
	segmentReserve = 400 * time.Millisecond

	// leastPartPercent of PART-TARGET is what a part must hold, unless it is the
	// last of its segment or has a key frame.
	leastPartPercent = 85
)

// frame is a coded picture on its way into a part or, in a publication without
// video, an audio frame. Times are in ticks of its track.
type frame struct {
	dts      int64
	offset   int64 // PTS − DTS
	duration int64 // until the next frame; not known before that is there
	wall     time.Time
	random   bool
	payload  []byte // as it stands in mdat
}

// piece is a part that is complete, before it becomes bytes.
type piece struct {
	frames   []frame // at least one
	duration int64   // as the list says it, in ticks
	first    bool    // the segment begins with it
	last     bool    // the segment ends with it
}

func (p *piece) independent() bool { return hasRandom(p.frames) }

func hasRandom(frames []frame) bool {
	return slices.ContainsFunc(frames, func(f frame) bool { return f.random })
}

// cutting holds the limits of parts and segments in ticks of the leading track.
type cutting struct {
	partMin, partMax int64
	segmentMin       int64 // an IDR closes the segment from here on
	segmentMax       int64 // cut by force rather than go past it
	segmentLimit     int64 // what still rounds to TARGETDURATION
	wholeParts       bool  // segments end where a part is full
}

// newCutting returns the limits for a leading track of rate ticks a second.
// Without video, where each frame is a random access point, segments end with
// a full part: there is no reason to make a short one.
func newCutting(c relay.Constants, rate int, video bool) cutting {
	ticks := func(d time.Duration) int64 { return int64(d) * int64(rate) / int64(time.Second) }
	partMax := ticks(c.PartTarget)
	return cutting{
		partMin:      (partMax*leastPartPercent + 99) / 100,
		partMax:      partMax,
		segmentMin:   ticks(leastSegment),
		segmentMax:   ticks(c.TargetDuration + segmentReserve),
		segmentLimit: ticks(c.TargetDuration+time.Second/2) - 1,
		wholeParts:   !video,
	}
}

// segmenter cuts one run of frames with growing DTS into parts and segments. A
// frame's duration is known only when the next one is there, so one frame is
// always pending.
//
// A part takes as many frames as fit into PART-TARGET. It is closed as soon as
// the next frame, taken to last as long as the one before, would not fit; where
// that would leave it too short by the rules (a variable frame rate), the next
// frame's real duration is awaited. Whenever a part is closed and its segment
// is not, at least the pending frame goes into the same segment: a preload hint
// for the part that follows is always kept.
type segmenter struct {
	cutting
	open    []frame // of the open part, durations known
	part    int64   // duration of open
	segment int64   // duration of the open segment, open part included
	begun   bool    // the open segment has a part already
	pending *frame
	usual   int64 // duration of the latest frame that fitted into a part
}

func newSegmenter(c cutting) *segmenter { return &segmenter{cutting: c} }

// push takes the next frame and returns the pieces that it completes: none, one
// or two. Its DTS must be greater than the one's before.
func (s *segmenter) push(f frame) []piece {
	if s.pending == nil {
		s.pending = &f
		return nil
	}
	out := s.place(f.dts - s.pending.dts)
	full := s.part >= s.partMin && s.part+s.usual > s.partMax
	enough := s.segment >= s.segmentMin && (full || !s.wholeParts)
	switch {
	case f.random && enough, s.segment+s.usual > s.segmentMax:
		out = append(out, s.cut(true))
	case full:
		out = append(out, s.cut(false))
	}
	s.pending = &f
	return out
}

// place puts the pending frame into a part, the open one or a new one.
//
// A frame that lasts longer than PART-TARGET, since frames after it were lost
// or the encoder stood still, counts as PART-TARGET in the list: players refuse
// longer parts. In the media it lasts until the next one, so that no player has
// a hole in its buffer, and dates and decode times go on rightly; only EXTINF
// says less than there is. The same is done, for under 0.15 s, where a frame
// would carry its segment over what rounds to TARGETDURATION.
//
// Where it does not fit behind a part that is too short by the rules, since a
// frame was lost or the last one lasts to the segment's end, that part is listed
// as long as it must be, and what follows as that much shorter.
func (s *segmenter) place(duration int64) []piece {
	f := *s.pending
	s.pending = nil
	f.duration = duration
	listed := min(duration, s.partMax, s.segmentLimit-s.segment)
	if duration <= s.partMax {
		s.usual = duration
	}
	var out []piece
	if len(s.open) > 0 && s.part+listed > s.partMax {
		lent := s.lend()
		out = append(out, s.cut(false))
		listed = min(duration-lent, s.partMax, s.segmentLimit-s.segment)
	}
	s.open = append(s.open, f)
	s.part += listed
	s.segment += listed
	return out
}

// lend lists the open part as long as it must be; it returns by how much. The
// frame that did not fit into it lasts longer than that.
func (s *segmenter) lend() int64 {
	lent := s.partMin - s.part
	if lent <= 0 || hasRandom(s.open) {
		return 0
	}
	s.part += lent
	s.segment += lent
	return lent
}

// cut closes the open part, and with it the segment if last.
func (s *segmenter) cut(last bool) piece {
	p := piece{frames: s.open, duration: s.part, first: !s.begun, last: last}
	s.open, s.part, s.begun = nil, 0, true
	if last {
		s.segment, s.begun = 0, false
	}
	return p
}

// sealAt closes the segment, with a pending frame that lasts until end.
func (s *segmenter) sealAt(end int64) []piece {
	if s.pending == nil {
		return nil
	}
	return append(s.place(max(end-s.pending.dts, 1)), s.cut(true))
}

// seal ends the run: the pending frame is taken to last as long as the one
// before it, and the segment is closed. nominal is its duration when it is the
// only frame. Nothing can be pushed afterwards.
func (s *segmenter) seal(nominal int64) []piece {
	if s.pending == nil {
		return nil
	}
	if s.usual > 0 {
		nominal = s.usual
	}
	return append(s.place(nominal), s.cut(true))
}
