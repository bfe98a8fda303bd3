package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// poolName answers what a resolver would for the pool's name, and keeps an
// answer as long as browsers do.
type poolName struct {
	lookup func() []string // base URLs; none: no name server answers

	bases []string
	until time.Time
}

const browserDNSTTL = time.Minute

// resolve returns the last answer where there is no new one: a browser would
// say that the name is not found, and its viewer would come again.
func (p *poolName) resolve() []string {
	if len(p.bases) > 0 && time.Now().Before(p.until) {
		return p.bases
	}
	if found := p.lookup(); len(found) > 0 {
		p.bases, p.until = found, time.Now().Add(browserDNSTTL)
	}
	return p.bases
}

// stayer is a viewer that stays with one relay until that says 503 to its
// lists. A plain one then asks the pool's name: for the multivariant playlist
// anew, or with the one that it has had from the start. One that steers goes, as
// hls.js does, to the next pathway of that playlist, and where steering sends
// it before that.
type stayer struct {
	name   int
	client *http.Client
	pool   poolName
	steers bool
	anew   bool // asks for the multivariant playlist again when it knows no way on

	relay    string    // base URL of the one that it stays with
	declared []pathWay // of the playlist that it has
	priority []string
	penalty  map[string]time.Time // until when a pathway that failed is not taken
	manifest string               // where it is steered from; "": nowhere
	ask      time.Time            // when it asks there again

	began    time.Time // the first part was in hand
	requests int
	switches int // a list said 503
	moves    int // by steering
	reopened int // no way was left
	parts    int
	played   time.Duration
	newest   time.Time     // when the last part was in hand
	gap      time.Duration // the longest between two parts
	latest   time.Duration // the most between a part's end and having it
	behind   time.Duration // how far it plays behind the source
	stalls   int
	last     uint64 // open segment of the newest list
	backs    int    // lists that ended before an older one
	failed   []string
}

// pathWay is a pathway as a player knows it.
type pathWay struct{ id, base string }

// penaltyTime is how long hls.js does not take a pathway that failed.
const penaltyTime = 5 * time.Minute

// startCrowd lets viewers come to a story. The pool's name is answered as one
// node would.
func (s *story) startCrowd(n int) *stayers {
	return startStayers(s.t, n, 0, func(i int) *stayer {
		random := rand.New(rand.NewPCG(2012, uint64(i)))
		lookup := func() (bases []string) {
			if s.noDNS.Load() {
				return nil
			}
			for _, m := range cluster.Pick(random, cluster.Serving(s.origin.cluster.Members())) {
				bases = append(bases, "http://"+m.State.Media)
			}
			return bases
		}
		return &stayer{pool: poolName{lookup: lookup}, client: &http.Client{Transport: &http.Transport{
			DialContext: s.net.Host(fmt.Sprintf("10.0.1.%d", i)).DialContext, MaxIdleConnsPerHost: 2,
		}}}
	})
}

// stayers are a crowd that watches.
type stayers struct {
	t    *testing.T
	all  []*stayer
	stop context.CancelFunc
	wait sync.WaitGroup
}

// startStayers lets a crowd come within a time.
func startStayers(t *testing.T, n int, within time.Duration, viewer func(i int) *stayer) *stayers {
	c := &stayers{t: t}
	watching, stop := context.WithCancel(t.Context())
	c.stop = stop
	for i := range n {
		v := viewer(i)
		v.name, v.anew, v.steers = i, i%2 == 0, i%4 >= 2 // of each kind a quarter
		c.all = append(c.all, v)
		c.wait.Go(func() {
			sleepUntil(watching, time.Duration(i)*within/time.Duration(n))
			v.watch(watching)
		})
	}
	return c
}

// end returns what the crowd saw, when it has gone.
func (c *stayers) end() stayer {
	c.t.Helper()
	ended := time.Now()
	c.stop()
	c.wait.Wait()
	return checkStayers(c.t, c.all, ended)
}

func (v *stayer) fail(format string, values ...any) {
	v.failed = append(v.failed, fmt.Sprintf("%v: ", time.Now().Format("05.000"))+fmt.Sprintf(format, values...))
}

// get returns 0 where nobody answers.
func (v *stayer) get(ctx context.Context, url string) (status int, body []byte, from string) {
	v.requests++
	w := storyWatcher{client: v.client}
	body, err := w.get(ctx, url)
	if wrong := (*wrongAnswer)(nil); errors.As(err, &wrong) {
		return wrong.status, nil, w.sentTo
	} else if err != nil {
		return 0, []byte(err.Error()), w.sentTo
	}
	return http.StatusOK, body, w.sentTo
}

// choose asks the pool's name for a path until somebody answers with it, and
// stays with that one. Of an answer's addresses the next is tried when one
// refuses, as browsers do.
func (v *stayer) choose(ctx context.Context, path string) []byte {
	for ctx.Err() == nil {
		for _, base := range v.pool.resolve() {
			status, body, from := v.get(ctx, base+path)
			if status == http.StatusOK {
				v.relay = "http://" + from
				return body
			}
		}
		v.pool.until = time.Time{} // nobody there: a browser looks up again
		sleepUntil(ctx, 200*time.Millisecond)
	}
	return nil
}

// open begins with the multivariant playlist of some relay.
func (v *stayer) open(ctx context.Context) {
	text := v.choose(ctx, "/theatre/index.m3u8")
	if !v.steers || ctx.Err() != nil {
		return
	}
	m := readMultivariant(string(text))
	v.declared, v.priority, v.penalty = nil, m.pathways(), map[string]time.Time{}
	for _, line := range m.variants {
		base, _, _ := strings.Cut(line.uri, "/theatre/")
		v.declared = append(v.declared, pathWay{line.attributes["PATHWAY-ID"], base})
	}
	if v.manifest = ""; m.steering != nil {
		v.manifest, v.ask = v.against(v.relay, m.steering["SERVER-URI"]), time.Now()
	}
	if base := v.base(m.steering["PATHWAY-ID"]); base != "" {
		v.relay = base
	} else {
		v.fail("%s: no pathway in\n%s", v.relay, text)
	}
}

// against resolves a reference.
func (v *stayer) against(base, reference string) string {
	u, err := url.Parse(base)
	if err == nil {
		u, err = u.Parse(reference)
	}
	if err != nil {
		v.fail("%s: %v", reference, err)
		return ""
	}
	return u.String()
}

func (v *stayer) base(id string) string {
	for _, p := range v.declared {
		if p.id == id {
			return p.base
		}
	}
	return ""
}

// on is the pathway that it plays from.
func (v *stayer) on() string {
	for _, p := range v.declared {
		if p.base == v.relay {
			return p.id
		}
	}
	return ""
}

// steer asks for the manifest when it is time. What is no answer changes
// nothing: the next try is one TTL later.
func (v *stayer) steer(ctx context.Context) {
	if v.manifest == "" || time.Now().Before(v.ask) {
		return
	}
	v.ask = time.Now().Add(10 * time.Second)
	separator := "?"
	if strings.Contains(v.manifest, "?") {
		separator = "&"
	}
	status, body, _ := v.get(ctx, v.manifest+separator+"_HLS_pathway="+v.on()+"&_HLS_throughput=5000000")
	var m steeringManifest
	if status != http.StatusOK || json.Unmarshal(body, &m) != nil {
		return
	}
	v.ask = time.Now().Add(time.Duration(m.TTL) * time.Second)
	if m.Reload != "" {
		v.manifest = v.against(v.manifest, m.Reload)
	}
	before := v.relay
	if v.priority = m.Priority; v.take() && v.relay != before {
		v.moves++
	}
}

// take goes to the first pathway that it knows and that is not penalised; false
// when there is none.
func (v *stayer) take() bool {
	for _, id := range v.priority {
		if base := v.base(id); base != "" && !time.Now().Before(v.penalty[id]) {
			v.relay = base
			return true
		}
	}
	for _, p := range v.declared {
		if !time.Now().Before(v.penalty[p.id]) {
			v.relay = p.base
			return true
		}
	}
	return false
}

// list asks for a version of the list: there where it stays, and elsewhere when
// that says that it leaves.
func (v *stayer) list(ctx context.Context, query string) *relay.Playlist {
	const path = "/theatre/main/live.m3u8"
	v.steer(ctx)
	status, body, _ := v.get(ctx, v.relay+path+query)
	for try := 0; status != http.StatusOK && ctx.Err() == nil; try++ {
		if status != http.StatusServiceUnavailable && (!v.steers || try == 0) {
			v.fail("%s: the list: %d", v.relay, status)
		}
		if v.steers && try%2 == 0 { // as our page lets hls.js do it
			sleepUntil(ctx, 200*time.Millisecond)
			status, body, _ = v.get(ctx, v.relay+path)
			continue
		}
		v.switches++
		switch {
		case v.steers:
			v.leave(ctx)
			status, body, _ = v.get(ctx, v.relay+path)
		case v.anew:
			v.choose(ctx, "/theatre/index.m3u8")
			status, body, _ = v.get(ctx, v.relay+path)
		default:
			body, status = v.choose(ctx, path), http.StatusOK
		}
	}
	p, err := relay.ParsePlaylist(body)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		v.fail("%s: the list of another: %v", v.relay, err)
	case p.OpenSequence() < v.last:
		v.backs++
	default:
		v.last = p.OpenSequence()
	}
	return p
}

// leave goes to another pathway. Without one a player gives up, and its page
// begins anew: with the playlist of another relay, or with the same.
func (v *stayer) leave(ctx context.Context) {
	v.penalty[v.on()] = time.Now().Add(penaltyTime)
	if v.take() {
		return
	}
	v.reopened++
	if v.penalty = map[string]time.Time{}; v.anew {
		v.open(ctx)
		return
	}
	v.take()
}

// media fetches an object from where it stays.
func (v *stayer) media(ctx context.Context, name relay.MediaName) {
	status, why, _ := v.get(ctx, v.relay+"/theatre/main/"+name.String())
	if status != http.StatusOK && ctx.Err() == nil {
		v.fail("%s: %v: %d %s", v.relay, name, status, why)
	}
}

// watch plays each part at the live edge until ctx ends.
func (v *stayer) watch(ctx context.Context) {
	defer v.client.CloseIdleConnections()
	v.open(ctx)
	p := v.list(ctx, "")
	if p == nil {
		return
	}
	v.behind = p.PartHoldBack
	v.media(ctx, p.Open.Map)
	msn, part := p.OpenSequence(), len(p.Open.Parts)
	for ctx.Err() == nil {
		next := v.list(ctx, fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, part))
		for next != nil && ctx.Err() == nil {
			if msn < next.OpenSequence() && part >= len(next.Segments[msn-next.MediaSequence].Parts) {
				msn, part = msn+1, 0 // it was closed without the part: its origin died
				continue
			}
			one, ended, ok := partOf(next, msn, part)
			if !ok {
				break
			}
			if !one.Gap {
				if v.media(ctx, one.Name); ctx.Err() == nil {
					v.play(one, ended)
				}
			}
			if part++; msn < next.OpenSequence() && part == len(next.Segments[msn-next.MediaSequence].Parts) {
				msn, part = msn+1, 0
			}
		}
	}
}

// play puts a part into the buffer. A picture that stood still for want of it
// goes on that much later.
func (v *stayer) play(part relay.Part, ended time.Time) {
	now := time.Now()
	if v.parts++; v.parts == 1 {
		v.began = now
	} else {
		v.gap = max(v.gap, now.Sub(v.newest))
	}
	v.newest, v.played = now, v.played+part.Duration
	late := now.Sub(ended)
	v.latest = max(v.latest, late)
	if late > v.behind {
		v.stalls++
		v.behind = late
	}
}

// partOf returns a part of a list, and when it ended.
func partOf(p *relay.Playlist, msn uint64, part int) (one relay.Part, ended time.Time, ok bool) {
	segment := p.Open
	if msn < p.OpenSequence() {
		segment = p.Segments[msn-p.MediaSequence]
	}
	if msn > p.OpenSequence() || part >= len(segment.Parts) {
		return one, ended, false
	}
	ended = segment.ProgramDateTime
	for _, one := range segment.Parts[:part+1] {
		ended = ended.Add(one.Duration)
	}
	return segment.Parts[part], ended, true
}

// sleepUntil waits, or until ctx ends.
func sleepUntil(ctx context.Context, d time.Duration) { _ = pause(ctx, d) }

// checkStayers holds a crowd's evening to what was promised: no request failed
// and no part is missing. It returns what they saw.
func checkStayers(t *testing.T, all []*stayer, ended time.Time) (sum stayer) {
	t.Helper()
	for _, v := range all {
		for _, text := range v.failed {
			t.Errorf("viewer %d at %s", v.name, text)
		}
		if watched := ended.Sub(v.began); v.parts == 0 || v.played < watched-time.Second {
			t.Errorf("viewer %d got %v of media in %v", v.name, v.played, watched)
		}
		sum.requests += v.requests
		sum.switches += v.switches
		sum.moves += v.moves
		sum.reopened += v.reopened
		sum.parts += v.parts
		sum.stalls += v.stalls
		sum.backs += v.backs
		sum.failed = append(sum.failed, v.failed...)
		sum.gap, sum.latest = max(sum.gap, v.gap), max(sum.latest, v.latest)
	}
	t.Logf("%d viewers: %d requests, %d failed, %d parts; told to go %d times, sent on by steering %d times, began anew %d times; "+
		"%d stalls, at most %v between two parts, at most %v from a part's end to having it",
		len(all), sum.requests, len(sum.failed), sum.parts, sum.switches, sum.moves, sum.reopened,
		sum.stalls, sum.gap.Round(time.Millisecond), sum.latest.Round(time.Millisecond))
	return sum
}
