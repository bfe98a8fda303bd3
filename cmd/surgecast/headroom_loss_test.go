package main

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
)

// fill lets so many viewers come each second, at the origin, until there are
// enough or a second has let in none of them; then the loads settle.
func (c *headroomCrowd) fill(each, enough int) {
	for full := false; !full && c.total() < enough; c.second() {
		before := c.total()
		for range min(each, enough-before) {
			c.come(storyBase(storyOrigin()), "")
		}
		full = c.total() == before
	}
	for range 20 {
		c.second()
	}
}

// The fullest relay of a pool is killed. Its viewers come to the others within a
// second, before these know, and no relay gets more than it carries. Of eight
// relays at 80 % none refuses anybody. Five are as full as they may be, which with
// the room that they keep is 76 %: then the other four are at 95 % on the average,
// and chance sends a few of the viewers to two that are at 100.
func TestTheFullestRelayIsKilled(t *testing.T) {
	t.Parallel()
	if !proving() {
		t.Skip("takes minutes under the race detector: make prove runs it")
	}
	for _, pool := range []struct{ relays, percent, seeds, refused int }{{8, 80, 5, 0}, {5, 76, 3, 8}} {
		for seed := range pool.seeds {
			synctest.Test(t, func(t *testing.T) { killTheFullest(t, pool.relays, pool.percent, pool.refused, uint64(seed)) })
		}
	}
}

func killTheFullest(t *testing.T, relays, percent, refused int, seed uint64) {
	name := fmt.Sprintf("%d relays, seed %d", relays, seed)
	s := newStory(t)
	nodes, stop := context.WithCancel(t.Context())
	feed, stopFeed := context.WithCancel(t.Context())
	c := storyPool(s, nodes, feed, relays, seed)
	c.fill(8, percent*relays)
	for range 3 { // who was refused comes again
		c.fill(2, percent*relays)
	}
	lost := c.fullest()
	t.Logf("%s: %v viewers are %.1f %%; the most full is lost", name, c.viewers, float64(c.total())/float64(relays))
	if c.total() < (percent-2)*relays {
		t.Fatalf("%s: %d viewers are in, want about %d", name, c.total(), percent*relays)
	}
	s.kill(lost)
	orphans := c.viewers[lost]
	c.viewers[lost], c.refused = 0, 0
	for range orphans { // they know the others' names and take any, and the next one if need be
		first := c.random.IntN(relays - 1)
		in := false
		for i := 0; i < relays-1 && !in; i++ {
			other := (lost + 1 + (first+i)%(relays-1)) % relays
			in = c.come(storyBase(storyRelay(other)), "?_sc_again=1")
		}
		if !in {
			t.Errorf("%s: a viewer found no place", name)
		}
	}
	if c.refused > refused {
		t.Errorf("%s: %d of %d viewers of the lost relay were refused", name, c.refused, orphans)
	}
	t.Logf("%s: then %v", name, c.viewers)
	for range 30 {
		c.second()
	}
	for i, n := range c.viewers {
		if n > 100 {
			t.Errorf("%s: relay %d has %d viewers of 100", name, i, n)
		}
	}
	c.client.CloseIdleConnections()
	stopFeed()
	stop()
	s.end()
}

// The same with viewers who can't say that they come again, in a pool that is as
// full as it may be: within seconds the others know that a relay is lost, and take
// them, as far as 95 % of each go.
func TestStrangersOfALostRelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const relays = 3
		s := newStory(t)
		nodes, stop := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		c := storyPool(s, nodes, feed, relays, 28)
		// More and more come until the pool keeps its room: 95 % × 2/3 of 300.
		many := sized(3, 2) // each second
		for range 260 / many {
			for range many {
				c.come(storyBase(storyOrigin()), "")
			}
			c.second()
		}
		if n := c.total(); n < 180 || n > 195 || c.refused == 0 {
			t.Fatalf("%d viewers are in, %d times one was refused; want about 190 in", n, c.refused)
		}
		for i, r := range s.relays {
			if r.status() != cluster.StatusFull {
				t.Errorf("relay %d is %s", i, r.status())
			}
		}
		t.Logf("viewers of each relay: %v", c.viewers)
		lost := c.fullest()
		s.kill(lost)
		// What fits under 95 % with lists, and what the pool itself asks.
		room := 2*94 - (c.total() - c.viewers[lost])
		waiting := make([]time.Time, c.viewers[lost]) // when each tries next
		c.viewers[lost] = 0
		waited, outside := 0, max(0, len(waiting)-room)
		for ; len(waiting) > outside && waited < 30; waited++ {
			var still []time.Time
			for _, next := range waiting {
				if time.Now().Before(next) {
					still = append(still, next)
					continue
				}
				other := (lost + 1 + c.random.IntN(relays-1)) % relays
				if !c.come(storyBase(storyRelay(other)), "") {
					still = append(still, time.Now().Add(c.again))
				}
			}
			waiting = still
			c.second()
		}
		t.Logf("after %d s %d are outside: %v", waited, len(waiting), c.viewers)
		if len(waiting) > outside || outside > 7 || waited > 15 {
			t.Errorf("after %d s %d are outside, there was no room for %d", waited, len(waiting), outside)
		}
		c.client.CloseIdleConnections()
		stopFeed()
		stop()
		s.end()
	})
}
