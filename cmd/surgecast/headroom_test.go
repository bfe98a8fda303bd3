package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
)

// headroomCrowd is many viewers of a story. Each begins with a real request for the
// multivariant playlist, and goes where that leads; the media that it then takes
// are not sent, but counted into its relay's load, second by second, as if they
// were.
type headroomCrowd struct {
	s       *story
	rate    int64 // of a session, bits/s
	client  *http.Client
	random  *rand.Rand
	viewers []int // by relay
	refused int
	again   time.Duration // how long the one who was refused last is to wait
	next    time.Time     // when the second that runs is over
}

var averageBandwidth = regexp.MustCompile(`AVERAGE-BANDWIDTH=(\d+)`)

func newHeadroomCrowd(s *story, seed uint64) *headroomCrowd {
	found := averageBandwidth.FindSubmatch(s.origin.store.Stream("theatre").Index())
	if found == nil {
		s.t.Fatal("the stream has no rate")
	}
	rate, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return &headroomCrowd{s: s, rate: rate, random: rand.New(rand.NewPCG(2012, seed)), client: &http.Client{
		Transport:     &http.Transport{DialContext: s.net.Host(storyViewer(0)).DialContext, MaxIdleConnsPerHost: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// second lets one pass.
func (c *headroomCrowd) second() {
	for i, n := range c.viewers {
		if !c.s.relays[i].killed.Load() {
			c.s.relays[i].load.Add(int64(n)*c.rate/8, time.Duration(n)*time.Second)
		}
	}
	// Not a second after what was asked meanwhile: the clock's seconds are counted.
	if c.next.IsZero() {
		c.next = time.Now().Truncate(time.Second).Add(time.Second / 2)
	}
	for !c.next.After(time.Now()) {
		c.next = c.next.Add(time.Second)
	}
	time.Sleep(time.Until(c.next))
}

// come lets one viewer come to a node, who follows where it is sent. It tells
// whether it was let in.
func (c *headroomCrowd) come(base, query string) bool {
	c.s.t.Helper()
	url := base + "/theatre/index.m3u8" + query
	for range 3 {
		response, err := c.client.Get(url)
		if err != nil {
			c.s.t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			c.s.t.Fatal(err)
		}
		switch response.StatusCode {
		case http.StatusOK:
			c.sit(url, readMultivariant(string(body)))
			return true
		case http.StatusTemporaryRedirect:
			url = response.Header.Get("Location")
		case http.StatusServiceUnavailable:
			c.refused++
			seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
			c.again = time.Duration(seconds) * time.Second
			return false
		default:
			c.s.t.Fatalf("%s: %s", url, response.Status)
		}
	}
	c.s.t.Fatalf("a viewer is sent on and on, at last to %s", url)
	return false
}

// sit lets a viewer sit down at the first pathway that answers, or, where the
// playlist has none, where that came from.
func (c *headroomCrowd) sit(url string, m *multivariant) {
	uris := []string{url}
	if m.steering != nil {
		uris = nil
		for _, v := range m.variants {
			uris = append(uris, v.uri)
		}
	}
	for _, uri := range uris {
		for i, base := range storyRelays(len(c.viewers)) {
			if strings.HasPrefix(uri, base+"/") && !c.s.relays[i].killed.Load() {
				c.viewers[i]++
				return
			}
		}
	}
	c.s.t.Fatalf("a viewer was let in at %s, and nobody answers at %v", url, uris)
}

func (c *headroomCrowd) total() (n int) {
	for _, one := range c.viewers {
		n += one
	}
	return n
}

// fullest is the relay with the most viewers.
func (c *headroomCrowd) fullest() (fullest int) {
	for i, n := range c.viewers {
		if n > c.viewers[fullest] {
			fullest = i
		}
	}
	return fullest
}

// storyPool starts an origin with a stream of half a Mbit/s and as many relays, each
// with room for a hundred sessions.
func storyPool(s *story, nodes, feed context.Context, relays int, seed uint64) *headroomCrowd {
	s.startOrigin(nodes)
	s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, PictureBytes: 2500})
	time.Sleep(4 * time.Second)
	c := newHeadroomCrowd(s, seed)
	s.every = func(config *NodeConfig) { config.Capacity = BitRate(100 * c.rate) }
	for i := range relays {
		s.startRelay(nodes, i)
	}
	c.viewers = make([]int, relays)
	time.Sleep(12 * time.Second)
	for i, r := range s.relays {
		if err := r.ready(); err != nil {
			s.t.Fatalf("relay %d: %v", i, err)
		}
	}
	return c
}

// A crowd that comes by and by shows in the forecast, the alarm and the hook.
func TestForecastOfAPool(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		nodes, stop := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		c := storyPool(s, nodes, feed, 2, 28)
		// One each second into 2 × 47.5: after 60 s about 35 s are left.
		for range 60 {
			c.come(storyBase(storyOrigin()), "")
			c.second()
		}
		_, pool := s.origin.headroom.outlooks()
		if !pool.Soon || pool.FullIn < 15 || pool.FullIn > 55 {
			t.Errorf("the pool will be full in %v s, alarm %v", pool.FullIn, pool.Soon)
		}
		own, _ := s.relays[0].headroom.outlooks()
		status := s.relays[0].ownStatus()
		if status.FullInSeconds == nil || *status.FullInSeconds != own.FullIn || status.CapacityBitsPerSecond != float64(100*c.rate) {
			t.Errorf("its status: %+v", status)
		}
		// 30 of 85, rising by a half each second.
		if want := (85. - float64(c.viewers[0])) / 0.5; own.FullIn < want*0.7 || own.FullIn > want*1.4 {
			t.Errorf("a relay with %d viewers will be full in %v s, want about %v", c.viewers[0], own.FullIn, want)
		}
		c.client.CloseIdleConnections()
		stopFeed()
		stop()
		s.end()
	})
}
