package main

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
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

		viewer := &http.Client{
			Transport:     &http.Transport{DialContext: s.net.Host(storyViewer(0)).DialContext, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		// sentTo is where the origin sends a new session; "" keeps it.
		sentTo := func() string {
			t.Helper()
			response, err := viewer.Get(storyBase(storyOrigin()) + "/theatre/index.m3u8")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusTemporaryRedirect {
				return ""
			}
			to, err := url.Parse(response.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			return to.Hostname()
		}
		drawn := func() (got []string) {
			t.Helper()
			for range 40 {
				if to := sentTo(); !slices.Contains(got, to) {
					got = append(got, to)
				}
			}
			slices.Sort(got)
			return got
		}
		expect := func(when string, want ...string) {
			t.Helper()
			if got := drawn(); !slices.Equal(got, want) {
				t.Errorf("%s sessions are sent to %q, want %q", when, got, want)
			}
		}
		all := []string{storyRelay(0), storyRelay(1), storyRelay(2)}
		expect("by gossip", all...)

		// Restarted from its disk, while the gossip's port is blocked everywhere.
		dir := s.killOrigin(stopFirst, stopFeed)
		s.net.Shut(7946)
		s.kill(2)
		time.Sleep(time.Second)
		s.tune = func(c *OriginConfig) { c.Dir = dir }
		s.startOrigin(nodes)
		<-s.origin.restored
		again, stopAgain := context.WithCancel(t.Context())
		s.publish(again, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(2 * time.Second)
		if n := len(s.origin.cluster.Members()); n != 1 {
			t.Fatalf("the gossip has %d members: this proves nothing", n)
		}
		expect("restarted", all[:2]...)
		s.net.Cut(storyOrigin(), storyRelay(0))
		time.Sleep(2 * time.Second)
		expect("with one that does not answer", all[1])
		s.net.Cut(storyOrigin(), storyRelay(1))
		time.Sleep(2 * time.Second)
		expect("with none that does", "")

		s.net.Heal(storyOrigin(), storyRelay(0))
		s.net.Heal(storyOrigin(), storyRelay(1))
		s.net.Open(7946)
		for deadline := time.Now().Add(time.Minute); len(cluster.Serving(s.origin.cluster.Members())) < 2; time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				t.Fatal("the pool did not come together again")
			}
		}
		// They had taken themselves out, and come back when they are seen to serve.
		for deadline := time.Now().Add(time.Minute); !slices.Equal(drawn(), all[:2]); time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				t.Fatalf("by gossip again sessions are sent to %q, want %q", drawn(), all[:2])
			}
		}

		// Running, and lost by gossip alone.
		s.net.Shut(7946)
		for deadline := time.Now().Add(5 * time.Minute); len(s.origin.cluster.Members()) > 1; time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				t.Fatal("the gossip loses nobody")
			}
		}
		expect("lost by gossip", all[:2]...)
		time.Sleep(time.Minute)
		expect("a minute later", all[:2]...)

		stopAgain()
		stop()
		s.end()
	})
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
