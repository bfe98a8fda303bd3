package origin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"surgecast/relay"
)

const (
	// topPatience is how long the other rungs of a stream that was never on air
	// wait for the top one, which has the sound.
	topPatience = 5 * time.Second

	// indexPatience is for how many segments a stream that was never on air, or was
	// before the origin's start, waits for its rungs before it is shown without
	// them: players read the multivariant playlist once.
	indexPatience = 3

	// A rung is in the multivariant playlist after listedAfter whole segments in
	// a row, and no longer after droppedAfter that are gaps. Till then players
	// see the gaps, and change the rendition.
	listedAfter, droppedAfter = 1, 3
)

// picture is a rendition of the pictures, or of the sound where that is all. It
// lives as long as its stream.
type picture struct {
	timeline *timeline
	meter    meter
	family   string       // of its codec, "" before its first publication
	current  *Publication // nil while nobody publishes it

	// description and variant are what the multivariant playlist says of it.
	description trackDescription
	variant     relay.Variant
	listed      bool
	whole, gaps int // segments in a row
	count       rungCount
}

// maxRungs bounds the renditions of the pictures of a stream.
const maxRungs = 8

// ValidRungs tells what is wrong with the names of a stream's rungs, which are
// branches and renditions.
func ValidRungs(names []string) error {
	if len(names) > maxRungs {
		return fmt.Errorf("there are %d: write up to %d", len(names), maxRungs)
	}
	for i, name := range names {
		switch {
		case !branchForm.MatchString(name):
			return fmt.Errorf("%q is no name: write 1 to 64 of a-z, 0-9 and \"-\"", name)
		case name == backupBranch || strings.HasPrefix(name, soundPrefix):
			return fmt.Errorf("%q is taken: write another name", name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%q is there twice: give each its own name", name)
		}
	}
	return nil
}

// closed counts a segment of a rung that follows.
func (p *picture) closed(c closedSegment) {
	if c.gap {
		p.whole, p.gaps = 0, p.gaps+1
		p.listed = p.listed && p.gaps < droppedAfter
		return
	}
	p.whole, p.gaps = p.whole+1, 0
	p.listed = p.listed || p.whole >= listedAfter
	p.describe([]trackDescription{p.description}, c)
}

// describe makes the variant anew from its tracks and rates.
func (p *picture) describe(tracks []trackDescription, c closedSegment) {
	measured := float64(c.frames) / max(c.duration.Seconds(), 0.001)
	if was := p.variant.FrameRate; was > 0 && was-measured < 1 && measured-was < 1 {
		measured = was // not another revision for a frame more or less
	}
	p.variant = newVariant(p.timeline.rendition, tracks, &p.meter, measured)
}

// variants are what the multivariant playlist lists, the top rung first. It
// needs s.mu.
func (s *stream) variants(sounds []*sound) (all []relay.Variant) {
	for _, p := range s.pictures {
		if p.listed && p.variant.Rendition != "" {
			all = append(all, s.withSounds(p.variant, sounds))
		}
	}
	return all
}

// rungsExpected tells whether a rung is on its way that nobody has seen. It
// needs s.mu.
func (s *stream) rungsExpected(segments int) bool {
	return segments < indexPatience && slices.ContainsFunc(s.pictures, func(p *picture) bool {
		return p.variant.Rendition == "" && (p.listed || s.index == nil)
	})
}

// picture finds a rendition by the name of its rung; the stream itself is the
// top one.
func (s *stream) picture(rung string) (*picture, error) {
	for i, p := range s.pictures {
		if p.timeline.rendition == rung || rung == "" && i == 0 {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: %q has no rung %q", ErrUnknownStream, s.Name, rung)
}

// lead makes p the publication that sets the boundaries of all renditions, in
// place of the one that did. It needs s.mu.
func (s *stream) lead(p *Publication) error {
	byID, index := cloneTracks(p.tracks, p.index)
	if err := s.declare(p.picture, byID, index); err != nil {
		return err
	}
	if s.current != nil {
		s.current.sealed()
	}
	if was := s.timeline; was != p.picture.timeline {
		s.endFill() // it is of the timeline that led
		s.wakeOrdered()
		p.picture.timeline.leadAfter(was)
		s.timeline = p.picture.timeline
		for _, t := range s.timelines()[1:] {
			t.lead = s.timeline
		}
		s.logger.Info("rung leads", "rung", s.timeline.rendition)
	}
	s.birth()
	p.packager = newPackager(s.timeline, s.Constants, s.leading(byID), index)
	p.packager.sounds = s.sounds(byID)
	p.packager.rungs = s.rungs(p.picture, byID)
	p.packager.closed = p.segmentClosed
	p.packager.silent = silentTracks(byID, index)
	s.current, s.begun, s.tracks = p, true, byID
	return nil
}

// rungs returns what makes the renditions beside the leading one.
func (s *stream) rungs(leading *picture, byID map[int]Track) (all []*rung) {
	for _, p := range s.pictures {
		if p == leading {
			continue
		}
		r := newRung(p, s.Constants, byID[videoID].ClockRate, s.logger)
		if p.current != nil {
			r.join(p.current.tracks[videoID], p.current.tied && leading == s.pictures[0])
		}
		all = append(all, r)
	}
	return all
}

// ties tells whether the clock of p is that of the one that leads.
func (s *stream) ties(p *Publication) bool { return p.tied && s.current.picture == s.pictures[0] }

// rung is what makes a rendition beside the leading one; nil while nobody leads.
// It needs s.mu.
func (s *stream) rung(p *picture) *rung {
	if s.current == nil {
		return nil
	}
	for _, r := range s.current.packager.rungs {
		if r.picture == p {
			return r
		}
	}
	return nil
}

// promote lets the best rung that is left lead when nobody does. It needs s.mu.
func (s *stream) promote() {
	for _, p := range s.pictures {
		if s.current != nil || !s.begun || s.over() != nil {
			return
		}
		if p.current == nil || p.current.tied {
			continue
		}
		if err := s.lead(p.current); err != nil {
			p.current.leave(err)
		}
	}
}

// outdoes tells whether p should lead in place of the one that does: it is above
// that, and has sound which that lacks. It needs s.mu.
func (s *stream) outdoes(p *Publication) bool {
	for _, one := range s.pictures {
		switch one {
		case s.current.picture:
			return false
		case p.picture:
			return s.soundsOf(p) > s.soundsOf(s.current)
		}
	}
	return false
}

// soundsOf counts the audio renditions that a publication has media for.
func (s *stream) soundsOf(p *Publication) (n int) {
	for i := range s.beside {
		if t, ok := p.tracks[audioID+i]; ok && !t.Missing {
			n++
		}
	}
	return n
}
