package main

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// position is a part's place in the stream.
type position struct {
	msn  uint64
	part int
}

func (p position) before(q position) bool {
	return p.msn < q.msn || p.msn == q.msn && p.part < q.part
}

// media is what a viewer reads out of one media playlist. Lists are shared by
// all viewers that got the same bytes, so nothing in it changes.
type media struct {
	parts    []listedPart // oldest first
	next     position     // the part that comes after the last
	end      time.Time    // date of the list's end
	holdBack time.Duration
	blocks   bool // blocking reload may be used
	skips    bool // a delta may be asked for
	ended    bool
}

// listedPart is a part with what is needed to load and to play it.
type listedPart struct {
	position
	uri, init   string // relative to the list
	start       time.Time
	duration    time.Duration
	independent bool
}

// parseMedia reads a media playlist, whole or a delta. It takes what a viewer
// needs from it and passes over the rest.
func parseMedia(text string) (*media, error) {
	if !strings.HasPrefix(text, "#EXTM3U") {
		return nil, errors.New("not a playlist")
	}
	p := mediaParser{media: &media{}}
	for line := range strings.Lines(text) {
		if err := p.line(strings.TrimSpace(line)); err != nil {
			return nil, err
		}
	}
	if p.end.IsZero() {
		return nil, errors.New("a media playlist without a date")
	}
	p.next = position{p.msn, p.part}
	if p.holdBack == 0 {
		return nil, errors.New("a media playlist without PART-HOLD-BACK")
	}
	return p.media, nil
}

// mediaParser is how far a list has been read.
type mediaParser struct {
	*media
	msn     uint64
	part    int
	start   time.Time // of the segment that is being read
	init    string
	segment time.Duration // its EXTINF
}

func (p *mediaParser) line(line string) (err error) {
	tag, value, _ := strings.Cut(line, ":")
	switch {
	case line == "":
	case line[0] != '#':
		p.end = p.start.Add(p.segment)
		p.start, p.msn, p.part = p.end, p.msn+1, 0
	case tag == "#EXT-X-MEDIA-SEQUENCE":
		if p.msn, err = strconv.ParseUint(value, 10, 64); err != nil {
			return fmt.Errorf("read %s: %w", line, err)
		}
	case tag == "#EXT-X-SKIP":
		skipped, err := strconv.ParseUint(attribute(value, "SKIPPED-SEGMENTS"), 10, 32)
		if err != nil {
			return fmt.Errorf("read %s: %w", line, err)
		}
		p.msn += skipped
	case tag == "#EXT-X-SERVER-CONTROL":
		p.blocks = attribute(value, "CAN-BLOCK-RELOAD") == "YES"
		p.skips = attribute(value, "CAN-SKIP-UNTIL") != ""
		p.holdBack, err = parseSeconds(attribute(value, "PART-HOLD-BACK"))
	case tag == "#EXT-X-MAP":
		p.init = attribute(value, "URI")
	case tag == "#EXT-X-PROGRAM-DATE-TIME":
		if p.start, err = time.Parse(time.RFC3339Nano, value); err != nil {
			return fmt.Errorf("read %s: %w", line, err)
		}
		if p.part > 0 {
			return errors.New("a date after the parts of its segment")
		}
		p.end = p.start
	case tag == "#EXTINF":
		seconds, _, _ := strings.Cut(value, ",")
		p.segment, err = parseSeconds(seconds)
	case tag == "#EXT-X-PART":
		return p.listPart(value)
	case tag == "#EXT-X-ENDLIST":
		p.ended = true
	}
	return err
}

// listPart adds a part of the segment that is being read.
func (p *mediaParser) listPart(attributes string) error {
	duration, err := parseSeconds(attribute(attributes, "DURATION"))
	if err != nil {
		return err
	}
	start := p.start
	if p.part > 0 {
		last := p.parts[len(p.parts)-1]
		start = last.start.Add(last.duration)
	}
	p.parts = append(p.parts, listedPart{
		position: position{p.msn, p.part}, uri: attribute(attributes, "URI"), init: p.init,
		start: start, duration: duration, independent: attribute(attributes, "INDEPENDENT") == "YES",
	})
	p.part++
	p.end = start.Add(duration)
	return nil
}

// attribute finds one in a list such as A=1,B="x,y"; "" when it is not there.
func attribute(attributes, name string) string {
	for attributes != "" {
		key, rest, ok := strings.Cut(attributes, "=")
		if !ok {
			return ""
		}
		var value string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, rest, _ = strings.Cut(quoted, `"`)
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		if strings.TrimSpace(key) == name {
			return value
		}
		attributes = rest
	}
	return ""
}

func parseSeconds(text string) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds < 1e6) { // NaN is neither
		return 0, fmt.Errorf("not a time in seconds: %q", text)
	}
	return time.Duration(seconds * 1e9), nil
}

// from is where a new viewer starts to load and to play: as far behind the end
// as the list says, at a part that can be decoded.
func (m *media) from() (load listedPart, play time.Time, ok bool) {
	play = m.end.Add(-m.holdBack)
	for _, part := range m.parts {
		if part.independent && (!ok || !part.start.After(play)) {
			load, ok = part, true
		}
	}
	if ok && load.start.After(play) {
		play = load.start
	}
	return load, play, ok
}

// after returns the first part that is not before a position.
func (m *media) after(p position) (listedPart, bool) {
	for _, part := range m.parts {
		if !part.before(p) {
			return part, true
		}
	}
	return listedPart{}, false
}

// firstVariant finds the list of the first variant in a multivariant playlist.
func firstVariant(text string) (string, error) {
	wanted := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#EXT-X-STREAM-INF:"):
			wanted = true
		case wanted && line != "" && line[0] != '#':
			return line, nil
		}
	}
	return "", errors.New("a multivariant playlist without a variant")
}

// resolve makes a URI of a list into a path, as seen from the list's own.
func resolve(list, uri string) string {
	if _, rest, absolute := strings.Cut(uri, "://"); absolute {
		_, uri, _ = strings.Cut(rest, "/") // of another pathway too: the load is for one node
		uri = "/" + uri
	}
	if strings.HasPrefix(uri, "/") {
		return uri
	}
	folder := path.Dir(list)
	if strings.HasPrefix(uri, "..") {
		return path.Join(folder, uri)
	}
	return strings.TrimSuffix(folder, "/") + "/" + uri
}
