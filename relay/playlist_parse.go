package relay

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a parent may send. A list of a minute has some 60 segments;
// one over a bound is refused whole and the last good list stays.
const (
	maxPlaylistBytes    = 1 << 20
	maxPlaylistSegments = 10_000
	maxSegmentParts     = 1_000
)

// ErrPlaylist is wrapped by every error of ParsePlaylist.
var ErrPlaylist = errors.New("bad media playlist")

// ParsePlaylist reads a full media playlist as AppendText writes it. Tags that
// it does not know are skipped, so that a newer origin's list is still read;
// whatever it does know must be right, since the text is passed on verbatim.
// A delta (EXT-X-SKIP) is refused. Errors wrap ErrPlaylist and name the line.
func ParsePlaylist(text []byte) (*Playlist, error) {
	p, _, err := parsePlaylist(text)
	return p, err
}

// layout tells where in the text of a list its segments stand: segment i is
// text[segments[i]:segments[i+1]]; the last offset is where the open segment
// begins.
type layout struct {
	segments []int
	ranges   [][2]int // DATERANGE lines that do not stand before the segments
}

func parsePlaylist(text []byte) (*Playlist, layout, error) {
	if len(text) > maxPlaylistBytes {
		return nil, layout{}, fmt.Errorf("%w: longer than %d bytes", ErrPlaylist, maxPlaylistBytes)
	}
	s := scanner{}
	for number, offset := 1, 0; offset < len(text); number++ {
		line, next := text[offset:], len(text)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], offset+i+1
		}
		if err := s.line(string(bytes.TrimSuffix(line, []byte("\r"))), offset, next); err != nil {
			return nil, layout{}, fmt.Errorf("%w: line %d: %w", ErrPlaylist, number, err)
		}
		offset = next
	}
	if err := s.finish(); err != nil {
		return nil, layout{}, fmt.Errorf("%w: %w", ErrPlaylist, err)
	}
	return &s.list, s.layout, nil
}

// scanner reads a list line by line. Tags of a segment gather in list.Open
// until a URI closes it; what is left at the end is the open segment.
type scanner struct {
	list      Playlist
	layout    layout
	seen      map[string]bool // header tags, each at most once
	begun     bool            // the first line was read
	inSegment bool            // a segment's tags have begun
	duration  time.Duration   // EXTINF of the segment to come; negative: none
	inForce   MediaName
}

func (s *scanner) line(line string, offset, next int) error {
	if !s.begun {
		if line != "#EXTM3U" {
			return errors.New("the first line is not #EXTM3U")
		}
		s.begun, s.duration, s.seen = true, -1, map[string]bool{}
		s.layout.segments = []int{next}
		return nil
	}
	if line == "" {
		return nil
	}
	if s.list.Ended {
		return errors.New("text after EXT-X-ENDLIST")
	}
	if line[0] != '#' {
		return s.uri(line, next)
	}
	name, value, _ := strings.Cut(line, ":")
	if name == "#EXT-X-DATERANGE" {
		return s.dateRange(value, offset, next)
	}
	if isHeader, err := s.header(name, value); isHeader {
		if err == nil && s.inSegment {
			err = fmt.Errorf("%s after the first segment", name)
		}
		if len(s.list.Segments) == 0 {
			s.layout.segments[0] = next
		}
		return err
	}
	return s.segmentTag(name, value)
}

// header reads a tag of the whole list and tells whether it was one.
func (s *scanner) header(name, value string) (bool, error) {
	var err error
	switch name {
	case "#EXT-X-VERSION":
		_, err = decimal(value)
	case "#EXT-X-TARGETDURATION":
		var n uint64
		n, err = decimal(value)
		if n == 0 || n > 3600 {
			return true, fmt.Errorf("target duration %q: want 1 to 3600 seconds", clip(value))
		}
		s.list.TargetDuration = time.Duration(n) * time.Second
	case "#EXT-X-SERVER-CONTROL":
		err = s.serverControl(value)
	case "#EXT-X-PART-INF":
		err = eachAttribute(value, func(k, v string) (err error) {
			if k == "PART-TARGET" {
				s.list.PartTarget, err = seconds(v)
			}
			return err
		})
	case "#EXT-X-MEDIA-SEQUENCE":
		s.list.MediaSequence, err = decimal(value)
	case "#EXT-X-DISCONTINUITY-SEQUENCE":
		s.list.DiscontinuitySequence, err = decimal(value)
	default:
		return false, nil
	}
	if s.seen[name] {
		return true, fmt.Errorf("%s stands twice", name)
	}
	s.seen[name] = true
	return true, err
}

func (s *scanner) serverControl(value string) error {
	return eachAttribute(value, func(k, v string) (err error) {
		switch k {
		case "PART-HOLD-BACK":
			s.list.PartHoldBack, err = seconds(v)
		case "HOLD-BACK":
			s.list.HoldBack, err = seconds(v)
		case "CAN-SKIP-UNTIL":
			s.list.CanSkipUntil, err = seconds(v)
		}
		return err
	})
}

func (s *scanner) segmentTag(name, value string) error {
	open := &s.list.Open
	switch name {
	case "#EXT-X-DISCONTINUITY":
		open.Discontinuity = true
	case "#EXT-X-GAP":
		open.Gap = true
	case "#EXT-X-MAP":
		uri, err := attribute(value, "URI")
		if err != nil {
			return err
		}
		if s.inForce, err = ParseMediaName(uri); err != nil || s.inForce.Kind != Init {
			return fmt.Errorf("map %q: %w", clip(uri), ErrMediaName)
		}
	case "#EXT-X-PROGRAM-DATE-TIME":
		var err error
		if open.ProgramDateTime, err = dateTime(value); err != nil {
			return err
		}
	case "#EXT-X-PART":
		if err := s.part(value); err != nil {
			return err
		}
	case "#EXTINF":
		var err error
		text, _, _ := strings.Cut(value, ",")
		if s.duration, err = seconds(text); err != nil {
			return err
		}
		if s.duration >= s.list.TargetDuration+time.Second/2 {
			return fmt.Errorf("a segment of %v is longer than the target duration", s.duration)
		}
	case "#EXT-X-PRELOAD-HINT":
		return s.hint(value)
	case "#EXT-X-ENDLIST":
		s.list.Ended = true
		return nil
	case "#EXT-X-SKIP":
		return errors.New("a delta where a full list was asked for")
	case "#EXT-X-RENDITION-REPORT":
		return s.report(value)
	default:
		return nil // a comment, or a tag of a newer version
	}
	s.inSegment = true
	return nil
}

func (s *scanner) part(value string) error {
	if len(s.list.Open.Parts) >= maxSegmentParts {
		return fmt.Errorf("more than %d parts in a segment", maxSegmentParts)
	}
	part, hasDuration := Part{}, false
	err := eachAttribute(value, func(k, v string) (err error) {
		switch k {
		case "DURATION":
			hasDuration = true
			part.Duration, err = seconds(v)
		case "URI":
			part.Name, err = ParseMediaName(unquote(v))
		case "INDEPENDENT":
			part.Independent = v == "YES"
		case "GAP":
			part.Gap = v == "YES"
		}
		return err
	})
	if err != nil {
		return err
	}
	number := len(s.list.Open.Parts)
	switch {
	case !hasDuration:
		return errors.New("a part without DURATION")
	case part.Duration > s.list.PartTarget:
		return fmt.Errorf("a part of %v is longer than the part target", part.Duration)
	case part.Name.Kind != PartMedia || part.Name.Number != s.list.OpenSequence() || part.Name.Part != number:
		return fmt.Errorf("part %q is not part %d of segment %d", part.Name, number, s.list.OpenSequence())
	}
	s.list.Open.Parts = append(s.list.Open.Parts, part)
	return nil
}

func (s *scanner) hint(value string) error {
	kind, err := attribute(value, "TYPE")
	if err != nil {
		return err
	}
	if kind != "PART" {
		return nil
	}
	uri, err := attribute(value, "URI")
	if err != nil {
		return err
	}
	if s.list.Hint, err = ParseMediaName(uri); err != nil || s.list.Hint.Kind != PartMedia {
		return fmt.Errorf("hint %q: %w", clip(uri), ErrMediaName)
	}
	return nil
}

// report reads what is said of another rendition. It belongs to the foot of
// the list, whatever stands behind it.
func (s *scanner) report(value string) error {
	if len(s.list.Reports) >= maxVariants {
		return fmt.Errorf("more than %d rendition reports", maxVariants)
	}
	r := RenditionReport{LastPart: -1}
	err := eachAttribute(value, func(k, v string) (err error) {
		switch k {
		case "URI":
			r.URI = unquote(v)
		case "LAST-MSN":
			r.LastMSN, err = decimal(v)
		case "LAST-PART":
			var part uint64
			part, err = decimal(v)
			r.LastPart = int(min(part, maxPart))
		}
		return err
	})
	s.list.Reports = append(s.list.Reports, r)
	return err
}

// dateRange reads a DATERANGE. Our origins write it before the segments; where
// it stands among them, a delta must not lose it with the segments around it.
func (s *scanner) dateRange(value string, offset, next int) error {
	if len(s.list.DateRanges) >= maxDateRanges {
		return fmt.Errorf("more than %d date ranges", maxDateRanges)
	}
	d, err := parseDateRange(value)
	if err != nil {
		return err
	}
	s.list.DateRanges = append(s.list.DateRanges, d)
	if s.inSegment {
		s.layout.ranges = append(s.layout.ranges, [2]int{offset, next})
	} else {
		s.layout.segments[0] = next
	}
	return nil
}

// uri closes the segment whose tags came before.
func (s *scanner) uri(line string, next int) error {
	name, err := ParseMediaName(line)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", clip(line), err)
	case s.duration < 0:
		return errors.New("a segment without EXTINF")
	case name.Kind != SegmentMedia || name.Number != s.list.OpenSequence():
		return fmt.Errorf("segment %q where media sequence number %d is due", name, s.list.OpenSequence())
	case len(s.list.Segments) >= maxPlaylistSegments:
		return fmt.Errorf("more than %d segments", maxPlaylistSegments)
	}
	segment := s.list.Open
	segment.Name, segment.Map, segment.Duration = name, s.inForce, s.duration
	s.list.Segments = append(s.list.Segments, segment)
	s.list.Open, s.duration, s.inSegment = Segment{}, -1, true
	s.layout.segments = append(s.layout.segments, next)
	return nil
}

func (s *scanner) finish() error {
	p := &s.list
	p.Open.Map = s.inForce
	switch {
	case !s.begun:
		return errors.New("empty")
	case p.TargetDuration == 0:
		return errors.New("no EXT-X-TARGETDURATION")
	case s.duration >= 0:
		return errors.New("an EXTINF without a segment")
	case !s.seen["#EXT-X-MEDIA-SEQUENCE"]:
		return errors.New("no EXT-X-MEDIA-SEQUENCE")
	case p.PartTarget > 0 && p.PartHoldBack < 2*p.PartTarget:
		return errors.New("PART-HOLD-BACK is under twice PART-TARGET")
	}
	return p.checkHint()
}

// checkHint refuses a hint that does not name the very next part.
func (p *Playlist) checkHint() error {
	h := p.Hint
	if h.Kind == 0 {
		return nil
	}
	if h.Number != p.OpenSequence() || h.Part != len(p.Open.Parts) {
		return fmt.Errorf("hint %q is not part %d of segment %d", h, len(p.Open.Parts), p.OpenSequence())
	}
	return nil
}

// decimal reads a decimal-integer.
func decimal(s string) (uint64, error) {
	n, ok := parseDecimal(s)
	if !ok {
		return 0, fmt.Errorf("%q is not a decimal number", clip(s))
	}
	return n, nil
}

// maxSeconds bounds any duration in a list.
const maxSeconds = 86_400

// seconds reads a decimal-floating-point number of seconds, to the microsecond.
func seconds(s string) (time.Duration, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= maxSeconds) || strings.ContainsAny(s, "xXpPiIeE_+-") {
		return 0, fmt.Errorf("%q is not a number of seconds", clip(s))
	}
	return time.Duration(math.Round(f*1e6)) * time.Microsecond, nil
}

// attribute returns the value of one attribute without its quotes.
func attribute(list, name string) (string, error) {
	value, found := "", false
	err := eachAttribute(list, func(k, v string) error {
		if k == name {
			value, found = unquote(v), true
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("no attribute %s", name)
	}
	return value, err
}

// eachAttribute calls f for each name and value of an attribute list, quotes
// kept, and stops at the first error.
func eachAttribute(list string, f func(name, value string) error) error {
	for list != "" {
		name, rest, ok := strings.Cut(list, "=")
		if !ok || name == "" {
			return fmt.Errorf("attribute %q without a value", clip(list))
		}
		end := strings.IndexByte(rest, ',')
		if strings.HasPrefix(rest, `"`) {
			if end = strings.IndexByte(rest[1:], '"'); end < 0 {
				return fmt.Errorf("attribute %s: the quote is not closed", clip(name))
			}
			end += 2
			if end < len(rest) && rest[end] != ',' {
				return fmt.Errorf("attribute %s: text after the quote", clip(name))
			}
		}
		if end < 0 {
			end = len(rest)
		}
		if err := f(strings.TrimSpace(name), rest[:end]); err != nil {
			return fmt.Errorf("attribute %s: %w", clip(name), err)
		}
		list = strings.TrimPrefix(rest[end:], ",")
	}
	return nil
}

func unquote(v string) string { return strings.Trim(v, `"`) }
