package origin_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

var authority = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// stage is an origin with one stream, theatre, and all lists that it published.
type stage struct {
	testing.TB
	*origin.Origin
	store  *relay.Store
	window *relay.Window
	stop   func() // ends Run

	versions []*relay.Version
	objects  map[relay.MediaName]*relay.Object
}

// newStage starts an origin on dir, which ends with the test.
func newStage(t testing.TB, dir string) *stage {
	t.Helper()
	return newStageWith(t, dir, origin.StreamConfig{})
}

// newStageWith is newStage with a stream of that configuration.
func newStageWith(t testing.TB, dir string, config origin.StreamConfig) *stage {
	t.Helper()
	return newStageAfter(t, dir, config, func(*origin.Origin) {})
}

// newStageAfter is newStageWith, with something that is done before it runs.
func newStageAfter(t testing.TB, dir string, config origin.StreamConfig, before func(*origin.Origin)) *stage {
	t.Helper()
	config.Name, config.PublishKey = "theatre", "curtain"
	s := &stage{TB: t, store: relay.NewStore(), objects: map[relay.MediaName]*relay.Object{}}
	var err error
	s.Origin, err = origin.New(origin.Config{
		Dir: dir, AuthorityKey: authority, Store: s.store,
		Streams: []origin.StreamConfig{config},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.window = s.store.Stream("theatre").Window(append(config.Rungs, "main")[0])
	before(s.Origin)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	s.stop = func() { cancel(); <-done }
	t.Cleanup(s.stop)
	return s
}

func (s *stage) publish(source *origintest.Source) *origin.Publication {
	s.Helper()
	p, err := s.Publish("theatre", source.Tracks())
	if err != nil {
		s.Fatal(err)
	}
	return p
}

// play publishes so much of the source in real time, and looks at each list.
func (s *stage) play(p *origin.Publication, source *origintest.Source, length time.Duration) {
	s.Helper()
	ctx, cancel := context.WithTimeoutCause(s.Context(), length, errOver)
	defer cancel()
	err := source.Run(ctx, func(u origin.Unit) error {
		err := p.Write(u)
		s.look()
		return err
	})
	if !errors.Is(err, errOver) {
		s.Fatal(err)
	}
}

var errOver = errors.New("the play is over")

// look records the newest list, if it is new, and the media that it names.
func (s *stage) look() {
	s.Helper()
	v := s.window.Version()
	if v == nil || len(s.versions) > 0 && s.versions[len(s.versions)-1] == v {
		return
	}
	s.versions = append(s.versions, v)
	p := v.Playlist
	for _, segment := range append(slices.Clone(p.Segments), p.Open) {
		s.fetch(segment.Map)
		if segment.Gap {
			continue
		}
		s.fetch(segment.Name)
		for _, part := range segment.Parts {
			s.fetch(part.Name)
		}
	}
}

func (s *stage) fetch(name relay.MediaName) {
	s.Helper()
	if name.Kind == 0 || s.objects[name] != nil {
		return
	}
	o, err := s.window.Media(s.Context(), name)
	if err != nil {
		s.Fatalf("%v: %v", name, err)
	}
	s.objects[name] = o
}

// newest returns the newest list.
func (s *stage) newest() *relay.Playlist {
	s.Helper()
	s.look()
	if len(s.versions) == 0 {
		s.Fatal("nothing was published")
	}
	return s.versions[len(s.versions)-1].Playlist
}

// segments returns all segments that were ever listed, by number.
func (s *stage) segments() map[uint64]relay.Segment {
	all := map[uint64]relay.Segment{}
	for _, v := range s.versions {
		for i, segment := range v.Playlist.Segments {
			msn := v.Playlist.MediaSequence + uint64(i)
			if was, ok := all[msn]; !ok || len(was.Parts) < len(segment.Parts) {
				all[msn] = segment
			}
		}
	}
	return all
}

// parts returns the names of all parts that were ever listed, in order.
func (s *stage) parts() []relay.MediaName {
	var names []relay.MediaName
	for name := range maps.Keys(s.objects) {
		if name.Kind == relay.PartMedia {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b relay.MediaName) int {
		if a.Number != b.Number {
			return int(a.Number) - int(b.Number)
		}
		return a.Part - b.Part
	})
	return names
}

// bubble runs a test on fake time, which begins at 2000-01-01 00:00:00 UTC.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
