package cluster

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const testZone = "live.surgecast.test."

// fakeView is a list of members that a test may change.
type fakeView struct {
	mu      sync.Mutex
	members []Member
}

func (v *fakeView) set(members ...Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.members = members
}

func (v *fakeView) list() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.members
}

func node(role Role, status Status, ip string) Member {
	return Member{
		Name:    string(role) + ip,
		Address: netip.MustParseAddrPort(net.JoinHostPort(ip, "7946")),
		State:   State{Role: role, Status: status, Media: net.JoinHostPort(ip, "8080"), Capacity: 1e8},
	}
}

// serveDNS starts a name server on a free port.
func serveDNS(t testing.TB, members []Member, change ...func(*DNSConfig)) (*DNS, *fakeView) {
	t.Helper()
	view := &fakeView{members: members}
	cfg := DNSConfig{
		Listen: []string{"127.0.0.53:0"}, Zone: testZone, View: view.list,
		NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.53")}}},
	}
	for _, c := range change {
		c(&cfg)
	}
	d, err := NewDNS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d, view
}

// forget makes the next answer look at the view anew.
func (d *DNS) forget() {
	d.roster.mu.Lock()
	d.roster.checked = time.Time{}
	d.roster.mu.Unlock()
}

func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.RecursionDesired = false
	return m
}

func exchange(t testing.TB, d *DNS, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 2 * time.Second, UDPSize: 4096}
	r, _, err := client.Exchange(m, d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ask(t testing.TB, d *DNS, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return exchange(t, d, "udp", question(name, qtype))
}

// addrsOf returns the addresses of an answer, sorted, and checks their TTL.
func addrsOf(t testing.TB, r *dns.Msg, ttl uint32) string {
	t.Helper()
	var addrs []string
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			addrs = append(addrs, rr.A.String())
		case *dns.AAAA:
			addrs = append(addrs, rr.AAAA.String())
		}
		if rr.Header().Ttl != ttl {
			t.Errorf("ttl %d, want %d", rr.Header().Ttl, ttl)
		}
	}
	slices.Sort(addrs)
	return strings.Join(addrs, " ")
}

var threeRelays = []Member{
	node(RoleOrigin, StatusServing, "127.0.0.1"),
	node(RoleRelay, StatusServing, "127.0.0.2"),
	node(RoleRelay, StatusServing, "127.0.0.3"),
	node(RoleRelay, StatusServing, "127.0.0.4"),
	node(RoleRelay, StatusWarming, "127.0.0.5"),
	node(RoleRelay, StatusDraining, "127.0.0.6"),
}

func TestDNSNamesWhoServes(t *testing.T) {
	d, view := serveDNS(t, threeRelays)
	for _, network := range []string{"udp", "tcp"} {
		r := exchange(t, d, network, question(testZone, dns.TypeA))
		if got := addrsOf(t, r, 30); got != "127.0.0.2 127.0.0.3 127.0.0.4" || !r.Authoritative || r.RecursionAvailable {
			t.Errorf("%s: %s\n%v", network, got, r)
		}
	}
	view.set(threeRelays[0], threeRelays[1], node(RoleRelay, StatusServing, "127.0.0.9"))
	d.forget()
	if got := addrsOf(t, ask(t, d, testZone, dns.TypeA), 15); got != "127.0.0.2 127.0.0.9" {
		t.Errorf("after a change: %s", got)
	}
}

func TestDNSFailsStatic(t *testing.T) {
	d, view := serveDNS(t, threeRelays)
	ask(t, d, testZone, dns.TypeA)
	for name, members := range map[string][]Member{
		"all gone":        nil,
		"all warming":     {node(RoleRelay, StatusWarming, "127.0.0.2"), node(RoleRelay, StatusWarming, "127.0.0.3")},
		"all drain":       {node(RoleRelay, StatusDraining, "127.0.0.2"), node(RoleRelay, StatusDraining, "127.0.0.3"), node(RoleRelay, StatusDraining, "127.0.0.4")},
		"only the origin": threeRelays[:1],
	} {
		view.set(members...)
		d.forget()
		if got := addrsOf(t, ask(t, d, testZone, dns.TypeA), 15); got != "127.0.0.2 127.0.0.3 127.0.0.4" {
			t.Errorf("%s: %q", name, got)
		}
	}
	view.set(node(RoleRelay, StatusDraining, "127.0.0.2"))
	d.forget()
	if got := addrsOf(t, ask(t, d, testZone, dns.TypeA), 15); got != "127.0.0.3 127.0.0.4" {
		t.Errorf("one drains, the others are gone: %q", got)
	}
}

func TestDNSBeforeAnyRelayWasReady(t *testing.T) {
	members := []Member{threeRelays[0], node(RoleRelay, StatusJoining, "127.0.0.2")}
	d, _ := serveDNS(t, members)
	r := ask(t, d, testZone, dns.TypeA)
	if len(r.Answer) != 0 || r.Rcode != dns.RcodeSuccess || soaTTL(r) != 5 {
		t.Errorf("the origin may not serve: %v", r)
	}
	d, view := serveDNS(t, members, func(c *DNSConfig) { c.OriginMayServe = true })
	if got := addrsOf(t, ask(t, d, testZone, dns.TypeA), 5); got != "127.0.0.1" {
		t.Errorf("the origin may serve: %q", got)
	}
	view.set(threeRelays...)
	d.forget()
	if got := addrsOf(t, ask(t, d, testZone, dns.TypeA), 30); strings.Contains(got, "127.0.0.1 ") {
		t.Errorf("relays are ready: %q", got)
	}
}

func soaTTL(r *dns.Msg) int {
	if len(r.Ns) != 1 {
		return -1
	}
	soa, ok := r.Ns[0].(*dns.SOA)
	if !ok || soa.Minttl != soa.Hdr.Ttl {
		return -1
	}
	return int(soa.Hdr.Ttl)
}

func TestDNSRelaysOwnNames(t *testing.T) {
	d, _ := serveDNS(t, append(slices.Clone(threeRelays), node(RoleRelay, StatusServing, "2001:db8::7")))
	own := func(ip string) string { return RelayName(netip.MustParseAddr(ip)) + "." + testZone }
	if got := own("127.0.0.2"); got != "e-7f000002."+testZone {
		t.Errorf("name %s", got)
	}
	tests := []struct {
		name  string
		qtype uint16
		want  string
	}{
		{own("127.0.0.3"), dns.TypeA, "127.0.0.3"},
		{own("127.0.0.3"), dns.TypeAAAA, ""},
		{strings.ToUpper(own("127.0.0.3")), dns.TypeANY, "127.0.0.3"},
		{own("2001:db8::7"), dns.TypeAAAA, "2001:db8::7"},
		{own("2001:db8::7"), dns.TypeA, ""},
		{own("127.0.0.5"), dns.TypeA, "127.0.0.2 127.0.0.3 127.0.0.4"}, // warming: the pool's
		{own("203.0.113.1"), dns.TypeAAAA, "2001:db8::7"},              // of nobody
	}
	for _, tt := range tests {
		r := ask(t, d, tt.name, tt.qtype)
		if got := addrsOf(t, r, 30); got != tt.want || r.Rcode != dns.RcodeSuccess {
			t.Errorf("%s %s: %q, want %q", tt.name, dns.TypeToString[tt.qtype], got, tt.want)
		}
	}
}

func TestNewDNSRefusesWhatCanNotWork(t *testing.T) {
	tests := map[string]func(*DNSConfig){
		"no domain name": func(c *DNSConfig) { c.Zone = "..bad" },
		"has no address": func(c *DNSConfig) { c.NS = []NameServer{{Name: "ns1"}} },
		"ttl":            func(c *DNSConfig) { c.TTL = time.Millisecond },
		"open dns":       func(c *DNSConfig) { c.Listen = []string{"127.0.0.1"} },
		"view":           func(c *DNSConfig) { c.View = nil },
	}
	for want, change := range tests {
		cfg := DNSConfig{Listen: []string{"127.0.0.53:0"}, Zone: testZone, View: func() []Member { return nil }}
		change(&cfg)
		if _, err := NewDNS(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
