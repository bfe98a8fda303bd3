package hlscheck

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// list is a media playlist as it is read.
type list struct {
	problems   []string
	count      map[string]int    // how often a tag stands
	values     map[string]string // its last value
	control    attributes
	target     time.Duration
	partTarget time.Duration
	segments   []segment // the last one is open when it has no URI
	hints      []attributes
	reports    []attributes
	ranges     map[string]attributes
	ended      bool
}

type segment struct {
	msn           int
	uri, init     string
	tags          []string
	duration      time.Duration
	date          time.Time
	discontinuity bool
	gap           bool
	parts         []part
}

type part struct {
	uri              string
	duration         time.Duration
	independent, gap bool
}

type attributes map[string]string

// headerTags stand once at most, before the first segment.
var headerTags = []string{
	"EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF",
	"EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-SKIP", "EXT-X-ENDLIST",
}

func (l *list) complain(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// read reads a list; what it can't read is a problem.
func read(text string) *list {
	l := &list{count: map[string]int{}, values: map[string]string{}, ranges: map[string]attributes{}}
	if !strings.HasSuffix(text, "\n") {
		l.complain("the last line is cut")
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		l.complain("the first line is %q", lines[0])
	}
	var s segment
	init := ""
	for _, line := range lines[1:] {
		switch {
		case l.ended:
			l.complain("%q behind the end", line)
		case line == "":
			l.complain("an empty line")
		case line[0] != '#':
			s.uri = line
			l.add(&s, init)
		case strings.HasPrefix(line, "#EXT"):
			name, value, _ := strings.Cut(line[1:], ":")
			l.tag(&s, &init, name, value)
		}
	}
	if len(s.tags) > 0 {
		l.add(&s, init)
	}
	return l
}

func (l *list) add(s *segment, init string) {
	s.msn, s.init = l.sequence()+len(l.segments), init
	if s.uri != "" && (len(s.tags) == 0 || s.tags[len(s.tags)-1] != "EXTINF") {
		l.complain("segment %d: no EXTINF before its URI", s.msn)
	}
	l.segments = append(l.segments, *s)
	*s = segment{}
}

func (l *list) tag(s *segment, init *string, name, value string) {
	l.count[name]++
	l.values[name] = value
	switch name {
	case "EXT-X-TARGETDURATION":
		l.target = time.Duration(l.decimal(value)) * time.Second
	case "EXT-X-SERVER-CONTROL":
		l.control = l.attributes(value)
	case "EXT-X-PART-INF":
		l.partTarget = l.seconds(l.attributes(value)["PART-TARGET"])
	case "EXT-X-PRELOAD-HINT":
		l.hints = append(l.hints, l.attributes(value))
		return
	case "EXT-X-RENDITION-REPORT":
		l.reports = append(l.reports, l.attributes(value))
		return
	case "EXT-X-DATERANGE":
		a := l.attributes(value)
		if a["ID"] == "" || a["START-DATE"] == "" {
			l.complain("DATERANGE %q: want ID and START-DATE", value)
		}
		l.ranges[a["ID"]] = a
		return
	case "EXT-X-ENDLIST":
		l.ended = true
		return
	default:
		l.segmentTag(s, init, name, value)
		return
	}
	if len(s.tags) > 0 || len(l.segments) > 0 {
		l.complain("%s behind the first segment", name)
	}
}

func (l *list) segmentTag(s *segment, init *string, name, value string) {
	switch name {
	case "EXT-X-DISCONTINUITY":
		s.discontinuity = true
	case "EXT-X-GAP":
		s.gap = true
	case "EXT-X-MAP":
		*init = l.attributes(value)["URI"]
	case "EXT-X-PROGRAM-DATE-TIME":
		s.date = l.date(value)
	case "EXTINF":
		text, _, _ := strings.Cut(value, ",")
		s.duration = l.seconds(text)
	case "EXT-X-PART":
		a := l.attributes(value)
		s.parts = append(s.parts, part{a["URI"], l.seconds(a["DURATION"]), a["INDEPENDENT"] == "YES", a["GAP"] == "YES"})
	default:
		return
	}
	s.tags = append(s.tags, name)
}

// attributes reads an attribute list; quotes are taken off.
func (l *list) attributes(text string) attributes {
	all := attributes{}
	for text != "" {
		name, rest, ok := strings.Cut(text, "=")
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, rest, ok = strings.Cut(rest[1:], `"`)
			text = strings.TrimPrefix(rest, ",")
			ok = ok && (rest == "" || rest[0] == ',')
		} else {
			value, text, _ = strings.Cut(rest, ",")
		}
		if _, twice := all[name]; !ok || twice || name == "" || value == "" {
			l.complain("attribute %q of %q", name, text)
			return all
		}
		all[name] = value
	}
	return all
}

func (l *list) decimal(text string) int {
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		l.complain("%q is no decimal number", text)
	}
	return int(n)
}

// seconds reads a decimal number of seconds to the microsecond.
func (l *list) seconds(text string) time.Duration {
	if text == "" {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || math.IsInf(f, 0) || strings.ContainsAny(text, "eExX") {
		l.complain("%q is no number of seconds", text)
	}
	return time.Duration(math.Round(f*1e6)) * time.Microsecond
}

// date wants milliseconds and a zone.
func (l *list) date(text string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05.000Z07:00", text)
	if err != nil {
		l.complain("date %q: want milliseconds and a zone", text)
	}
	return t
}

func (l *list) text(name string) string { return l.values[name] }
func (l *list) number(name string) int {
	if l.count[name] == 0 {
		return 0
	}
	return l.decimal(l.values[name])
}
func (l *list) sequence() int { return l.number("EXT-X-MEDIA-SEQUENCE") }

// closed are the segments that have a URI.
func (l *list) closed() []segment {
	if n := len(l.segments); n > 0 && l.segments[n-1].uri == "" {
		return l.segments[:n-1]
	}
	return l.segments
}

// open is the segment that still grows; it may have nothing.
func (l *list) open() segment {
	if n := len(l.segments); n > 0 && l.segments[n-1].uri == "" {
		return l.segments[n-1]
	}
	return segment{}
}

// from is how much media there is from that segment on.
func (l *list) from(msn int) (sum time.Duration) {
	for i := range l.segments {
		if s := &l.segments[i]; s.msn >= msn {
			sum += s.length()
		}
	}
	return sum
}

// length is the duration, of an open segment that of its parts.
func (s *segment) length() time.Duration {
	if s.uri != "" {
		return s.duration
	}
	var sum time.Duration
	for _, p := range s.parts {
		sum += p.duration
	}
	return sum
}

// end of a DATERANGE; the zero time when it is not known.
func (a attributes) end() time.Time {
	if end, err := time.Parse(time.RFC3339Nano, a["END-DATE"]); err == nil {
		return end
	}
	start, err := time.Parse(time.RFC3339Nano, a["START-DATE"])
	f, err2 := strconv.ParseFloat(a["DURATION"], 64)
	if err != nil || err2 != nil {
		return time.Time{}
	}
	return start.Add(time.Duration(f * float64(time.Second)))
}
