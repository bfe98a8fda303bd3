package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

// drainStory runs five relays under a crowd, and what is done to them.
func drainStory(t *testing.T, change func(s *story, nodes context.Context)) {
	synctest.Test(t, func(t *testing.T) {
		const relays = 5
		viewers := sized(15, 200)
		s := newStory(t)
		s.every = func(c *NodeConfig) { c.Drain = Duration(5 * time.Second) }
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range relays {
			s.startRelay(nodes, i)
		}
		time.Sleep(3 * time.Second)
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
		time.Sleep(4 * time.Second)

		crowd := s.startCrowd(viewers)
		time.Sleep(2 * time.Second)
		change(s, nodes)
		time.Sleep(2 * time.Second)
		if sum := crowd.end(); sum.switches+sum.moves == 0 || sum.stalls > 0 {
			t.Errorf("%d were told to go, %d sent on by steering; %d stalls", sum.switches, sum.moves, sum.stalls)
		}
		stopFeed()
		stopNodes()
		s.end()
	})
}

// Each of five relays is told to end and started again, in turn.
func TestStoryRollingRestart(t *testing.T) {
	t.Parallel()
	drainStory(t, func(s *story, nodes context.Context) {
		for i := range 5 {
			old := s.relays[i]
			began := time.Now()
			old.stop()
			<-old.ended
			took := time.Since(began)
			if took < 5*time.Second || took > 9*time.Second {
				s.t.Errorf("relay %d took %v to end, with a drain of 5 s", i, took)
			}
			fresh := s.startRelay(nodes, i)
			for fresh.ready() != nil {
				time.Sleep(50 * time.Millisecond)
			}
			s.t.Logf("relay %d ended after %v and was back %v after that", i, took, time.Since(began)-took)
		}
	})
}

// Three of five are drained by an operator's order, and end by themselves.
func TestStoryScaleIn(t *testing.T) {
	t.Parallel()
	drainStory(t, func(s *story, _ context.Context) {
		for i := range 3 {
			a, err := s.relays[i].order(true)
			if err != nil || a.Seconds != 5 || a.Others != 4-i {
				s.t.Errorf("relay %d: %+v, %v", i, a, err)
			}
			<-s.relays[i].ended
		}
	})
}

// Any node takes an order for any other one; the flag outlives the process;
// undrain takes it back at each stage.
func TestStoryDrainByOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const drain = 10 * time.Second
		s := newStory(t)
		s.every = func(c *NodeConfig) { c.Drain = Duration(drain) }
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		s.startRelay(nodes, 0)
		moved := s.startRelay(nodes, 1)
		names := s.newDNS(s.origin.node)
		s.named(names, 5*time.Second, 0, 1)
		if _, err := s.give(storyOrigin(), true); err == nil || err.Error() != errNotDrained.Error() {
			t.Errorf("an origin: %v", err)
		}

		order := func(target string, drain bool) drainAnswer {
			t.Helper()
			a, err := s.give(target, drain)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		name := ""
		for _, after := range []time.Duration{0, drain * 3 / 4, drain - time.Second} { // draining, retiring, parting
			a := order(storyRelay(1), true)
			if a.Seconds != drain.Seconds() || a.Others != 1 || !a.Drains {
				t.Errorf("%+v", a)
			}
			name = a.Name
			s.named(names, time.Second, 0)
			time.Sleep(after)
			if a = order(name[:8], false); a.Drains {
				t.Errorf("%+v", a)
			}
			s.named(names, 5*time.Second, 0, 1)
		}

		began := time.Now()
		order(name, true)
		<-moved.ended
		if took := time.Since(began); took < drain || took > drain+4*time.Second {
			t.Errorf("it took %v to end, with a drain of %v", took, drain)
		}
		again := s.startRelay(nodes, 1)
		time.Sleep(15 * time.Second)
		if got := again.status(); got != cluster.StatusDraining {
			t.Errorf("started again it is %s", got)
		}
		names.until(0, 0)
		order(storyRelay(1), false)
		s.named(names, 5*time.Second, 0, 1)
		stop()
		s.end()
	})
}

// named waits until the origin sees that these relays serve, and holds its DNS to
// it. That costs less than to ask the DNS all the time.
func (s *story) named(names *storyDNS, bound time.Duration, relays ...int) {
	s.t.Helper()
	for began := time.Now(); len(cluster.Serving(s.origin.cluster.Members())) != len(relays); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > bound {
			break // and the DNS says whom it names
		}
	}
	names.until(rosterDelay, relays...)
}

// rosterDelay is how far the DNS may lag behind what its node sees.
const rosterDelay = 100 * time.Millisecond

// give gives the origin an order for a node.
func (s *story) give(target string, drain bool) (a drainAnswer, err error) {
	s.t.Helper()
	body, err := json.Marshal(drainRequest{Target: target, Drain: drain})
	if err != nil {
		s.t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	s.origin.serveDrain(answer, httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, "/drain", strings.NewReader(string(body))))
	if answer.Code != http.StatusOK {
		refusal := new(apiRefusal)
		if err := json.Unmarshal(answer.Body.Bytes(), refusal); err != nil {
			return a, err
		}
		return a, refusal
	}
	return a, json.Unmarshal(answer.Body.Bytes(), &a)
}
