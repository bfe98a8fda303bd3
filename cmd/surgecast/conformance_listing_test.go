package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listing is a media playlist as a player reads it. It is read by other code
// than the relay's: a mistake in one does not hide that in the other.
type listing struct {
	text     string
	problems []string          // of syntax
	header   map[string]string // tags of the whole list, by name
	skipped  int
	segments []listedSegment // the last one is open when it has no URI
	hints    []attributes
	reports  []attributes
	dates    []attributes
	ended    bool
}

// listedSegment is a segment with its tags.
type listedSegment struct {
	msn           uint64
	lines         []string // all, the URI too, except EXT-X-MAP
	tags          []string // their names in order
	uri, init     string
	duration      time.Duration
	date          time.Time
	discontinuity bool
	gap           bool
	parts         []attributes
}

type attributes map[string]string

// headerTags stand once, before the first segment.
var headerTags = []string{
	"EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF",
	"EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE",
}

// readListing reads a full list or a delta.
func readListing(text string) *listing {
	l := &listing{text: text, header: map[string]string{}}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		l.complain("the first line is %q", lines[0])
	}
	var s listedSegment
	init := ""
	for _, line := range lines[1:] {
		switch {
		case line == "":
			l.complain("an empty line")
		case strings.HasPrefix(line, "#EXT"):
			name, value, _ := strings.Cut(line[1:], ":")
			l.tag(&s, &init, line, name, value)
		case line[0] != '#':
			s.lines, s.uri, s.init, s.msn = append(s.lines, line), line, init, l.next()
			l.segments = append(l.segments, s)
			s = listedSegment{}
		}
	}
	if len(s.lines) > 0 {
		s.init, s.msn = init, l.next()
		l.segments = append(l.segments, s)
	}
	return l
}

// tag takes one tag of the list or of the segment to come.
func (l *listing) tag(s *listedSegment, init *string, line, name, value string) {
	switch name {
	case "EXT-X-SKIP":
		l.skipped = int(l.number(readAttributes(value)["SKIPPED-SEGMENTS"]))
		return
	case "EXT-X-PRELOAD-HINT":
		l.hints = append(l.hints, readAttributes(value))
		return
	case "EXT-X-RENDITION-REPORT":
		l.reports = append(l.reports, readAttributes(value))
		return
	case "EXT-X-ENDLIST":
		l.ended = true
		return
	case "EXTINF":
		s.duration = l.seconds(strings.TrimSuffix(value, ","))
	case "EXT-X-DISCONTINUITY":
		s.discontinuity = true
	case "EXT-X-GAP":
		s.gap = true
	case "EXT-X-PART":
		s.parts = append(s.parts, readAttributes(value))
	case "EXT-X-MAP":
		*init = readAttributes(value)["URI"]
	case "EXT-X-PROGRAM-DATE-TIME":
		var err error
		if s.date, err = time.Parse("2006-01-02T15:04:05.000Z07:00", value); err != nil {
			l.complain("%v", err)
		}
	case "EXT-X-DATERANGE":
		l.dates = append(l.dates, readAttributes(value))
		return
	default:
		if !slices.Contains(headerTags, name) {
			l.complain("%s is unknown", name)
		}
		if _, twice := l.header[name]; twice || len(l.segments) > 0 {
			l.complain("%s stands twice or late", name)
		}
		l.header[name] = value
		return
	}
	s.tags = append(s.tags, name)
	if name != "EXT-X-MAP" { // a delta may say it again
		s.lines = append(s.lines, line)
	}
}

// readAttributes reads an attribute list; the quotes stay off.
func readAttributes(text string) attributes {
	a := attributes{}
	for text != "" {
		name, rest, _ := strings.Cut(text, "=")
		if strings.HasPrefix(rest, `"`) {
			value, after, _ := strings.Cut(rest[1:], `"`)
			a[name], text = value, strings.TrimPrefix(after, ",")
			continue
		}
		a[name], text, _ = strings.Cut(rest, ",")
	}
	return a
}

func (l *listing) complain(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

func (l *listing) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		l.complain("%v", err)
	}
	return n
}

// seconds reads to the nanosecond.
func (l *listing) seconds(text string) time.Duration {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		l.complain("%v", err)
	}
	return time.Duration(math.Round(f * 1e9))
}

// next is the media sequence number of the segment that comes next.
func (l *listing) next() uint64 { return l.sequence() + uint64(l.skipped+len(l.segments)) }

func (l *listing) sequence() uint64 { return l.number(l.header["EXT-X-MEDIA-SEQUENCE"]) }

func (l *listing) discontinuitySequence() uint64 {
	return l.number(l.header["EXT-X-DISCONTINUITY-SEQUENCE"])
}

func (l *listing) target() time.Duration {
	return time.Duration(l.number(l.header["EXT-X-TARGETDURATION"])) * time.Second
}

func (l *listing) partTarget() time.Duration {
	return l.seconds(readAttributes(l.header["EXT-X-PART-INF"])["PART-TARGET"])
}

func (l *listing) control(name string) time.Duration {
	return l.seconds(readAttributes(l.header["EXT-X-SERVER-CONTROL"])[name])
}

// closed are the segments that have a URI.
func (l *listing) closed() []listedSegment {
	if n := len(l.segments); n > 0 && l.segments[n-1].uri == "" {
		return l.segments[:n-1]
	}
	return l.segments
}

// open returns the parts of the segment that grows, and its number.
func (l *listing) open() (msn uint64, parts []attributes) {
	if n := len(l.segments); n > 0 && l.segments[n-1].uri == "" {
		return l.segments[n-1].msn, l.segments[n-1].parts
	}
	return l.next(), nil
}

// before returns how much media stands between the segment's end and the
// list's.
func (l *listing) before(i int) time.Duration {
	var sum time.Duration
	for _, s := range l.segments[i+1:] {
		sum += l.length(&s)
	}
	return sum
}

// length is a segment's duration; the open one's is that of its parts.
func (l *listing) length(s *listedSegment) time.Duration {
	if s.uri != "" {
		return s.duration
	}
	var sum time.Duration
	for _, p := range s.parts {
		sum += l.seconds(p["DURATION"])
	}
	return sum
}

// hint is the URI of the part that comes next.
func (l *listing) hint() string {
	for _, h := range l.hints {
		if h["TYPE"] == "PART" {
			return h["URI"]
		}
	}
	return ""
}
