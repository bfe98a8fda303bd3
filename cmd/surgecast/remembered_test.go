package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

// An origin whose gossip shows it no relay knows those that were there: the ones
// that it has lost and reaches, and after a restart those of its peers file, once
// they answer.
func TestStoryOfAnOriginWithoutGossip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.bare = true
		nodes, stop := context.WithCancel(t.Context())
		first, stopFirst := context.WithCancel(nodes)
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(first)
		for i := range 3 {
			s.startRelay(nodes, i)
		}
		<-s.origin.restored
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(10 * time.Second)
		n := &newcomers{s, s.newcomer()}
		n.expectSent("by gossip", storyRelay(0), storyRelay(1), storyRelay(2))

		dir := s.killOrigin(stopFirst, stopFeed)
		s.net.Shut(7946)
		s.kill(2)
		time.Sleep(time.Second)
		s.tune = func(c *OriginConfig) { c.Dir = dir }
		s.startOrigin(nodes)
		<-s.origin.restored
		again, stopAgain := context.WithCancel(t.Context())
		s.publish(again, &origintest.Source{FPS: 25, GOP: 25})
		n.afterRestart()
		n.afterHealing()
		n.lostByGossip()
		stopAgain()
		stop()
		s.end()
	})
}

// newcomers begin sessions at the origin of a story.
type newcomers struct {
	*story
	client *http.Client
}

// newcomer is a viewer who follows no redirect, and makes a connection for each
// request.
func (s *story) newcomer() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialContext: s.net.Host(storyViewer(0)).DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// sent are the hosts that forty of them are sent to by an address of the origin; ""
// is itself.
func (n *newcomers) sent(origin string) (hosts []string) {
	n.t.Helper()
	for range 40 {
		response, err := n.client.Get("http://" + net.JoinHostPort(origin, "8080") + "/theatre/index.m3u8")
		if err != nil {
			n.t.Fatal(err)
		}
		response.Body.Close()
		host := ""
		if response.StatusCode == http.StatusTemporaryRedirect {
			to, err := response.Location()
			if err != nil {
				n.t.Fatal(err)
			}
			host = to.Hostname()
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return hosts
}

func (n *newcomers) expectSent(when string, want ...string) {
	n.t.Helper()
	if got := n.sent(storyOrigin()); !slices.Equal(got, want) {
		n.t.Errorf("%s sessions are sent to %q, want %q", when, got, want)
	}
}

// within waits until something is so.
func (n *newcomers) within(most time.Duration, what string, so func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(most); !so(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			n.t.Fatalf("not so after %v: %s; sessions are sent to %q", most, what, n.sent(storyOrigin()))
		}
	}
}

// afterRestart: from its disk, while the gossip's port is blocked everywhere and
// one of three is gone.
func (n *newcomers) afterRestart() {
	time.Sleep(2 * time.Second)
	if members := n.origin.cluster.Members(); len(members) != 1 {
		n.t.Fatalf("the gossip has %d members: this proves nothing", len(members))
	}
	n.expectSent("restarted", storyRelay(0), storyRelay(1))
	n.net.Cut(storyOrigin(), storyRelay(0))
	time.Sleep(2 * time.Second)
	n.expectSent("with one that does not answer", storyRelay(1))
	n.net.Cut(storyOrigin(), storyRelay(1))
	time.Sleep(2 * time.Second)
	n.expectSent("with none that does", "")
}

// afterHealing: they had taken themselves out, and come back when they are seen to
// serve.
func (n *newcomers) afterHealing() {
	n.net.Heal(storyOrigin(), storyRelay(0))
	n.net.Heal(storyOrigin(), storyRelay(1))
	n.net.Open(7946)
	n.within(time.Minute, "the pool has come together", func() bool {
		return len(cluster.Serving(n.origin.cluster.Members())) >= 2
	})
	n.within(time.Minute, "the two get sessions", func() bool {
		return slices.Equal(n.sent(storyOrigin()), []string{storyRelay(0), storyRelay(1)})
	})
}

// lostByGossip: while it runs, and by gossip alone.
func (n *newcomers) lostByGossip() {
	n.net.Shut(7946)
	n.within(5*time.Minute, "the gossip has lost all", func() bool { return len(n.origin.cluster.Members()) <= 1 })
	n.expectSent("lost by gossip", storyRelay(0), storyRelay(1))
	time.Sleep(time.Minute)
	n.expectSent("a minute later", storyRelay(0), storyRelay(1))
}

// A stranger who has got a relay's address meanwhile is not given the pool's
// credential, and nobody is sent to him.
func TestRememberedAddressOfAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.bare = true
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		host := s.net.Host(storyRelay(0))
		listener, err := host.Listen(storyRelay(0) + ":8080")
		if err != nil {
			t.Fatal(err)
		}
		var asked []string
		stranger := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization")[:5])
			_, _ = w.Write([]byte(`{"name":"x","role":"relay","state":"serving","address":"` + storyRelay(0) + `:8080"}`))
		})}
		s.running.Go(func() { _ = stranger.Serve(listener) })
		time.Sleep(time.Second)
		if _, err := s.origin.remembered.askPeer(t.Context(), netip.MustParseAddrPort(storyRelay(0)+":7946")); err == nil {
			t.Error("a stranger is taken for a relay")
		}
		if !slices.Equal(asked, []string{"/pool/hello Hello"}) {
			t.Errorf("he was asked %v", asked)
		}
		stranger.Close()
		stop()
		s.end()
	})
}
