package main

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

// pen is a relay's listener that can be told to take requests and never answer
// them.
type pen struct {
	next http.Handler

	mu   sync.Mutex
	open chan struct{} // closed while requests are answered
}

func newPen(next http.Handler) *pen {
	p := &pen{next: next, open: make(chan struct{})}
	close(p.open)
	return p
}

func (p *pen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	select {
	case <-open:
		p.next.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
}

func (p *pen) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

func (p *pen) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.open)
}

// storyDNS answers from what a node of the story sees.
type storyDNS struct {
	t   *testing.T
	dns *cluster.DNS
}

func (s *story) newDNS(n *node) *storyDNS {
	d, err := cluster.NewDNS(cluster.DNSConfig{
		Zone: "live.example.org", View: n.cluster.Members, Healthy: n.healthy,
		NS: []cluster.NameServer{{Name: "ns1", Addrs: []netip.Addr{n.address}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return &storyDNS{s.t, d}
}

// one returns the addresses of one answer.
func (d *storyDNS) one() (addresses []string) {
	d.t.Helper()
	query, err := new(dns.Msg).SetQuestion("live.example.org.", dns.TypeA).Pack()
	if err != nil {
		d.t.Fatal(err)
	}
	var answer dns.Msg
	if err := answer.Unpack(d.dns.Respond(query, false)); err != nil {
		d.t.Fatal(err)
	}
	for _, rr := range answer.Answer {
		addresses = append(addresses, rr.(*dns.A).A.String())
	}
	return addresses
}

// names asks often enough that each relay that is named at all is seen.
func (d *storyDNS) names() []string {
	d.t.Helper()
	seen := map[string]bool{}
	for range 40 {
		for _, address := range d.one() {
			seen[address] = true
		}
	}
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return netip.MustParseAddr(a).Compare(netip.MustParseAddr(b)) })
	return names
}

// until waits until exactly these relays are named, and says how long that took.
func (d *storyDNS) until(bound time.Duration, relays ...int) time.Duration {
	d.t.Helper()
	var want []string
	for _, i := range relays {
		want = append(want, storyRelay(i))
	}
	began := time.Now()
	for {
		got := d.names()
		if slices.Equal(got, want) {
			return time.Since(began)
		}
		if time.Since(began) > bound {
			d.t.Fatalf("after %v the DNS names %v, want %v", bound, got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Relays that die, hang, lose their source or are cut from one of those who
// probe them, in a pool of six with a feed.
func TestStoryOfUnfitRelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		var hanging *pen
		for i := range 5 {
			s.startRelayWith(nodes, i, func(r *relayNode) {
				if i == 3 {
					hanging = newPen(r.public)
					r.public = hanging
				}
			})
		}
		s.startRelayWith(nodes, 5, func(*relayNode) {}, BaseURL(storyBase(storyRelay(0))))
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		names := s.newDNS(s.origin.node)
		names.until(5*time.Second, 0, 1, 2, 3, 4, 5)
		time.Sleep(20*time.Second + time.Millisecond) // a moment after the probers' ticks

		s.killed(names)
		s.hanging(names, hanging)
		s.withoutSource(names)
		s.cutFromOne(names)
		stopFeed() // which is no relay's fault
		time.Sleep(sized(15*time.Second, 30*time.Second))
		names.until(0, 0, 1, 2, 3, 5)
		stopNodes()
		s.end()
	})
}

func (s *story) killed(names *storyDNS) {
	s.kill(4)
	s.t.Logf("a killed relay is not named after %v", names.until(4*time.Second, 0, 1, 2, 3, 5))
	time.Sleep(15 * time.Second) // gossip has found it dead
}

// hanging is about a relay that takes connections and never answers; its gossip
// lives.
func (s *story) hanging(names *storyDNS, p *pen) {
	p.hang()
	s.t.Logf("a hanging relay is not named after %v", names.until(4*time.Second, 0, 1, 2, 5))
	time.Sleep(10 * time.Second)
	if got := s.relays[3].status(); got != cluster.StatusWarming {
		s.t.Errorf("its own watch leaves it %s", got)
	}
	p.release()
	s.t.Logf("it is back after %v", names.until(5*time.Second, 0, 1, 2, 3, 5))
}

// withoutSource is about a relay that has its viewers and no new media.
func (s *story) withoutSource(names *storyDNS) {
	s.net.Cut(storyOrigin(), storyRelay(2))
	s.t.Logf("a relay that stands still is not named after %v", names.until(8*time.Second, 0, 1, 3, 5))
	time.Sleep(2 * time.Second)
	if got := s.relays[2].status(); got != cluster.StatusWarming {
		s.t.Errorf("it does not take itself out, but stays %s", got)
	}
	s.net.Heal(storyOrigin(), storyRelay(2))
	s.t.Logf("it is back after %v", names.until(10*time.Second, 0, 1, 2, 3, 5))
}

// cutFromOne is about a relay that another one feeds, and only the name server
// does not reach.
func (s *story) cutFromOne(names *storyDNS) {
	s.net.Cut(storyOrigin(), storyRelay(5))
	for range sized(12, 30) {
		time.Sleep(time.Second)
		names.until(0, 0, 1, 2, 3, 5)
	}
	if found := s.origin.prober.Snapshot(); found.Down != 1 || found.Doubt {
		s.t.Errorf("the origin's own probes: %+v", found)
	}
	s.net.Heal(storyOrigin(), storyRelay(5))
}

// A name server that is cut off from the whole pool withdraws none of it by its
// own probes.
func TestStoryOfSelfDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const relays = 5
		s := newStory(t)
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range relays {
			s.startRelay(nodes, i)
		}
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		names := s.newDNS(s.origin.node)
		names.until(5*time.Second, 0, 1, 2, 3, 4)
		time.Sleep(20 * time.Second)

		for i := range relays {
			s.net.Cut(storyOrigin(), storyRelay(i))
		}
		doubted := false
		for range sized(30, 60) {
			time.Sleep(time.Second)
			// What gossip itself gives up in the end is no verdict of a probe.
			if there := len(s.origin.cluster.Members()) - 1; len(names.names()) < max(there, 1) {
				t.Errorf("of %d relays the DNS names %v", there, names.names())
			}
			doubted = doubted || s.origin.prober.Snapshot().Doubt
		}
		if !doubted {
			t.Error("the origin never doubted itself")
		}
		for i, r := range s.relays { // their source is gone for all of them
			if got := r.status(); got != cluster.StatusServing {
				t.Errorf("relay %d is %s", i, got)
			}
		}
		for i := range relays {
			s.net.Heal(storyOrigin(), storyRelay(i))
		}
		time.Sleep(sized(30*time.Second, time.Minute))
		names.until(0, 0, 1, 2, 3, 4)
		if s.origin.prober.Snapshot().Doubt {
			t.Error("the origin still doubts itself")
		}
		stopFeed()
		time.Sleep(time.Second)
		stopNodes()
		s.end()
	})
}
