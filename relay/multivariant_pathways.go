package relay

import (
	"fmt"
	"strings"
)

// Pathway is one way to a stream: a relay, or the pool under its own name.
type Pathway struct {
	ID   string // "e-7f000002": of a-z, 0-9 and "-"
	Base string // http://127.0.0.2:8080
}

// maxPathways bounds the pathways that a playlist declares, and those that a
// manifest of content steering names. What is beyond is left out.
const maxPathways = 8

// ladder is a multivariant playlist, cut into what stands in it once and what
// is said of each pathway.
type ladder struct {
	head string // whole lines, #EXTM3U first
	rung []gap  // the lines of one pathway
}

// gap is text, and what of a pathway comes behind it.
type gap struct {
	text string
	wish func(Pathway) string
}

func pathwayID(p Pathway) string   { return p.ID }
func pathwayBase(p Pathway) string { return p.Base }

// groupAttributes name the groups of renditions. Each pathway has groups of its
// own: their members have the pathway's URIs.
var groupAttributes = map[string]bool{"GROUP-ID": true, "AUDIO": true, "VIDEO": true, "SUBTITLES": true, "CLOSED-CAPTIONS": true}

// ladderWriter collects the lines of one pathway.
type ladderWriter struct {
	ladder
	below string // the path between a base and a URI of the list
	text  strings.Builder
}

// newLadder cuts the multivariant playlist of a stream.
func newLadder(text []byte, stream string) (*ladder, error) {
	w := &ladderWriter{below: "/" + stream + "/"}
	var variant string // an EXT-X-STREAM-INF waits for its URI
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		media, isMedia := strings.CutPrefix(line, "#EXT-X-MEDIA:")
		info, isInfo := strings.CutPrefix(line, "#EXT-X-STREAM-INF:")
		var err error
		switch {
		case isMedia:
			w.text.WriteString("#EXT-X-MEDIA:")
			err = w.attributes(media)
			w.text.WriteString("\n")
		case isInfo:
			variant = info
		case line == "" || line[0] == '#':
			w.head += line + "\n"
		default:
			w.text.WriteString("#EXT-X-STREAM-INF:")
			err = w.attributes(variant)
			w.text.WriteString(`,PATHWAY-ID="`)
			w.gap(pathwayID)
			w.text.WriteString(`",STABLE-VARIANT-ID="` + strings.TrimSuffix(line, "/live.m3u8") + "\"\n")
			w.uri(line)
			w.text.WriteString("\n")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMultivariant, err)
		}
	}
	w.gap(nil)
	return &w.ladder, nil
}

// attributes writes an attribute list with the pathway's own groups and URIs.
func (w *ladderWriter) attributes(list string) error {
	separator := ""
	return eachAttribute(list, func(name, value string) error {
		w.text.WriteString(separator + name + "=")
		separator = ","
		switch {
		case groupAttributes[name] && strings.HasPrefix(value, `"`): // CLOSED-CAPTIONS=NONE is no group
			w.text.WriteString(`"` + unquote(value) + "-")
			w.gap(pathwayID)
			w.text.WriteString(`"`)
		case name == "URI":
			w.text.WriteString(`"`)
			w.uri(unquote(value))
			w.text.WriteString(`",STABLE-RENDITION-ID="` + strings.TrimSuffix(unquote(value), "/live.m3u8") + `"`)
		default:
			w.text.WriteString(value)
		}
		return nil
	})
}

func (w *ladderWriter) uri(relative string) {
	w.gap(pathwayBase)
	w.text.WriteString(w.below + relative)
}

// gap ends the text before what of a pathway comes next; nil: nothing.
func (w *ladderWriter) gap(wish func(Pathway) string) {
	w.rung = append(w.rung, gap{w.text.String(), wish})
	w.text.Reset()
}

// on writes the playlist with each rung once for each pathway, in their order.
// server is the URI of the steering manifest; prefix is the access prefix.
func (l *ladder) on(pathways []Pathway, server, prefix string) []byte {
	var b strings.Builder
	b.WriteString(l.head)
	fmt.Fprintf(&b, "#EXT-X-CONTENT-STEERING:SERVER-URI=\"%s\",PATHWAY-ID=\"%s\"\n", server, pathways[0].ID)
	for _, p := range pathways {
		p.Base += prefix
		for _, g := range l.rung {
			b.WriteString(g.text)
			if g.wish != nil {
				b.WriteString(g.wish(p))
			}
		}
	}
	return []byte(b.String())
}
