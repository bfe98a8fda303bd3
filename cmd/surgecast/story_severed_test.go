package main

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

// Relays are watched while all gossip is cut and no name server answers any
// more: for a minute nobody notices. No relay changes its parent or takes itself
// out, and viewers are steered to relays that they know.
func TestStoryWithoutGossipAndDNS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range sized(3, 5) {
			s.startRelay(nodes, i)
		}
		time.Sleep(3 * time.Second)
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
		time.Sleep(4 * time.Second)
		parents, switches := s.parents(), s.switches()
		s.sever(sized(4, 40))
		if now := s.parents(); !slices.Equal(now, parents) || s.switches() != switches {
			t.Errorf("parents are %v, were %v; %d changes", now, parents, s.switches()-switches)
		}
		stopFeed()
		time.Sleep(time.Second)
		stopNodes()
		s.end()
	})
}

// The same below a tree, which gossip proposes.
func TestStoryOfATreeWithoutGossipAndDNS(t *testing.T) {
	t.Parallel()
	if !proving() {
		t.Skip("takes minutes: make prove runs it")
	}
	synctest.Test(t, func(t *testing.T) {
		s := newTreeStory(t)
		switches := s.switches()
		s.sever(12)
		// While members vanish one by one some relays may be proposed another
		// parent; which must never be a rush.
		if n := s.switches() - switches; n > treeRelays/2 {
			t.Errorf("%d changes of parent", n)
		} else {
			t.Logf("%d changes of parent", n)
		}
		s.check()
		s.finish()
	})
}

// sever cuts the gossip and ends the name servers under a crowd.
func (s *story) sever(viewers int) {
	t := s.t
	crowd := s.startCrowd(viewers)
	time.Sleep(10 * time.Second)
	s.net.Shut(7946)
	s.noDNS.Store(true)
	time.Sleep(time.Minute)
	// Gossip finds one member after the other dead, the slower the more it misses.
	for began := time.Now(); !s.isolated(); time.Sleep(time.Second) {
		if time.Since(began) > 5*time.Minute {
			t.Fatal("gossip goes on: this story proves nothing")
		}
	}
	time.Sleep(5 * time.Second)
	for i, r := range s.relays {
		if got := r.status(); got != cluster.StatusServing {
			t.Errorf("relay %d is %s", i, got)
		}
	}
	for _, v := range crowd.all {
		if v.steers && v.base(v.priority[0]) == "" {
			t.Errorf("viewer %d is steered to %v, which it does not know", v.name, v.priority)
		}
	}
	if sum := crowd.end(); sum.stalls > 0 || sum.switches > 0 {
		t.Errorf("%d stalls, %d lists refused", sum.stalls, sum.switches)
	}
}

// isolated tells whether each relay sees itself alone.
func (s *story) isolated() bool {
	return !slices.ContainsFunc(s.relays, func(r *storyRelayNode) bool { return !r.cluster.Isolated() })
}

// parents are the media addresses of those who feed the relays.
func (s *story) parents() (all []string) {
	for _, r := range s.relays {
		all = append(all, r.parent())
	}
	return all
}

// switches are those of all relays from one parent to another.
func (s *story) switches() (n int64) {
	for _, r := range s.relays {
		n += r.follower.Switches()
	}
	return n
}
