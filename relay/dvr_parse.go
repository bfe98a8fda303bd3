package relay

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// parseLongList reads a long list as an origin writes it. Tags that it does
// not know are skipped; whatever it does know must be right, since the text is
// passed on verbatim. It keeps text. Errors wrap ErrPlaylist.
func parseLongList(text []byte) (*longList, error) {
	if len(text) > maxLongBytes {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPlaylist, maxLongBytes)
	}
	l := &longList{}
	header, err := scanLongList(text, func(s *Segment) { l.take(s) })
	if err != nil {
		return nil, err
	}
	l.longHeader, l.rendering = header, newRendering(text)
	return l, nil
}

// scanLongList calls each for the segments of a long list, dates filled in as
// far as the list tells them. What came before an error was good.
func scanLongList(text []byte, each func(*Segment)) (longHeader, error) {
	s := longScanner{each: each, duration: -1, seen: map[string]bool{}}
	for number := 1; len(text) > 0; number++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return s.header, fmt.Errorf("%w: line %d breaks off", ErrPlaylist, number)
		}
		if err := s.line(string(line)); err != nil {
			return s.header, fmt.Errorf("%w: line %d: %w", ErrPlaylist, number, err)
		}
		text = rest
	}
	switch {
	case s.header.target == 0 || !s.seen["#EXT-X-MEDIA-SEQUENCE"]:
		return s.header, fmt.Errorf("%w: no EXT-X-TARGETDURATION or no EXT-X-MEDIA-SEQUENCE", ErrPlaylist)
	case s.duration >= 0:
		return s.header, fmt.Errorf("%w: an EXTINF without a segment", ErrPlaylist)
	}
	return s.header, nil
}

// longScanner reads a long list line by line.
type longScanner struct {
	header   longHeader
	each     func(*Segment)
	seen     map[string]bool // tags that may stand once
	count    int             // of segments
	segment  Segment         // whose tags are being read
	inForce  MediaName       // the MAP
	duration time.Duration   // EXTINF; negative: none yet
	date     time.Time       // where the segment before ended; zero: not known
	begun    bool
}

func (s *longScanner) line(line string) error {
	switch {
	case !s.begun:
		s.begun = true
		if line != "#EXTM3U" {
			return errors.New("the first line is not #EXTM3U")
		}
		return nil
	case line == "":
		return nil
	case s.header.ended:
		return errors.New("something follows EXT-X-ENDLIST")
	case line[0] != '#':
		return s.uri(line)
	}
	name, value, _ := strings.Cut(line, ":")
	switch name {
	case "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE":
		return s.headerTag(name, value)
	}
	return s.segmentTag(name, value)
}

func (s *longScanner) headerTag(name, value string) error {
	n, err := decimal(value)
	if err != nil {
		return err
	}
	if s.seen[name] || s.count > 0 {
		return fmt.Errorf("%s stands twice, or too late", name)
	}
	s.seen[name] = true
	switch name {
	case "#EXT-X-TARGETDURATION":
		if n < 1 || n > 60 {
			return fmt.Errorf("target duration %d: want 1 to 60 seconds", n)
		}
		s.header.target = time.Duration(n) * time.Second
	case "#EXT-X-MEDIA-SEQUENCE":
		s.header.sequence = n
	default:
		s.header.discontinuity = n
	}
	return nil
}

func (s *longScanner) segmentTag(name, value string) (err error) {
	switch name {
	case "#EXT-X-DISCONTINUITY":
		s.segment.Discontinuity = true
	case "#EXT-X-GAP":
		s.segment.Gap = true
	case "#EXT-X-MAP":
		uri, err := attribute(value, "URI")
		if err != nil {
			return err
		}
		if s.inForce, err = ParseMediaName(uri); err != nil || s.inForce.Kind != Init {
			return fmt.Errorf("map %q: %w", clip(uri), ErrMediaName)
		}
	case "#EXT-X-PROGRAM-DATE-TIME":
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil || t.Year() < 1970 || t.Year() > 9000 {
			return fmt.Errorf("date %q: want RFC 3339", clip(value))
		}
		s.segment.ProgramDateTime = t.UTC()
	case "#EXTINF":
		text, _, _ := strings.Cut(value, ",")
		if s.duration, err = seconds(text); err != nil {
			return err
		}
		if s.duration >= s.header.target+time.Second/2 {
			return fmt.Errorf("a segment of %v is longer than the target duration", s.duration)
		}
	case "#EXT-X-ENDLIST":
		s.header.ended = true
	case "#EXT-X-SKIP", "#EXT-X-PART", "#EXT-X-KEY", "#EXT-X-BYTERANGE":
		// Each changes what the lines around it mean.
		return fmt.Errorf("%s does not belong into a long list", name)
	}
	return nil
}

// uri closes the segment whose tags came before.
func (s *longScanner) uri(line string) error {
	name, err := ParseMediaName(line)
	due := s.header.sequence + uint64(s.count)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", clip(line), err)
	case s.duration < 0:
		return errors.New("a segment without EXTINF")
	case name.Kind != SegmentMedia || name.Number != due:
		return fmt.Errorf("segment %q where media sequence number %d is due", name, due)
	case s.count >= maxLongSegments:
		return fmt.Errorf("more than %d segments", maxLongSegments)
	case s.inForce.Kind == 0 && !s.segment.Gap:
		return errors.New("a segment without EXT-X-MAP")
	}
	s.segment.Name, s.segment.Map, s.segment.Duration = name, s.inForce, s.duration
	if s.segment.ProgramDateTime.IsZero() {
		s.segment.ProgramDateTime = s.date
	}
	s.date = time.Time{}
	if t := s.segment.ProgramDateTime; !t.IsZero() {
		s.date = t.Add(s.duration)
	}
	s.each(&s.segment)
	s.count++
	s.segment, s.duration = Segment{}, -1
	return nil
}
