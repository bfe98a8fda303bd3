package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"surgecast/origin/origintest"
	"surgecast/relay"
)

// treeStory is a pool of which the origin has slots for three relays, and each
// relay for two.
type treeStory struct {
	*story
	nodes  context.Context
	origin *childCounter
	below  []*childCounter // of each relay
	feed   context.CancelFunc
	stop   context.CancelFunc
}

// treeRelays are 3 of tier 1, 6 of tier 2, and 3 of tier 3, if nobody gets a
// slot beyond what is best.
const treeRelays = 12

// treeStreamRate is the peak rate of treeSource as the origin publishes it.
const treeStreamRate = 450_000

func treeSource() *origintest.Source {
	return &origintest.Source{FPS: 25, GOP: 25, Audio: true, PictureBytes: 1500}
}

// childCounter counts what other nodes get of a node: who, and what.
type childCounter struct {
	next http.Handler

	mu   sync.Mutex
	gave map[[2]string]int // by the asker's id and the path
}

func (c *childCounter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _, _ := strings.Cut(r.Header.Get("Surgecast-Node"), ";")
	if id == "" {
		c.next.ServeHTTP(w, r)
		return
	}
	status := &statusWriter{ResponseWriter: w}
	c.next.ServeHTTP(status, r)
	if status.refused {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gave[[2]string{id, r.URL.Path}]++
}

// take returns what was counted, and begins anew.
func (c *childCounter) take() map[[2]string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	gave := c.gave
	c.gave = map[[2]string]int{}
	return gave
}

// statusWriter notes whether an answer was an error.
type statusWriter struct {
	http.ResponseWriter
	refused bool
}

func (w *statusWriter) WriteHeader(status int) {
	w.refused = status >= 400
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// newTreeStory starts the pool with a stream on air, all relays at once, and
// waits until its tiers have formed.
func newTreeStory(t *testing.T) *treeStory {
	s := &treeStory{story: newStory(t)}
	s.bare = true
	s.tune = func(c *OriginConfig) { c.Capacity = treeStreamRate * 4 * 7 / 2 }
	s.every = func(c *NodeConfig) { c.Capacity = treeStreamRate * 4 * 5 / 2 }
	s.nodes, s.stop = context.WithCancel(t.Context())
	s.front = func(next http.Handler) http.Handler {
		s.origin = &childCounter{next: next, gave: map[[2]string]int{}}
		return s.origin
	}
	s.startOrigin(s.nodes)
	var feed context.Context
	feed, s.feed = context.WithCancel(t.Context())
	time.Sleep(time.Second)
	s.publish(feed, treeSource())
	time.Sleep(4 * time.Second)
	if got := s.story.origin.slots.Room(); got.Best != 3 {
		t.Fatalf("the origin has slots for %+v, want 3", got)
	}
	for i := range treeRelays {
		s.startRelayWith(s.nodes, i, func(r *relayNode) {
			c := &childCounter{next: r.public, gave: map[[2]string]int{}}
			s.below = append(s.below, c)
			r.public = c
		})
	}
	began := time.Now()
	for !s.formed() {
		if time.Sleep(100 * time.Millisecond); time.Since(began) > 10*time.Second {
			t.Fatalf("after 10 s the tree is\n%s", s.draw())
		}
	}
	t.Logf("the tree formed in %v", time.Since(began))
	time.Sleep(10 * time.Second) // who asked elsewhere before has been forgotten there
	return s
}

// formed tells whether all live relays serve, each with a parent.
func (s *treeStory) formed() bool {
	for _, r := range s.relays {
		if !r.killed.Load() && (r.ready() != nil || r.tier() == 0) {
			return false
		}
	}
	return true
}

// tiers are the live relays by tier.
func (s *treeStory) tiers() map[int][]int {
	tiers := map[int][]int{}
	for i, r := range s.relays {
		if !r.killed.Load() {
			tiers[r.tier()] = append(tiers[r.tier()], i)
		}
	}
	return tiers
}

// children are the live relays that the ith feeds.
func (s *treeStory) children(i int) (all []int) {
	for j, r := range s.relays {
		if !r.killed.Load() && r.parent() == storyRelay(i)+":8080" {
			all = append(all, j)
		}
	}
	return all
}

// greatest is the relay of tier 1 with the most children, and these.
func (s *treeStory) greatest() (relay int, children []int) {
	for _, i := range s.tiers()[1] {
		if all := s.children(i); len(all) > len(children) {
			relay, children = i, all
		}
	}
	if len(children) == 0 {
		s.t.Fatalf("nobody has children:\n%s", s.draw())
	}
	return relay, children
}

func (s *treeStory) draw() string {
	var b strings.Builder
	for i, r := range s.relays {
		fmt.Fprintf(&b, "relay %d: tier %d below %q, %v, feeds %+v, asks %v\n", i, r.tier(), r.parent(), r.ready(), r.slots.Room(), r.follower.Parents())
	}
	fmt.Fprintf(&b, "origin feeds %+v\n", s.story.origin.slots.Room())
	return b.String()
}

// checkFlow holds a time of calm to the promise: of everything, each relay got
// each object once, and only tier 1 asked the origin.
func (s *treeStory) checkFlow(calm time.Duration) {
	t := s.t
	for _, c := range append(s.below, s.origin) {
		c.take()
	}
	time.Sleep(calm)
	got := map[[2]string]int{}
	askers := map[string]bool{}
	for _, c := range append(s.below, s.origin) {
		for what, n := range c.take() {
			got[what] += n
			if c == s.origin && partPath.MatchString(what[1]) { // a probe reads a list
				askers[what[0]] = true
			}
		}
	}
	parts := map[string]int{}
	for what, n := range got {
		if partPath.MatchString(what[1]) {
			parts[what[1]]++
			if n != 1 {
				t.Errorf("%s got %s %d times", short(what[0]), what[1], n)
			}
		}
	}
	live := 0
	for _, r := range s.relays {
		if !r.killed.Load() {
			live++
		}
	}
	whole := 0
	for _, relays := range parts {
		if relays == live {
			whole++
		}
	}
	// 5 parts a second; the first and the last are on their way.
	if want := int(calm/time.Second) * 5; whole < want-2 || len(parts) > want+2 {
		t.Errorf("of %d parts all %d relays got %d, want %d", len(parts), live, whole, want)
	}
	if len(askers) != len(s.tiers()[1]) {
		t.Errorf("%d relays asked the origin, of tier 1 are %v", len(askers), s.tiers()[1])
	}
}

// check holds the tree to its form.
func (s *treeStory) check() {
	for _, r := range s.relays {
		if r.killed.Load() {
			continue
		}
		_, chain := r.store.Lineage()
		seen := map[string]bool{r.cluster.Name(): true}
		for _, id := range chain {
			if seen[id] {
				s.t.Errorf("a loop: %v", chain)
			}
			seen[id] = true
		}
		if len(chain) < 1 || len(chain) > relay.MaxTier || chain[0] != s.story.origin.cluster.Name() {
			s.t.Errorf("a chain: %v", chain)
		}
	}
	if s.t.Failed() {
		s.t.Logf("the tree:\n%s", s.draw())
	}
}

// watch has viewers play from the relays, each request at another; the function
// that it returns ends them, and holds them to the lateness.
func (s *treeStory) watch(relays []int) (end func(late time.Duration)) {
	var bases []string
	for _, i := range relays {
		bases = append(bases, storyBase(storyRelay(i)))
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var crowd sync.WaitGroup
	began := time.Now()
	all := make([]*storyWatcher, 2*len(relays))
	for i := range all {
		all[i] = newStoryWatcher(s.story, i, func() []string { return bases })
		crowd.Go(func() { all[i].watch(ctx) })
	}
	return func(late time.Duration) {
		cancel()
		crowd.Wait()
		for _, w := range all {
			w.check(time.Since(began), late)
			if w.retries > 0 {
				s.t.Errorf("viewer %d was not answered %d times", w.name, w.retries)
			}
		}
		s.t.Logf("%d viewers had each part at most %v after its end", len(all), latest(all))
	}
}

func (s *treeStory) finish() {
	s.feed()
	time.Sleep(time.Second)
	s.stop()
	s.end()
}
