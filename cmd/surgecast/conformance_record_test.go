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

// programme is what is sent to a stage to be recorded.
type programme struct {
	name       string
	lasts      time.Duration
	sources    []*origintest.Source // one encoder after the other; none known of a real one
	renditions []string
	tune       func(*StreamConfig) // may be nil
	seats      func(*seat) bool    // on which it is seen; nil for all
	slow       bool                // real players on a busy machine, who may miss versions
}

// recording is what players on every seat saw of a programme.
type recording struct {
	programme
	source *origintest.Source // the first
	fps    float64
	seen   []*seatRecord
}

// seatRecord is what one player saw of one rendition, in order.
type seatRecord struct {
	seat      string
	node      int
	rendition string
	versions  []snapshot
	sets      []map[string]string // the lists of all renditions at one moment; only of the first rendition
	media     map[string]string   // bodies, by relative URI
	problems  []string            // of the player itself
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

// record plays a programme on fake time.
func record(t *testing.T, p programme) *recording {
	r := &recording{programme: p, source: p.sources[0], fps: p.sources[0].FPS}
	turn := p.lasts / time.Duration(len(p.sources))
	synctest.Test(t, func(t *testing.T) {
		st, end := newStage(t, p.sources[0], func(c *OriginConfig) {
			c.Window = Duration(recordWindow)
			if p.tune != nil {
				p.tune(&c.Streams[0])
			}
		})
		time.Sleep(4 * time.Second)
		watching, stop := context.WithCancel(t.Context())
		var players sync.WaitGroup
		r.take(watching, st.seats, &players)
		for _, next := range p.sources[1:] {
			time.Sleep(turn)
			st.stopFeed()
			time.Sleep(500 * time.Millisecond)
			feed, stopFeed := context.WithCancel(t.Context())
			st.stopFeed = stopFeed
			st.publish(feed, next)
		}
		time.Sleep(turn)
		stop()
		players.Wait()
		end()
	})
	r.enough(t)
	return r
}

// take lets a player begin on each seat for each rendition.
func (r *recording) take(ctx context.Context, seats []*seat, players *sync.WaitGroup) {
	for _, s := range seats {
		if r.seats != nil && !r.seats(s) {
			continue
		}
		for i, rendition := range r.renditions {
			one := &seatRecord{seat: s.name + ", " + rendition, node: s.node, rendition: rendition, media: map[string]string{}}
			r.seen = append(r.seen, one)
			others := r.renditions
			if i > 0 {
				others = nil
			}
			players.Go(func() { one.watch(ctx, s, others) })
		}
	}
}

// enough holds a recording to be one: of five versions a second players see most.
func (r *recording) enough(t *testing.T) {
	rate := 4.
	if r.slow {
		rate = 1
	}
	for _, s := range r.seen {
		if least := int(rate * r.lasts.Seconds()); len(s.versions) < least {
			t.Errorf("%s, %s: only %d lists in %v: %v", r.name, s.seat, len(s.versions), r.lasts, s.problems)
		}
	}
}

// path is where the rendition's list and media are.
func (r *seatRecord) path() string { return "/theatre/" + r.rendition + "/" }

// watch plays as a player that takes every version, every part and every
// segment; it also looks at the lists of these renditions, as a set.
func (r *seatRecord) watch(ctx context.Context, s *seat, renditions []string) {
	live := r.path() + "live.m3u8"
	l := readListing(s.get(live).body)
	for ctx.Err() == nil {
		msn, parts := l.open()
		query := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts))
		hinted := make(chan answer, 1)
		go func() { hinted <- s.ask(ctx, http.MethodGet, r.path()+l.hint()) }()
		a := s.ask(ctx, http.MethodGet, live+query)
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
			skip: readListing(s.get(live + query + "&_HLS_skip=YES").body),
			v2:   readListing(s.get(live + query + "&_HLS_skip=v2").body),
		})
		if len(renditions) > 1 {
			r.sets = append(r.sets, s.set(renditions))
		}
		r.fetch(ctx, s, l)
	}
}

// set gets the lists of all renditions.
func (s *seat) set(renditions []string) map[string]string {
	set := map[string]string{}
	for _, rendition := range renditions {
		set[rendition] = s.get("/theatre/" + rendition + "/live.m3u8").body
	}
	return set
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
		a := s.ask(ctx, http.MethodGet, r.path()+uri)
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
			for _, s := range r.seen {
				check(t, r, s)
			}
		}
	}
}
