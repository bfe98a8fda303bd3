package origin

import (
	"maps"
	"slices"
)

// originPublishers is an Origin as a Gate sees it.
type originPublishers struct{ *Origin }

func (o originPublishers) entry(stream string) (entry, bool) {
	e, ok := o.entries[stream]
	return e, ok
}

func (o originPublishers) maxKeys() int {
	most := 1
	for _, e := range o.entries {
		most = max(most, len(e.keys))
	}
	return most
}

func (o originPublishers) accepts(stream, _ string, tracks []Track) error {
	return o.streams[stream].accepts(tracks)
}

func (o originPublishers) publish(stream, _ string, tracks []Track) (publication, error) {
	p, err := o.Publish(stream, tracks)
	if err != nil {
		return nil, err // not p: a nil *Publication is not a nil publication
	}
	return p, nil
}

// entry is what a stream asks of its publishers.
func (c StreamConfig) entry() entry {
	e := entry{keys: []publishKey{{key: c.PublishKey}}, sameKey: c.SameKey}
	for _, name := range slices.Sorted(maps.Keys(c.Broadcasters)) {
		e.keys = append(e.keys, publishKey{broadcaster: name, key: c.Broadcasters[name]})
	}
	return e
}

// keysDiffer tells whether a key says whose it is, and is one at all.
func (c StreamConfig) keysDiffer() bool {
	seen := map[string]bool{"": true}
	for _, k := range c.entry().keys {
		if seen[k.key] {
			return false
		}
		seen[k.key] = true
	}
	return true
}
