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

func (o originPublishers) accepts(stream, branch string, tracks []Track) error {
	if branch == backupBranch {
		branch = "" // what is held to be the same is the top rung
	}
	return o.streams[stream].accepts(branch, tracks)
}

func (o originPublishers) publish(stream, branch string, tied bool, tracks []Track) (publication, error) {
	s := o.switches[stream]
	if s == nil {
		return nil, ErrUnknownStream
	}
	rungs := o.streams[stream].Rungs
	switch {
	case branch == backupBranch:
		return s.publish(Backup, tracks)
	case branch != "" && branch != rungs[0]:
		if tied {
			return o.streams[stream].open(branch, tracks, made)
		}
		return o.streams[stream].open(branch, tracks, pushed)
	case len(rungs) < 2 || countPictures(tracks) < 2:
		return s.publish(Primary, tracks)
	}
	return newBundle(tracks, rungs, func(rung string, tracks []Track) (publication, error) {
		if rung == rungs[0] {
			return s.publish(Primary, tracks)
		}
		return o.streams[stream].open(rung, tracks, further)
	}, o.streams[stream].logger)
}

// open is publish for those who want a publication.
func (s *stream) open(rung string, tracks []Track, as claim) (publication, error) {
	p, err := s.publish(rung, tracks, as)
	if err != nil {
		return nil, err // not p: a nil *Publication is not a nil publication
	}
	return p, nil
}

// newSwitch returns the switch before a stream.
func (o *Origin) newSwitch(s *stream) *inputSwitch {
	open := func(tracks []Track) (publication, error) { return s.open("", tracks, pushed) }
	return newInputSwitch(open, s.Constants.PartTarget, s.logger)
}

// Switch puts an input of a stream on air: at once where it sends the same bytes
// as the other, else with its next key picture. It stays there until it fails.
//
// Errors: ErrUnknownStream, ErrNoInput.
func (o *Origin) Switch(stream string, input Input) error {
	s := o.switches[stream]
	if s == nil {
		return ErrUnknownStream
	}
	return s.command(input)
}

// Switches counts by stream how often each input went on air in the place of the
// other.
func (o *Origin) Switches() map[string]map[SwitchCount]int64 {
	all := make(map[string]map[SwitchCount]int64, len(o.switches))
	for name, s := range o.switches {
		all[name] = s.counts()
	}
	return all
}

// entry is what a stream asks of its publishers.
func (c StreamConfig) entry() entry {
	e := entry{keys: []publishKey{{key: c.PublishKey}}, sameKey: c.SameKey, rungs: c.Rungs, branches: append(slices.Clone(c.Rungs), backupBranch)}
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
