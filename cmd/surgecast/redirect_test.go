package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

func member(role cluster.Role, status cluster.Status, media string, load int, capacity int64) cluster.Member {
	return cluster.Member{Name: media, State: cluster.State{Role: role, Status: status, Media: media, Load: load, Capacity: capacity}}
}

func TestRedirectNamesOnlyServingRelays(t *testing.T) {
	members := []cluster.Member{
		member(cluster.RoleOrigin, cluster.StatusServing, "127.0.0.1:8080", 0, 0),
		member(cluster.RoleRelay, cluster.StatusWarming, "127.0.0.2:8080", 0, 0),
		member(cluster.RoleRelay, cluster.StatusDraining, "127.0.0.3:8080", 0, 0),
	}
	d := &director{members: func() []cluster.Member { return members }}
	if got := d.Redirect(); got != "" {
		t.Errorf("sent on to %s", got)
	}
	members = append(members, member(cluster.RoleRelay, cluster.StatusFull, "127.0.0.5:8080", 90, 0))
	if got := d.Redirect(); got != "http://127.0.0.5:8080" {
		t.Errorf("a full pool is taken for an empty one: sent on to %q", got)
	}
	members = append(members, member(cluster.RoleRelay, cluster.StatusServing, "127.0.0.4:8080", 100, 0))
	for range 100 {
		if got := d.Redirect(); got != "http://127.0.0.4:8080" {
			t.Fatalf("sent on to %q", got)
		}
	}
}

// TestRedirectSharesByHeadroom draws often and looks at the shares: 100 Mbit/s
// half full has half the headroom of 100 Mbit/s, and 1 Gbit/s ten times that.
func TestRedirectSharesByHeadroom(t *testing.T) {
	members := []cluster.Member{
		member(cluster.RoleRelay, cluster.StatusServing, "a", 50, 100e6),
		member(cluster.RoleRelay, cluster.StatusServing, "b", 0, 100e6),
		member(cluster.RoleRelay, cluster.StatusServing, "c", 0, 1000e6),
	}
	d := &director{members: func() []cluster.Member { return members }}
	const draws = 23000
	got := map[string]float64{}
	for range draws {
		got[d.Redirect()]++
	}
	for name, share := range map[string]float64{"http://a": 1. / 23, "http://b": 2. / 23, "http://c": 20. / 23} {
		if ratio := got[name] / draws / share; ratio < 0.8 || ratio > 1.2 {
			t.Errorf("%s got %.0f of %d", name, got[name], draws)
		}
	}
}

// TestNeverServe is an origin without relays that serves no viewer: a session
// does not begin there, nodes get what they ask for, and plain requests are
// answered as on any other origin, not by net/http.
func TestNeverServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.bare = true
		s.tune = func(c *OriginConfig) { c.ServeViewers = ServeNever }
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(5 * time.Second)

		viewer := s.net.Host(storyViewer(0))
		ask := func(path string, node bool) *http.Response {
			t.Helper()
			request, err := http.NewRequest(http.MethodGet, storyBase(storyOrigin())+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if node {
				s.origin.credential.Authorize(request)
			}
			client := &http.Client{Transport: &http.Transport{DialContext: viewer.DialContext, DisableKeepAlives: true}}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			return response
		}
		for path, want := range map[string]int{
			"/theatre/index.m3u8": 503, "/theatre/index.m3u8?_sc_sent=1": 503, "/theatre/dvr.m3u8": 503, "/theatre/main/live.m3u8": 200,
		} {
			a := ask(path, false)
			if a.StatusCode != want || want == 503 && (a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store") {
				t.Errorf("a viewer gets %d %v for %s, want %d", a.StatusCode, a.Header, path, want)
			}
		}
		if a := ask("/theatre/index.m3u8", true); a.StatusCode != http.StatusOK {
			t.Errorf("another node gets %d", a.StatusCode)
		}

		// A lane refuses what net/http takes: a line that ends in a bare LF.
		conn, err := viewer.DialContext(t.Context(), "tcp", storyOrigin()+":8080")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /theatre/main/live.m3u8 HTTP/1.1\nHost: a\n\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "HTTP/1.1 400 Bad Request\r\n" {
			t.Errorf("an ambiguous request gets %q, %v: it was not a lane that answered", line, err)
		}
		conn.Close()
		stopFeed()
		stop()
		s.end()
	})
}
