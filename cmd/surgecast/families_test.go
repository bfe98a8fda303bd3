package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/miekg/dns"

	"surgecast/origin/origintest"
	"surgecast/simnet"
)

// speak gives the nodes of a story the families of IP that are told, by their IPv4
// address: "4", "6" or "46", of which the first one is first. Nobody reaches
// another family than those that he has.
func (s *story) speak(families map[string]string) {
	s.every = func(c *NodeConfig) {
		c.Seeds = append(c.Seeds, HostPort{netip.AddrPortFrom(netip.MustParseAddr(storySecond(storyOrigin())), defaultGossipPort)})
	}
	s.machine = func(o *nodeOptions) {
		v4 := o.Address.String()
		hosts := map[bool]*simnet.Host{} // by whether they are of IPv4
		for _, family := range families[v4] {
			at := v4
			if family == '6' {
				at = storySecond(v4)
			}
			host := s.net.Host(at)
			if hosts[family == '4'] = host; len(hosts) == 1 {
				o.Address = host.Addr()
			} else {
				o.Second = host.Addr()
			}
		}
		to := func(address string) (*simnet.Host, error) {
			if host := hosts[netip.MustParseAddrPort(address).Addr().Is4()]; host != nil {
				return host, nil
			}
			return nil, fmt.Errorf("dial %s: %w", address, syscall.ENETUNREACH)
		}
		o.Env.Routes = func(address netip.Addr) bool { return hosts[address.Is4()] != nil }
		o.Env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, err := to(address)
			if err != nil {
				return nil, err
			}
			return host.DialContext(ctx, network, address)
		}
		o.Env.Listen = func(_ context.Context, _, address string) (net.Listener, error) {
			host, err := to(address)
			if err != nil {
				return nil, err
			}
			return host.Listen(address)
		}
		o.Env.Transport = func(bind string) (memberlist.Transport, error) {
			host, err := to(bind)
			if err != nil {
				return nil, err
			}
			return strictGossip{host.Transport(defaultGossipPort).(memberlist.NodeAwareTransport), to}, nil
		}
	}
}

// strictGossip reaches the families that its node has.
type strictGossip struct {
	memberlist.NodeAwareTransport
	to func(string) (*simnet.Host, error)
}

func (g strictGossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if _, err := g.to(a.Addr); err != nil {
		return nil, err
	}
	return g.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

// A pool in which one relay has IPv6 alone, one IPv4 alone, and the others both:
// each delivers, to the viewers that reach it. Then the way by IPv4 between the
// origin and a relay that has both is cut.
func TestStoryOfRelaysOfOneFamily(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.speak(map[string]string{storyOrigin(): "46", storyRelay(0): "6", storyRelay(1): "46", storyRelay(2): "4"})
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range 3 {
			s.startRelay(nodes, i)
		}
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(10 * time.Second)

		deliver := func(when string) {
			t.Helper()
			for i, r := range s.relays {
				if lag, ok := r.store.Lag(); !ok || lag > time.Second || r.ready() != nil {
					t.Errorf("%s relay %d is %v behind, ready: %v", when, i, lag, r.ready())
				}
				if got := len(r.cluster.Members()); got != 4 {
					t.Errorf("%s relay %d sees %d members", when, i, got)
				}
			}
		}
		deliver("at first")
		v4, v6 := []string{storyRelay(1), storyRelay(2)}, []string{storySecond(storyRelay(0)), storySecond(storyRelay(1))}
		names := s.nameServer()
		s.expectNamed(names, "live.example.org.", dns.TypeA, v4...)
		s.expectNamed(names, "live.example.org.", dns.TypeAAAA, v6...)
		viewer := &http.Client{
			Transport:     &http.Transport{DialContext: s.net.Host(storyViewer(0)).DialContext, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		for host, want := range map[string][]string{storyOrigin(): v4, storySecond(storyOrigin()): v6} {
			sent := map[string]bool{}
			for range 40 {
				response, err := viewer.Get("http://" + net.JoinHostPort(host, "8080") + "/theatre/index.m3u8")
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				at, err := response.Location()
				if err != nil {
					t.Fatal(err)
				}
				sent[at.Hostname()] = true
				if !slices.Contains(want, at.Hostname()) {
					t.Errorf("who comes to %s is sent to %s", host, at.Hostname())
				}
			}
			if len(sent) != len(want) {
				t.Errorf("who comes to %s is sent to %v, want all of %v", host, sent, want)
			}
		}

		// What was asked over the old connections is waited for first: 1.5 ×
		// TARGETDURATION, and a look at all that there is, twice.
		s.net.Cut(storyOrigin(), storyRelay(1))
		time.Sleep(10 * time.Second)
		for range 30 {
			time.Sleep(time.Second)
			deliver("without IPv4 to the origin")
		}
		if got := s.relays[1].tier(); got != 1 {
			t.Errorf("it is fed in tier %d", got)
		}
		stopFeed()
		stop()
		s.end()
	})
}
