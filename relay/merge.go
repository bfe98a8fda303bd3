package relay

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// errMerge: a delta can't be put together with the list that is here.
var errMerge = errors.New("the delta does not fit the list that is here")

const skipTag = "#EXT-X-SKIP:"

// mergeDelta puts the full list together from a delta and the list before it,
// line by line and to the letter. A text that is no delta is returned as it is.
//
// What a delta skips is taken from the list before. There only one thing can
// change: the segment that is now the first gets the MAP in force, which stood
// farther up. And what a delta says again after its EXT-X-SKIP, for readers that
// keep no state, is left out: date ranges and the MAP. Where that is not all,
// the tag of the upstream's answer tells.
func mergeDelta(text []byte, before *Version) ([]byte, error) {
	at := bytes.Index(text, []byte("\n"+skipTag))
	if at < 0 {
		return text, nil
	}
	head, rest := text[:at+1], text[at+1:]
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	skipped, err := attribute(strings.TrimSpace(string(line[len(skipTag):])), "SKIPPED-SEGMENTS")
	if err != nil {
		return nil, err
	}
	count, ok := parseDecimal(skipped)
	first, ok2 := mediaSequence(head)
	p := before.Playlist
	switch {
	case !ok || !ok2 || count == 0 || count > maxPlaylistSegments:
		return nil, fmt.Errorf("%w: %q", errMerge, clip(string(line)))
	case first < p.MediaSequence || first+count > p.OpenSequence():
		return nil, fmt.Errorf("%w: it skips %d segments from %d on, here are %d to %d", errMerge, count, first, p.MediaSequence, p.OpenSequence())
	}
	from := int(first - p.MediaSequence)
	to := from + int(count)
	kept := before.Text[before.layout.segments[from]:before.layout.segments[to]]

	merged := make([]byte, 0, len(head)+len(kept)+len(rest)+64)
	merged = append(merged, head...)
	if from > 0 {
		if own := before.Text[before.layout.segments[from]:before.layout.segments[from+1]]; !bytes.Contains(own, []byte("#EXT-X-MAP:")) {
			merged = append(merged, mapLine(p.Segments[from].Map)...)
		}
	}
	merged = append(merged, kept...)
	for bytes.HasPrefix(rest, []byte("#EXT-X-DATERANGE:")) {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if !bytes.Contains(kept, append([]byte("\n"), line...)) {
			break
		}
		rest = after
	}
	rest = bytes.TrimPrefix(rest, []byte(mapLine(p.Segments[to-1].Map)))
	return append(merged, rest...), nil
}

// mapLine returns the line that puts an init segment in force.
func mapLine(name MediaName) string {
	if name.Kind != Init {
		return ""
	}
	return `#EXT-X-MAP:URI="` + name.String() + "\"\n"
}

// mediaSequence returns the EXT-X-MEDIA-SEQUENCE of a list's head.
func mediaSequence(head []byte) (uint64, bool) {
	const tag = "\n#EXT-X-MEDIA-SEQUENCE:"
	_, after, ok := bytes.Cut(head, []byte(tag))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	return parseDecimal(string(bytes.TrimSuffix(line, []byte("\r"))))
}

// deltaMark ends the ETag of a delta; before it stands the tag of the full
// list that it was cut from, so that who merges can tell whether the result is
// that list to the letter.
const deltaMark = "-delta"

// confirms tells whether an answer's ETag is that of this list; known is false
// when the tag is not of our form and says nothing.
func (v *Version) confirms(etag string) (same, known bool) {
	tag := strings.TrimSuffix(strings.Trim(etag, `"`), deltaMark)
	if len(tag) != len(v.full.etag) || strings.Trim(tag, "0123456789abcdef") != "" {
		return false, false
	}
	return tag == v.full.etag, true
}
