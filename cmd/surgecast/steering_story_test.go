package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

// steeringBound is how old what steering says may be: the tick in which a load
// is told, a gossip period to each half of a small pool, and the age of orders.
const (
	gossipPeriod  = 200 * time.Millisecond
	steeringBound = loadTick + 2*gossipPeriod + time.Second
)

// A pool of three relays, as its viewers are told of it: one becomes too full,
// one drains, one is killed.
func TestStoryOfSteering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.every = func(c *NodeConfig) { c.Capacity = 1e8 }
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range 3 {
			s.startRelay(nodes, i)
		}
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(10 * time.Second)
		v := newSteeredViewer(s)

		m := v.multivariant(0)
		if len(m.problems) > 0 || len(m.pathways()) != 3 || m.pathways()[0] != "e-0a00000b" || m.steering["PATHWAY-ID"] != "e-0a00000b" {
			t.Errorf("relay 0 lists %v, steering %v, %v", m.pathways(), m.steering, m.problems)
		}
		if got := v.manifest(0, m.steering["SERVER-URI"], "e-0a00000b"); len(got.Priority) != 3 || got.Priority[0] != "e-0a00000b" {
			t.Errorf("a viewer of relay 0 is told %v", got.Priority)
		}

		// Too full: new sessions begin elsewhere, and some of those who watch go.
		full := s.relays[0]
		crowd, disperse := context.WithCancel(t.Context())
		s.running.Go(func() {
			for crowd.Err() == nil {
				full.load.Add(12_500_000, 0) // all of its link
				time.Sleep(time.Second)
			}
		})
		began := time.Now()
		for full.ownLoad() < 50 {
			time.Sleep(time.Millisecond)
		}
		t.Logf("the load is told %v after the crowd came", time.Since(began))
		began = time.Now()
		v.until(func() bool { return v.multivariant(0).pathways()[0] != "e-0a00000b" })
		t.Logf("new sessions begin elsewhere after %v", time.Since(began))
		v.until(func() bool {
			return v.manifest(1, m.steering["SERVER-URI"], "e-0a00000b").Priority[0] != "e-0a00000b"
		})
		if took := time.Since(began); took > steeringBound {
			t.Errorf("reordered after %v, want at most %v", took, steeringBound)
		}
		t.Logf("those who watch are sent on after %v, by another relay", time.Since(began))
		disperse()

		// Draining: named to nobody.
		began = time.Now()
		s.relays[1].setStatus(cluster.StatusDraining)
		v.until(func() bool {
			return !slices.Contains(v.manifest(0, m.steering["SERVER-URI"], "e-0a00000c").Priority, "e-0a00000c")
		})
		took := time.Since(began)
		t.Logf("a draining relay is named no more after %v", took)
		if took > 2*gossipPeriod {
			t.Errorf("a draining relay is named for %v, want a gossip period", took)
		}

		// Killed: as soon as the pool knows.
		s.kill(2)
		for len(s.relays[0].cluster.Members()) > 3 {
			time.Sleep(time.Millisecond)
		}
		if got := v.manifest(0, m.steering["SERVER-URI"], "e-0a00000d").Priority; slices.Contains(got, "e-0a00000d") {
			t.Errorf("a dead relay is named: %v", got)
		}

		v.client.CloseIdleConnections()
		stopFeed()
		stop()
		s.end()
	})
}

// A relay that hangs is not gone: its gossip lives, and only the probers of the
// pool find it out. Nobody is told of it any more from then on.
func TestSteeringFollowsVerdicts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hangs = "e-0a00000d"
		s := newStory(t)
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		var hanging *pen
		for i := range 3 {
			s.startRelayWith(nodes, i, func(r *relayNode) {
				hanging = newPen(r.public) // the last one's
				r.public = hanging
			})
		}
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(20 * time.Second)
		v := newSteeredViewer(s)
		m := v.multivariant(0)
		if !slices.Contains(m.pathways(), hangs) {
			t.Fatalf("at first relay 0 lists %v", m.pathways())
		}

		hanging.hang()
		began := time.Now()
		teller := s.relays[0].cluster
		for teller.Verdicts().Healthy(s.relays[2].cluster.Name()) {
			v.multivariant(0) // as in a crowd
			time.Sleep(10 * time.Millisecond)
		}
		withdrawn, changed := time.Now(), teller.Changed()
		t.Logf("withdrawn after %v", withdrawn.Sub(began))
		if got := v.manifest(0, m.steering["SERVER-URI"], hangs).Priority; slices.Contains(got, hangs) {
			t.Errorf("a viewer of a withdrawn relay is told %v", got)
		}
		v.until(func() bool { return !slices.Contains(v.multivariant(0).pathways(), hangs) })
		if took := time.Since(withdrawn); took > time.Second+gossipPeriod {
			t.Errorf("new viewers are told of it for %v, want at most a second", took)
		}
		select {
		case <-changed:
			t.Error("the members changed too: this proves nothing")
		default:
		}
		v.client.CloseIdleConnections()
		stopFeed()
		stop()
		s.end()
	})
}

// steeredViewer asks relays of a story for what steers it.
type steeredViewer struct {
	s      *story
	client *http.Client
}

func newSteeredViewer(s *story) *steeredViewer {
	return &steeredViewer{s, &http.Client{Transport: &http.Transport{DialContext: s.net.Host(storyViewer(0)).DialContext}}}
}

func (v *steeredViewer) get(url string) []byte {
	v.s.t.Helper()
	response, err := v.client.Get(url)
	if err != nil {
		v.s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		v.s.t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return body
}

func (v *steeredViewer) multivariant(relay int) *multivariant {
	return readMultivariant(string(v.get(storyBase(storyRelay(relay)) + "/theatre/index.m3u8")))
}

// manifest asks a relay as a player does that is on a pathway.
func (v *steeredViewer) manifest(relay int, uri, on string) (m steeringManifest) {
	v.s.t.Helper()
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	text := v.get(storyBase(storyRelay(relay)) + uri + separator + "_HLS_pathway=" + on + "&_HLS_throughput=1000000")
	if err := json.Unmarshal(text, &m); err != nil {
		v.s.t.Fatal(err)
	}
	return m
}

func (v *steeredViewer) until(met func() bool) {
	v.s.t.Helper()
	for end := time.Now().Add(30 * time.Second); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			v.s.t.Fatal("not so after 30 s")
		}
	}
}

// ownLoad is what the node tells the pool of its load.
func (n *node) ownLoad() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.announced.Load
}
