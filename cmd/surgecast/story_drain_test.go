package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

// poolName answers what a resolver would for the pool's name, from the view of
// one node, and keeps an answer as long as browsers do.
type poolName struct {
	members func() []cluster.Member
	random  *rand.Rand

	bases []string
	until time.Time
}

const browserDNSTTL = time.Minute

func (p *poolName) resolve() []string {
	if len(p.bases) > 0 && time.Now().Before(p.until) {
		return p.bases
	}
	p.bases, p.until = nil, time.Now().Add(browserDNSTTL)
	for _, m := range cluster.Pick(p.random, cluster.Serving(p.members())) {
		p.bases = append(p.bases, "http://"+m.State.Media)
	}
	return p.bases
}

// stayer is a viewer that stays with one relay until that says 503, as hls.js
// does, and then asks the pool's name: for the multivariant playlist anew, as
// our page does, or with the one that it has had from the start.
type stayer struct {
	name   int
	client *http.Client
	pool   poolName
	anew   bool // asks for the multivariant playlist again

	relay    string // base URL of the one that it stays with
	told     map[string]bool
	switches int
	parts    int
	latest   time.Duration
	failed   []string
}

func newStayer(s *story, i int) *stayer {
	return &stayer{
		name: i, anew: i%2 == 0, told: map[string]bool{},
		pool: poolName{members: func() []cluster.Member { return s.origin.cluster.Members() }, random: rand.New(rand.NewPCG(2012, uint64(i)))},
		client: &http.Client{Transport: &http.Transport{
			DialContext: s.net.Host(fmt.Sprintf("10.0.1.%d", i)).DialContext, MaxIdleConnsPerHost: 2,
		}},
	}
}

func (v *stayer) fail(format string, values ...any) {
	v.failed = append(v.failed, fmt.Sprintf("%v: ", time.Now().Format("05.000"))+fmt.Sprintf(format, values...))
}

// get returns 0 where nobody answers.
func (v *stayer) get(ctx context.Context, url string) (status int, body []byte, from string) {
	w := storyWatcher{client: v.client}
	body, err := w.get(ctx, url)
	if wrong := (*wrongAnswer)(nil); err != nil && !asWrong(err, &wrong) {
		return 0, nil, w.sentTo
	} else if wrong != nil {
		return wrong.status, nil, w.sentTo
	}
	return http.StatusOK, body, w.sentTo
}

func asWrong(err error, to **wrongAnswer) bool {
	wrong, ok := err.(*wrongAnswer)
	*to = wrong
	return ok
}

// choose asks the pool's name for a path until somebody answers with it, and
// stays with that one. Of an answer's addresses the next is tried when one
// refuses, as browsers do; a relay that said 503 is not asked again while
// another is named.
func (v *stayer) choose(ctx context.Context, path string) []byte {
	for try := 0; ctx.Err() == nil; try++ {
		for _, base := range v.pool.resolve() {
			status, body, from := v.get(ctx, base+path)
			if status == http.StatusOK {
				v.relay = "http://" + from
				delete(v.told, v.relay)
				return body
			}
		}
		v.pool.until = time.Time{} // nobody there: a browser looks up again
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

// list asks for a version of the list: there where it stays, and elsewhere when
// that says that it leaves.
func (v *stayer) list(ctx context.Context, query string) *relay.Playlist {
	const path = "/theatre/main/live.m3u8"
	status, body, _ := v.get(ctx, v.relay+path+query)
	if status != http.StatusOK && ctx.Err() == nil {
		if status != http.StatusServiceUnavailable {
			v.fail("%s: the list: %d", v.relay, status)
		}
		v.switches++
		if v.anew {
			v.choose(ctx, "/theatre/index.m3u8")
			_, body, _ = v.get(ctx, v.relay+path)
		} else {
			body = v.choose(ctx, path)
		}
	}
	p, err := relay.ParsePlaylist(body)
	if err != nil && ctx.Err() == nil {
		v.fail("%s: the list of another: %v", v.relay, err)
	}
	return p
}

// media fetches an object from where it stays.
func (v *stayer) media(ctx context.Context, name relay.MediaName) {
	status, _, _ := v.get(ctx, v.relay+"/theatre/main/"+name.String())
	if status != http.StatusOK && ctx.Err() == nil {
		v.fail("%s: %v: %d", v.relay, name, status)
	}
}

// watch plays each part at the live edge until ctx ends.
func (v *stayer) watch(ctx context.Context) {
	defer v.client.CloseIdleConnections()
	v.choose(ctx, "/theatre/index.m3u8")
	p := v.list(ctx, "")
	if p == nil {
		return
	}
	msn, part := p.OpenSequence(), len(p.Open.Parts)
	for ctx.Err() == nil {
		next := v.list(ctx, fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, part))
		for next != nil && ctx.Err() == nil {
			name, at, ok := partOf(next, msn, part)
			if !ok {
				break
			}
			v.media(ctx, name)
			v.parts++
			v.latest = max(v.latest, time.Since(at))
			if part++; msn < next.OpenSequence() && part == len(next.Segments[msn-next.MediaSequence].Parts) {
				msn, part = msn+1, 0
			}
		}
	}
}

// partOf returns a part of a list, and when it ended.
func partOf(p *relay.Playlist, msn uint64, part int) (name relay.MediaName, ended time.Time, ok bool) {
	segment := p.Open
	if msn < p.OpenSequence() {
		segment = p.Segments[msn-p.MediaSequence]
	}
	if msn > p.OpenSequence() || part >= len(segment.Parts) {
		return name, ended, false
	}
	ended = segment.ProgramDateTime
	for _, one := range segment.Parts[:part+1] {
		ended = ended.Add(one.Duration)
	}
	return segment.Parts[part].Name, ended, true
}

// drainStory runs five relays under a crowd, and what is done to them.
func drainStory(t *testing.T, change func(s *story, nodes context.Context)) {
	synctest.Test(t, func(t *testing.T) {
		const relays = 5
		viewers := sized(15, 200)
		s := newStory(t)
		s.every = func(c *NodeConfig) { c.Drain = Duration(5 * time.Second) }
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range relays {
			s.startRelay(nodes, i)
		}
		time.Sleep(3 * time.Second)
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
		time.Sleep(4 * time.Second)

		began := time.Now()
		watching, stopViewers := context.WithCancel(t.Context())
		var crowd sync.WaitGroup
		all := make([]*stayer, viewers)
		for i := range all {
			all[i] = newStayer(s, i)
			crowd.Go(func() { all[i].watch(watching) })
		}
		time.Sleep(2 * time.Second)
		change(s, nodes)
		time.Sleep(2 * time.Second)
		watched := time.Since(began)
		stopViewers()
		crowd.Wait()
		checkStayers(t, all, watched)
		stopFeed()
		stopNodes()
		s.end()
	})
}

// checkStayers holds a crowd's evening to what was promised: no request failed,
// no part is missing, none was later than a player's buffer hides.
func checkStayers(t *testing.T, all []*stayer, watched time.Duration) {
	t.Helper()
	switches, parts, late := 0, 0, time.Duration(0)
	for _, v := range all {
		for _, text := range v.failed {
			t.Errorf("viewer %d at %s", v.name, text)
		}
		if want := int((watched - time.Second) / (200 * time.Millisecond)); v.parts < want {
			t.Errorf("viewer %d got %d parts in %v, want %d", v.name, v.parts, watched, want)
		}
		if v.latest > relay.DefaultConstants().PartHoldBack {
			t.Errorf("viewer %d had a part %v after its end", v.name, v.latest)
		}
		switches, parts, late = switches+v.switches, parts+v.parts, max(late, v.latest)
	}
	if switches == 0 {
		t.Error("nobody was sent elsewhere")
	}
	t.Logf("%d viewers in %v: %d parts, %d switches, a part at most %v after its end", len(all), watched, parts, switches, late)
}

// Each of five relays is told to end and started again, in turn.
func TestStoryRollingRestart(t *testing.T) {
	t.Parallel()
	drainStory(t, func(s *story, nodes context.Context) {
		for i := range 5 {
			old := s.relays[i]
			began := time.Now()
			old.stop()
			<-old.ended
			took := time.Since(began)
			if took < 5*time.Second || took > 9*time.Second {
				s.t.Errorf("relay %d took %v to end, with a drain of 5 s", i, took)
			}
			fresh := s.startRelay(nodes, i)
			for fresh.ready() != nil {
				time.Sleep(50 * time.Millisecond)
			}
			s.t.Logf("relay %d ended after %v and was back %v after that", i, took, time.Since(began)-took)
		}
	})
}

// Three of five are drained by an operator's order, and end by themselves.
func TestStoryScaleIn(t *testing.T) {
	t.Parallel()
	drainStory(t, func(s *story, _ context.Context) {
		for i := range 3 {
			a, err := s.relays[i].order(true)
			if err != nil || a.Seconds != 5 || a.Others != 4-i {
				s.t.Errorf("relay %d: %+v, %v", i, a, err)
			}
			<-s.relays[i].ended
		}
	})
}
