package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

// Both relays of tier 1 are lost at once. Of the three below them each has the
// other two as its next parents, so that they would wait for each other in a
// ring; behind these stands the origin. Their viewers notice hardly anything.
func TestBothParentsDie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		strike func(g *grove, parent *tree)
		most   time.Duration // between two parts, for any viewer
	}{
		"reset":    {func(g *grove, p *tree) { g.net.Host(p.host).Kill() }, 230*time.Millisecond + siblingPatience},
		fullOrigin: {func(g *grove, p *tree) { g.net.Host(p.host).Kill() }, 230*time.Millisecond + siblingPatience},
		"refuses":  {func(_ *grove, p *tree) { p.fault.Store(refuses) }, 230*time.Millisecond + siblingPatience},
		"HTML":     {func(_ *grove, p *tree) { p.fault.Store(hypertext) }, 230*time.Millisecond + siblingPatience},
		"hangs":    {func(_ *grove, p *tree) { p.fault.Store(hangs) }, 1500 * time.Millisecond},
		"black hole": {func(g *grove, p *tree) {
			for _, child := range []string{"10.0.0.4", "10.0.0.5", "10.0.0.6"} {
				g.net.Cut(p.host, child)
			}
		}, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrove(t)
				if name == fullOrigin {
					g.fillOrigin()
				}
				tierOne := []*tree{g.relay("10.0.0.2", "10.0.0.1"), g.relay("10.0.0.3", "10.0.0.1")}
				g.play()
				time.Sleep(time.Second)
				var ends []func() time.Duration
				for i, next := range [][]string{{"10.0.0.5", "10.0.0.6"}, {"10.0.0.6", "10.0.0.4"}, {"10.0.0.4", "10.0.0.5"}} {
					host := []string{"10.0.0.4", "10.0.0.5", "10.0.0.6"}[i]
					child := g.relay(host, "10.0.0.2", "10.0.0.3", next[0], next[1], "10.0.0.1")
					time.Sleep(time.Second)
					ends = append(ends, g.watch(child, 2))
				}
				time.Sleep(time.Second + 30*time.Millisecond)
				for _, p := range tierOne {
					c.strike(g, p)
				}
				time.Sleep(5 * time.Second)
				var most time.Duration
				for _, end := range ends {
					most = max(most, end())
				}
				t.Logf("at most %v between two parts", most)
				if most > c.most {
					t.Errorf("a viewer was %v without a new part, want at most %v", most, c.most)
				}
				g.end()
			})
		})
	}
}

// The second of two parents was full for a while before both die: it is asked last,
// behind the origin, so the first one is all that fails before the siblings are asked,
// which have lost the same. Viewers notice as little.
func TestBothParentsDieOfWhichOneWasOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		first, second := g.relay("10.0.0.2", "10.0.0.1"), g.relay("10.0.0.3", "10.0.0.1")
		g.play()
		time.Sleep(time.Second)
		var ends []func() time.Duration
		var children []*tree
		for i, next := range [][]string{{"10.0.0.5", "10.0.0.6"}, {"10.0.0.6", "10.0.0.4"}, {"10.0.0.4", "10.0.0.5"}} {
			host := []string{"10.0.0.4", "10.0.0.5", "10.0.0.6"}[i]
			children = append(children, g.relay(host, "10.0.0.2", "10.0.0.3", next[0], next[1], "10.0.0.1"))
		}
		time.Sleep(time.Second)
		first.fault.Store(refuses)
		second.fault.Store(refuses)
		time.Sleep(time.Second)
		first.fault.Store(healthy)
		time.Sleep(10 * time.Second) // they come back to the one, and go on finding the other out
		for i, child := range children {
			if parent, _ := child.store.Lineage(); parent != "http://10.0.0.2:8080" {
				t.Fatalf("child %d is fed by %q", i, parent)
			}
			ends = append(ends, g.watch(child, 2))
		}
		time.Sleep(time.Second + 30*time.Millisecond)
		g.net.Host(first.host).Kill()
		g.net.Host(second.host).Kill()
		time.Sleep(5 * time.Second)
		var most time.Duration
		for _, end := range ends {
			most = max(most, end())
		}
		t.Logf("at most %v between two parts", most)
		if limit := 230*time.Millisecond + siblingPatience; most > limit {
			t.Errorf("a viewer was %v without a new part, want at most %v", most, limit)
		}
		g.end()
	})
}

const fullOrigin = "reset, and the origin is full"

// fillOrigin gives the origin slots for the two relays of tier 1; of the room that
// its link has beyond them, those get who have viewers and lost their parent.
func (g *grove) fillOrigin() {
	const rate = 900_000 // of the stream
	g.slots = 20 * rate
	g.origin.server.(*server).Slots = NewSlots(SlotsConfig{
		Store: g.origin.store, Self: func() string { return "origin" }, Capacity: 9 * rate,
		Refer: func([]string) []string { return []string{"10.0.0.2:8080"} },
	})
}

// Two parents that refuse are no reason to leave a third that is only a hop
// farther from the source than the origin that is asked beside it.
func TestASiblingIsAsGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		lost := []*tree{g.relay("10.0.0.2", "10.0.0.1"), g.relay("10.0.0.3", "10.0.0.1")}
		g.relay("10.0.0.4", "10.0.0.1")
		sibling := g.relay("10.0.0.5", "10.0.0.4", "10.0.0.1")
		g.play()
		time.Sleep(time.Second)
		child := g.relay("10.0.0.9", "10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.1")
		time.Sleep(time.Second)
		for _, p := range lost {
			p.fault.Store(refuses)
		}
		time.Sleep(time.Second)
		before := sibling.asked()["/theatre/main/live.m3u8"]
		time.Sleep(time.Second) // before a parent that was left would be looked after
		if got := sibling.asked()["/theatre/main/live.m3u8"] - before; got < 4 {
			t.Errorf("the sibling is asked for %d lists in a second, want each of 5", got)
		}
		if parent, _ := child.store.Lineage(); parent != "http://10.0.0.5:8080" {
			t.Errorf("the child is fed by %q", parent)
		}
		g.end()
	})
}
