package main

import (
	"slices"
	"strings"
)

// multivariant is a multivariant playlist as a player reads it, by other code
// than the relay's.
type multivariant struct {
	steering attributes
	variants []variantLine
	media    []attributes
	problems []string
}

// variantLine is an EXT-X-STREAM-INF and its URI.
type variantLine struct {
	attributes
	uri string
}

func readMultivariant(text string) *multivariant {
	m := &multivariant{}
	var info attributes
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "#EXTM3U" {
		m.problems = append(m.problems, "the first line is "+lines[0])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case name == "#EXT-X-CONTENT-STEERING":
			if m.steering != nil {
				m.problems = append(m.problems, "two steering servers")
			}
			m.steering = readAttributes(value)
		case name == "#EXT-X-STREAM-INF":
			info = readAttributes(value)
		case name == "#EXT-X-MEDIA":
			m.media = append(m.media, readAttributes(value))
		case !strings.HasPrefix(line, "#"):
			m.variants = append(m.variants, variantLine{info, line})
		}
	}
	return m
}

// pathways are the ids in their order.
func (m *multivariant) pathways() []string {
	var ids []string
	for _, v := range m.variants {
		if id := v.attributes["PATHWAY-ID"]; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// steeringManifest is a steering manifest as a player reads it.
type steeringManifest struct {
	Version  int      `json:"VERSION"`
	TTL      int      `json:"TTL"`
	Reload   string   `json:"RELOAD-URI"`
	Priority []string `json:"PATHWAY-PRIORITY"`
}
