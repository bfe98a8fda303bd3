package relay

import (
	"slices"
	"strconv"
	"time"
)

// longList is one version of a rendition's long list: what viewers can look
// back on. It names closed segments alone, by the numbers and the URIs of the
// live list. It never changes.
type longList struct {
	*rendering
	longHeader
	runs []longRun
	maps []MediaName // the init segments that it names
}

// longHeader is what a long list says before and after its segments.
type longHeader struct {
	target        time.Duration // TARGETDURATION
	sequence      uint64        // media sequence number of the first segment
	discontinuity uint64        // EXT-X-DISCONTINUITY-SEQUENCE
	ended         bool
}

// longRun is a stretch of segments of one epoch without a gap. A list of hours
// is a handful of them, so a relay need not hold each segment's line.
type longRun struct {
	epoch    Epoch
	from, to uint64        // media sequence numbers from ≤ n < to
	date     time.Time     // of the first frame
	duration time.Duration // of all of them
}

// take adds a segment behind all others.
func (l *longList) take(s *Segment) {
	if s.Map.Kind == Init && !slices.Contains(l.maps, s.Map) {
		l.maps = append(l.maps, s.Map)
	}
	if s.Gap {
		return
	}
	n := s.Name.Number
	if i := len(l.runs) - 1; i >= 0 && l.runs[i].epoch == s.Name.Epoch && l.runs[i].to == n && !s.Discontinuity {
		l.runs[i].to++
		l.runs[i].duration += s.Duration
		return
	}
	l.runs = append(l.runs, longRun{epoch: s.Name.Epoch, from: n, to: n + 1, date: s.ProgramDateTime, duration: s.Duration})
}

// find returns the run that the segment of that name is in.
func (l *longList) find(name MediaName) (longRun, bool) {
	for _, run := range l.runs {
		if name.Kind == SegmentMedia && run.epoch == name.Epoch && run.from <= name.Number && name.Number < run.to {
			return run, true
		}
	}
	return longRun{}, false
}

// names tells whether the list names an object that is there to be loaded.
func (l *longList) names(name MediaName) bool {
	if name.Kind == Init {
		return slices.Contains(l.maps, name)
	}
	_, ok := l.find(name)
	return ok
}

// mean is how long a segment of the run is.
func (r longRun) mean() time.Duration { return r.duration / time.Duration(r.to-r.from) }

// at is about when segment n of the run was filmed.
func (r longRun) at(n uint64) time.Time { return r.date.Add(time.Duration(n-r.from) * r.mean()) }

// longBuilder makes a long list from the segments that close, one after the
// other. Its segments have no parts. One caller at a time.
type longBuilder struct {
	longHeader
	length   time.Duration // the most that the list spans
	segments []Segment
	total    time.Duration // of segments
	last     uint64        // discontinuity sequence number of the newest segment
}

// A list spans a day at most, of segments no shorter than 1 s; gaps come on
// top of those. One that would be longer begins anew.
const (
	maxLongSegments = 100_000
	maxLongBytes    = 16 << 20
)

// next returns the media sequence number that comes next; 0 in an empty list.
func (b *longBuilder) next() uint64 {
	if len(b.segments) == 0 {
		return 0
	}
	return b.sequence + uint64(len(b.segments))
}

// add appends a closed segment with its discontinuity sequence number. What is
// missing before it (an origin was gone, a disk was full) becomes gaps, so that
// each number goes on meaning the segment that it has always meant. It returns
// how many segments were appended; all, if the list had to begin anew.
func (b *longBuilder) add(s Segment, discontinuity uint64) int {
	before := len(b.segments)
	if before == 0 || !b.fill(&s, discontinuity) {
		b.segments, b.total = nil, 0
		b.sequence, b.discontinuity = s.Name.Number, discontinuity
		if s.Discontinuity {
			b.discontinuity--
		}
		before = 0
	}
	b.push(s)
	b.last = discontinuity
	return len(b.segments) - before
}

func (b *longBuilder) push(s Segment) {
	s.Parts = nil
	b.segments = append(b.segments, s)
	b.total += s.Duration
}

// fill appends gaps up to s. They share the time that passed, and carry the
// discontinuities that were missed. It tells whether that can be done.
func (b *longBuilder) fill(s *Segment, discontinuity uint64) bool {
	if s.Name.Number < b.next() || discontinuity < b.last {
		return false
	}
	missing, missed := s.Name.Number-b.next(), discontinuity-b.last
	if s.Discontinuity {
		if missed == 0 {
			return false
		}
		missed--
	}
	previous := b.segments[len(b.segments)-1]
	date := previous.ProgramDateTime.Add(previous.Duration)
	hole := max(s.ProgramDateTime.Sub(date), 0)
	if missed > missing || hole >= b.length || missing > uint64(maxLongSegments-len(b.segments)-1) {
		return false
	}
	if missing == 0 {
		return true
	}
	// Neither nothing at all nor longer than a segment may be.
	each := min(max(hole/time.Duration(missing), time.Millisecond), b.target).Truncate(time.Microsecond)
	for i := range missing {
		gap := Segment{
			Name:            MediaName{Kind: SegmentMedia, Epoch: previous.Name.Epoch, Number: b.next()},
			Map:             previous.Map,
			Duration:        each,
			ProgramDateTime: date,
			Gap:             true,
			Discontinuity:   i < missed,
		}
		b.push(gap)
		date = date.Add(each)
	}
	return true
}

// slide drops what is older than the list may be, and the segments up to the
// media sequence number before, which will not be kept. It returns how many.
func (b *longBuilder) slide(before uint64) int {
	n := 0
	for n < len(b.segments)-1 && (b.total-b.segments[n].Duration >= b.length || b.segments[n].Name.Number < before) {
		b.total -= b.segments[n].Duration
		b.sequence++
		if b.segments[n].Discontinuity {
			b.discontinuity++
		}
		n++
	}
	b.segments = b.segments[n:]
	return n
}

// version renders the list as it is now.
func (b *longBuilder) version() *longList {
	l := &longList{longHeader: b.longHeader}
	text := b.appendHeader(make([]byte, 0, 256+100*len(b.segments)))
	var inForce MediaName
	for i := range b.segments {
		s := &b.segments[i]
		l.take(s)
		text = s.appendLong(text, inForce)
		inForce = s.Map
	}
	if b.ended {
		text = append(text, endList...)
	}
	l.rendering = newRendering(text)
	return l
}

const endList = "#EXT-X-ENDLIST\n"

// appendHeader appends what stands before the first segment: no parts and no
// SERVER-CONTROL, this is a plain list.
func (b *longBuilder) appendHeader(text []byte) []byte {
	text = append(text, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:"...)
	text = strconv.AppendInt(text, int64(b.target/time.Second), 10)
	text = append(text, "\n#EXT-X-MEDIA-SEQUENCE:"...)
	text = strconv.AppendUint(text, b.sequence, 10)
	text = append(text, "\n#EXT-X-DISCONTINUITY-SEQUENCE:"...)
	text = strconv.AppendUint(text, b.discontinuity, 10)
	return append(text, '\n')
}

// appendLong appends a closed segment as it stands in a long list.
func (s *Segment) appendLong(text []byte, inForce MediaName) []byte {
	text = s.appendTags(text, inForce)
	text = append(text, "#EXTINF:"...)
	text = appendSeconds(text, s.Duration)
	text = append(text, ",\n"...)
	text = append(text, s.Name.String()...)
	return append(text, '\n')
}
