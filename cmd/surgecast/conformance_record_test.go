package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
)

// recording is what players on every seat saw of one source.
type recording struct {
	name   string
	source *origintest.Source
	fps    float64
	began  time.Time // wall time of the source's first picture
	runs   int       // publications
	seats  []*seatRecord
}

// seatRecord is what one player saw, in order.
type seatRecord struct {
	seat     string
	node     int
	versions []snapshot
	media    map[string]string // bodies, by relative URI
	problems []string          // of the player itself
}

// snapshot is one version of the list, in the three ways in which it is sent.
type snapshot struct {
	at       time.Time
	full     *listing
	skip, v2 *listing // by _HLS_skip; the version may be a newer one
}

// recordWindow is the live window of a recording: long enough for deltas,
// short enough to slide.
const recordWindow = 24 * time.Second

// recordingOf plays a source for a while on fake time, in several publications
// that follow each other.
func recordingOf(t *testing.T, name string, d time.Duration, sources ...*origintest.Source) *recording {
	r := &recording{name: name, source: sources[0], fps: sources[0].FPS, runs: len(sources)}
	synctest.Test(t, func(t *testing.T) {
		st, end := newStage(t, sources[0], recordWindow)
		r.began = time.Now()
		time.Sleep(4 * time.Second)
		watching, stop := context.WithCancel(t.Context())
		var players sync.WaitGroup
		for _, s := range st.seats {
			one := &seatRecord{seat: s.name, node: s.node, media: map[string]string{}}
			r.seats = append(r.seats, one)
			players.Go(func() { one.watch(watching, s) })
		}
		for _, next := range sources[1:] {
			time.Sleep(d / time.Duration(len(sources)))
			st.stopFeed()
			time.Sleep(500 * time.Millisecond)
			feed, stopFeed := context.WithCancel(t.Context())
			st.stopFeed = stopFeed
			st.publish(feed, next)
		}
		time.Sleep(d / time.Duration(len(sources)))
		stop()
		players.Wait()
		end()
	})
	for _, s := range r.seats {
		if least := int(4 * d.Seconds()); len(s.versions) < least {
			t.Errorf("%s, %s: only %d lists in %v: %v", name, s.seat, len(s.versions), d, s.problems)
		}
	}
	return r
}

// watch plays as a player that takes every version, every part and every
// segment.
func (r *seatRecord) watch(ctx context.Context, s *seat) {
	l := readListing(s.get(liveList).body)
	for ctx.Err() == nil {
		msn, parts := l.open()
		query := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts))
		hinted := make(chan answer, 1)
		go func() { hinted <- s.ask(ctx, http.MethodGet, theatre+l.hint()) }()
		a := s.ask(ctx, http.MethodGet, liveList+query)
		r.keepHinted(ctx, l.hint(), <-hinted)
		if a.err != nil || a.status != http.StatusOK {
			if ctx.Err() == nil {
				r.problems = append(r.problems, fmt.Sprintf("%s: %v", query, a))
			}
			return
		}
		l = readListing(a.body)
		r.versions = append(r.versions, snapshot{
			at: time.Now(), full: l,
			skip: readListing(s.get(liveList + query + "&_HLS_skip=YES").body),
			v2:   readListing(s.get(liveList + query + "&_HLS_skip=v2").body),
		})
		r.fetch(ctx, s, l)
	}
}

// keepHinted keeps a part that was asked for before it was there.
func (r *seatRecord) keepHinted(ctx context.Context, uri string, a answer) {
	switch {
	case ctx.Err() != nil:
	case a.err != nil || a.status != http.StatusOK:
		r.problems = append(r.problems, fmt.Sprintf("hinted part %s: %v", uri, a))
	default:
		r.media[uri] = a.body
	}
}

// fetch gets what the list names and is not here yet.
func (r *seatRecord) fetch(ctx context.Context, s *seat, l *listing) {
	var missing []string
	want := func(uri string) {
		if _, here := r.media[uri]; uri != "" && !here && !slices.Contains(missing, uri) {
			missing = append(missing, uri)
		}
	}
	for _, segment := range l.segments {
		want(segment.init)
		for _, p := range segment.parts {
			want(p["URI"])
		}
		want(segment.uri)
	}
	for _, uri := range missing {
		a := s.ask(ctx, http.MethodGet, theatre+uri)
		if ctx.Err() != nil {
			return
		}
		if a.err != nil || a.status != http.StatusOK {
			r.problems = append(r.problems, fmt.Sprintf("%s: %v", uri, a))
			continue
		}
		r.media[uri] = a.body
	}
}

// everyVersion makes a conformance line of what must hold of each list that
// was seen, and of what came before it on the same seat: nil at first.
func everyVersion(check func(r *recording, before, now *listing) error) func(*testing.T, []*recording) {
	return everySeat(func(t *testing.T, r *recording, s *seatRecord) {
		var before *listing
		for _, v := range s.versions {
			if err := check(r, before, v.full); err != nil {
				t.Errorf("%s, %s: %v:\n%s", r.name, s.seat, err, v.full.text)
				return // the next ones mostly say the same
			}
			before = v.full
		}
	})
}

// everySeat makes a conformance line of what must hold of all that was seen on
// each seat.
func everySeat(check func(t *testing.T, r *recording, s *seatRecord)) func(*testing.T, []*recording) {
	return func(t *testing.T, recordings []*recording) {
		for _, r := range recordings {
			for _, s := range r.seats {
				check(t, r, s)
			}
		}
	}
}
