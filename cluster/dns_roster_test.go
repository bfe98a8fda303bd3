package cluster

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// silentDNS is a name server without sockets, for tests on fake time.
func silentDNS(t *testing.T, members []Member, change ...func(*DNSConfig)) (*DNS, *fakeView) {
	t.Helper()
	view := &fakeView{members: members}
	cfg := DNSConfig{
		Zone: testZone, View: view.list,
		NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.53")}}},
	}
	for _, c := range change {
		c(&cfg)
	}
	d, err := NewDNS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d, view
}

// reply asks without a socket.
func reply(t *testing.T, d *DNS, name string, qtype uint16) *dns.Msg {
	t.Helper()
	query, err := question(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var r dns.Msg
	if err := r.Unpack(d.Respond(query, true)); err != nil {
		t.Fatal(err)
	}
	return &r
}

// sick is a set of relays that a prober found wanting.
type sick struct {
	mu  sync.Mutex
	ips map[string]bool
}

func (s *sick) set(ips ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ips = make(map[string]bool)
	for _, ip := range ips {
		s.ips[ip] = true
	}
}

func (s *sick) healthy(m Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ips[m.PublicAddr().String()]
}

func sized(m Member, capacity int64) Member {
	m.State.Capacity = capacity
	return m
}

// The pool of five fast relays and a slow one: the slow one's part of all
// records is its part of the capacity, to a twentieth of itself.
func TestDNSSharesOf100000Answers(t *testing.T) {
	members := []Member{sized(node(RoleRelay, StatusServing, "10.0.0.9"), 100e6)}
	for i := range 5 {
		members = append(members, sized(node(RoleRelay, StatusServing, fmt.Sprintf("10.0.0.%d", i+1)), 1e9))
	}
	d, _ := silentDNS(t, members)
	query, _ := question(testZone, dns.TypeA).Pack()
	const answers = 100_000
	small, first, records := 0, 0, 0
	var r dns.Msg
	for range answers {
		if err := r.Unpack(d.Respond(query, true)); err != nil {
			t.Fatal(err)
		}
		for i, rr := range r.Answer {
			records++
			if rr.(*dns.A).A.String() == "10.0.0.9" {
				small++
				if i == 0 {
					first++
				}
			}
		}
	}
	want := 0.1 / 5.1
	got := float64(small) / float64(records)
	t.Logf("%d records, the small one has %.3f %% of them and is first in %.3f %% of the answers; its capacity is %.3f %%",
		records, 100*got, 100*float64(first)/answers, 100*want)
	if math.Abs(got/want-1) > 0.05 {
		t.Errorf("share %.5f, want %.5f", got, want)
	}
	if f := float64(first) / answers; math.Abs(f/want-1) > 0.12 { // a quarter as many records
		t.Errorf("first in %.5f, want %.5f", f, want)
	}
}

func TestDNSNamesMoreOfALargePool(t *testing.T) {
	for relays, want := range map[int]int{1: 1, 4: 4, 16: 4, 20: 5, 31: 7, 32: 8, 200: 8} {
		var members []Member
		for i := range relays {
			members = append(members, node(RoleRelay, StatusServing, fmt.Sprintf("2001:db8::%x", i+1)))
		}
		d, _ := silentDNS(t, members)
		r := reply(t, d, testZone, dns.TypeAAAA)
		if len(r.Answer) != want || r.Truncated {
			t.Errorf("of %d relays %d are named, want %d", relays, len(r.Answer), want)
		}
	}
}

func TestDNSNamesAnAddressOnce(t *testing.T) {
	twin := node(RoleRelay, StatusServing, "127.0.0.2")
	twin.Name = "its earlier life"
	d, _ := silentDNS(t, append([]Member{twin}, threeRelays...))
	if got := addrsOf(t, reply(t, d, testZone, dns.TypeA), 30); got != "127.0.0.2 127.0.0.3 127.0.0.4" {
		t.Errorf("got %s", got)
	}
}

func TestDNSNamesPublicAddresses(t *testing.T) {
	inside := node(RoleRelay, StatusServing, "10.0.0.7")
	inside.State.Public = "192.0.2.7:443"
	six := node(RoleRelay, StatusServing, "10.0.0.8")
	six.State.Public = "[2001:db8::8]:443"
	d, _ := silentDNS(t, []Member{inside, six})
	if got := addrsOf(t, reply(t, d, testZone, dns.TypeA), 30); got != "192.0.2.7" {
		t.Errorf("A: %s", got)
	}
	if got := addrsOf(t, reply(t, d, testZone, dns.TypeAAAA), 30); got != "2001:db8::8" {
		t.Errorf("AAAA: %s", got)
	}
	if got := addrsOf(t, reply(t, d, RelayName(netip.MustParseAddr("192.0.2.7"))+"."+testZone, dns.TypeA), 30); got != "192.0.2.7" {
		t.Errorf("own name: %s", got)
	}
}

// fiveRelays of one capacity, 10.0.0.1 to 10.0.0.5.
func fiveRelays() []Member {
	var members []Member
	for i := range 5 {
		members = append(members, node(RoleRelay, StatusServing, fmt.Sprintf("10.0.0.%d", i+1)))
	}
	return members
}

// everNamed is who is named in some of many answers.
func everNamed(t *testing.T, d *DNS) string {
	t.Helper()
	named := make(map[string]bool)
	for range 200 {
		for _, rr := range reply(t, d, testZone, dns.TypeA).Answer {
			named[strings.TrimPrefix(rr.(*dns.A).A.String(), "10.0.0.")] = true
		}
	}
	var all strings.Builder
	for i := range 10 {
		if named[fmt.Sprint(i)] {
			fmt.Fprint(&all, i)
		}
	}
	return all.String()
}

func TestDNSLeavesOutTheUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ill := new(sick)
		d, view := silentDNS(t, fiveRelays(), func(c *DNSConfig) { c.Healthy = ill.healthy })
		steps := []struct {
			what  string
			ill   []string
			want  string
			ttl   uint32
			panic bool
		}{
			{"all are well", nil, "12345", 30, false},
			{"one is ill", []string{"10.0.0.2"}, "1345", 15, false},
			{"two are", []string{"10.0.0.2", "10.0.0.3"}, "145", 15, false},
			{"three: less than half is left", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, "12345", 15, true},
			{"all", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}, "12345", 15, true},
			{"all are well again", nil, "12345", 30, false},
		}
		for _, s := range steps {
			ill.set(s.ill...)
			time.Sleep(time.Minute)
			if got := everNamed(t, d); got != s.want || d.Panicking() != s.panic {
				t.Errorf("%s: %s are named, want %s; panic: %t", s.what, got, s.want, d.Panicking())
			}
			if got := reply(t, d, testZone, dns.TypeA).Answer[0].Header().Ttl; got != s.ttl {
				t.Errorf("%s: ttl %d, want %d", s.what, got, s.ttl)
			}
		}
		members := fiveRelays()
		members[0].State.Status = StatusDraining
		view.set(members...)
		ill.set("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
		time.Sleep(time.Second)
		if got := everNamed(t, d); got != "2345" {
			t.Errorf("in a panic while one drains: %s", got)
		}
		view.set()
		time.Sleep(time.Second)
		if got := everNamed(t, d); got != "2345" {
			t.Errorf("all gone from the gossip, too: %s", got)
		}
	})
}

// A small relay that is ill is no reason for a panic, a large one is.
func TestDNSPanicCountsCapacity(t *testing.T) {
	ill := new(sick)
	members := fiveRelays()
	members[0].State.Capacity = 9e8 // the others have 1e8
	d, _ := silentDNS(t, members, func(c *DNSConfig) { c.Healthy = ill.healthy })
	ill.set("10.0.0.1")
	if got := everNamed(t, d); got != "12345" {
		t.Errorf("the one with two thirds is ill: %s", got)
	}
	ill.set("10.0.0.2", "10.0.0.3", "10.0.0.4")
	d.forget()
	if got := everNamed(t, d); got != "15" {
		t.Errorf("three small ones are ill: %s", got)
	}
}

func TestDNSFullRelays(t *testing.T) {
	members := fiveRelays()
	for i := range 4 {
		members[i].State.Status = StatusFull
	}
	d, view := silentDNS(t, members)
	if got := everNamed(t, d); got != "5" {
		t.Errorf("four are full: %s", got)
	}
	own := reply(t, d, RelayName(netip.MustParseAddr("10.0.0.1"))+"."+testZone, dns.TypeA)
	if got := addrsOf(t, own, 30); got != "10.0.0.1" {
		t.Errorf("who watches at a full one finds %s", got)
	}
	members[4].State.Status = StatusFull
	view.set(members...)
	d.forget()
	if got := everNamed(t, d); got != "12345" {
		t.Errorf("all are full: %s", got)
	}
}

// A clone beside one relay of the same size: the first stays in each answer,
// the clone comes into more and more of them for ten seconds.
func TestDNSSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, clone := node(RoleRelay, StatusServing, "10.0.0.1"), node(RoleRelay, StatusServing, "10.0.0.2")
		d, view := silentDNS(t, []Member{old})
		reply(t, d, testZone, dns.TypeA)
		time.Sleep(time.Minute)
		view.set(old, clone)
		part := func() float64 {
			const answers = 2000
			olds, clones := 0, 0
			for range answers {
				for _, rr := range reply(t, d, testZone, dns.TypeA).Answer {
					if rr.(*dns.A).A.String() == "10.0.0.1" {
						olds++
					} else {
						clones++
					}
				}
			}
			if olds != answers {
				t.Errorf("the first relay is in %d of %d answers", olds, answers)
			}
			return float64(clones) / answers
		}
		for _, s := range []struct {
			after time.Duration
			want  float64
		}{{0, 0.1}, {3 * time.Second, 0.3}, {4 * time.Second, 0.7}, {3 * time.Second, 1}, {time.Hour, 1}} {
			time.Sleep(s.after)
			if got := part(); math.Abs(got-s.want) > 0.04 {
				t.Errorf("%v later the clone is in %.2f of the answers, want %.2f", s.after, got, s.want)
			}
		}
		// A new life at the same address begins anew.
		clone.Name = "second life"
		view.set(old, clone)
		time.Sleep(time.Second)
		if got := part(); got > 0.15 {
			t.Errorf("after a restart it is in %.2f of the answers", got)
		}
	})
}
