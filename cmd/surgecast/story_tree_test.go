package main

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// treeLate is how late a part may be in the calm: two more hops than to a
// viewer of a relay of tier 1.
const treeLate = storyLate + 2*2*storyDelay

// A pool that is too big for its origin becomes a tree by itself; then a relay
// of tier 1 is killed while viewers watch at its children.
func TestStoryOfATree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTreeStory(t)
		tiers := s.tiers()
		t.Logf("tiers: %v", tiers)
		// While nobody's place is known yet, the origin may find none of its
		// children with room, and feed more than is best; and one of those who are
		// to ask it may look again only seconds after it was refused.
		hard := s.story.origin.slots.Room().Hard
		if len(tiers[1]) < 2 || len(tiers[1]) > hard {
			t.Errorf("tiers of %v, want 2 to %d relays in the first", tiers, hard)
		}
		s.check()
		s.checkFlow(sized(8*time.Second, 20*time.Second))

		doomed, orphans := s.greatest()
		end := s.watch(orphans)
		time.Sleep(3*time.Second + 30*time.Millisecond)
		s.kill(doomed)
		time.Sleep(15 * time.Second)
		// Their parent breaks off: the next is asked at once, for the part that
		// was under way.
		end(treeLate + 200*time.Millisecond)
		s.check()
		if got := s.tiers(); len(got[1]) < 2 || len(got[1]) > hard {
			t.Errorf("tiers of %v after a death, want 2 or more of tier 1", got)
		}
		s.checkFlow(sized(5*time.Second, 10*time.Second))
		s.finish()
	})
}

// Two of three in tier 1 die at once: the origin feeds no more than it has slots
// for, and a little, while the others find another way. Who loses both of its
// parents goes on before its viewers notice.
func TestStoryOfATreeThatLosesTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTreeStory(t)
		slots := s.story.origin.slots.Room().Hard
		doomed := s.tiers()[1][:2]
		time.Sleep(2*time.Second + 30*time.Millisecond)
		s.origin.take()
		s.kill(doomed[0])
		s.kill(doomed[1])
		struggle := sized(12*time.Second, 20*time.Second)
		var worst time.Duration
		for began := time.Now(); time.Since(began) < struggle; time.Sleep(50 * time.Millisecond) {
			if room := s.story.origin.slots.Room(); room.Used > room.Hard {
				t.Fatalf("the origin feeds %+v", room)
			}
			for _, r := range s.relays {
				if lag, ok := r.store.Lag(); ok && !r.killed.Load() {
					worst = max(worst, lag)
				}
			}
		}
		parts := 0
		for what, n := range s.origin.take() {
			if partPath.MatchString(what[1]) {
				parts += n
			}
		}
		// The slots, a second a second for all others together, and what these
		// may take at once.
		if most := (slots+1)*5*int(struggle/time.Second) + 2*5; parts > most {
			t.Errorf("the origin gave %d parts in %v, want at most %d", parts, struggle, most)
		}
		// The age of the newest part grows by its length until the next is here.
		if most := storyLate + 200*time.Millisecond + 400*time.Millisecond; worst > most {
			t.Errorf("a relay was %v behind, want at most %v", worst, most)
		}
		t.Logf("the origin gave %d parts in %v; a relay was %v behind at most", parts, struggle, worst)
		s.check()
		s.checkFlow(sized(5*time.Second, 10*time.Second))
		s.finish()
	})
}

// A parent that is told to end is left before it ends.
func TestStoryOfADrainedParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTreeStory(t)
		leaving, orphans := s.greatest()
		end := s.watch(orphans)
		time.Sleep(2 * time.Second)
		s.relays[leaving].stop()
		time.Sleep(time.Duration(s.relays[leaving].config.Drain) - 100*time.Millisecond)
		if left := s.children(leaving); len(left) > 0 {
			t.Errorf("relays %v are still fed by one that ends:\n%s", left, s.draw())
		}
		time.Sleep(10 * time.Second)
		// A child may ask one more, which refuses it, and that is a way there and back.
		end(treeLate + 4*storyDelay)
		s.relays[leaving].killed.Store(true) // it is no more
		s.check()
		s.finish()
	})
}

// Two relays are configured to be each other's parent: neither takes what came
// through itself, and both go on.
func TestStoryOfAForcedLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		nodes, stop := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		at := func(i int) BaseURL { return BaseURL(storyBase(storyRelay(i))) }
		origin := BaseURL(storyBase(storyOrigin()))
		var text strings.Builder // read when all has ended
		log := slog.New(slog.NewTextHandler(&text, nil))
		listen := func(r *relayNode) { r.follower.Logger = log }
		s.startRelayWith(nodes, 0, listen, at(1), origin)
		s.startRelayWith(nodes, 1, listen, at(0), origin)
		time.Sleep(time.Second)
		s.publish(feed, treeSource())
		time.Sleep(30 * time.Second)
		tiers := map[int]int{}
		for _, r := range s.relays {
			tiers[r.tier()]++
			if lag, ok := r.store.Lag(); !ok || lag > time.Second {
				t.Errorf("%s is %v behind", r.address, lag)
			}
		}
		if want := map[int]int{1: 1, 2: 1}; !maps.Equal(tiers, want) {
			t.Errorf("tiers of %v, want one below the other", tiers)
		}
		stopFeed()
		time.Sleep(time.Second)
		stop()
		s.end()
		if !strings.Contains(text.String(), "through this node: a loop") {
			t.Errorf("nothing tells of the loop in\n%s", &text)
		}
	})
}
