package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"surgecast/cluster"
	"surgecast/origin/origintest"
)

func TestLocateSecond(t *testing.T) {
	addr := netip.MustParseAddr
	dual := []link{linkWith("a", "10.0.0.5/24", "fe80::5/64", "2001:db8::5/64"), linkWith("b", "2001:db8:1::5/64")}
	for _, test := range []struct {
		name   string
		links  []link
		first  reach
		second SecondAddress
		want   netip.Addr
		warns  string
	}{
		{"the interface's", dual, reach{Address: addr("10.0.0.5")}, SecondAddress{}, addr("2001:db8::5"), ""},
		{"behind NAT", dual, reach{Address: addr("10.0.0.5"), Public: addr("203.0.113.5")}, SecondAddress{}, addr("2001:db8::5"), ""},
		{"off", dual, reach{Address: addr("10.0.0.5")}, SecondAddress{Off: true}, netip.Addr{}, ""},
		{"configured", dual, reach{Address: addr("10.0.0.5")}, SecondAddress{Address: Address{addr("2001:db8:1::5")}}, addr("2001:db8:1::5"), ""},
		{"configured, of another machine", dual, reach{Address: addr("10.0.0.5")}, SecondAddress{Address: Address{addr("2001:db8::9")}}, netip.Addr{}, "may be a copy"},
		{"configured, of the first's family", dual, reach{Address: addr("10.0.0.5")}, SecondAddress{Address: Address{addr("10.0.0.6")}}, netip.Addr{}, "same family"},
		{"IPv6 first, IPv4 behind NAT", dual, reach{Address: addr("2001:db8::5")}, SecondAddress{}, netip.Addr{}, ""},
		{"IPv6 first", []link{linkWith("a", "2001:db8::5/64", "192.0.2.5/24")}, reach{Address: addr("2001:db8::5")}, SecondAddress{}, addr("192.0.2.5"), ""},
		{"two", []link{linkWith("a", "10.0.0.5/24", "2001:db8::5/64", "2001:db8::6/64")}, reach{Address: addr("10.0.0.5")}, SecondAddress{}, netip.Addr{}, "several addresses"},
		{"only a local one", []link{linkWith("a", "10.0.0.5/24", "fd00::5/64")}, reach{Address: addr("10.0.0.5")}, SecondAddress{}, netip.Addr{}, ""},
		{"a trial on one machine", []link{linkWith("", "127.0.0.1/8", "::1/128")}, reach{Address: addr("127.0.0.1")}, SecondAddress{}, netip.Addr{}, ""},
		{"the same, configured", []link{linkWith("", "127.0.0.1/8", "::1/128")}, reach{Address: addr("127.0.0.1")}, SecondAddress{Address: Address{addr("::1")}}, addr("::1"), ""},
	} {
		var log strings.Builder
		l := locator{config: &NodeConfig{SecondAddress: test.second}, links: test.links, log: slog.New(slog.NewTextHandler(&log, nil))}
		got := l.second(test.first)
		if got != test.want || !strings.Contains(log.String(), test.warns) || test.warns == "" && log.Len() > 0 {
			t.Errorf("%s: %v, want %v\n%s", test.name, got, test.want, log.String())
		}
	}
}

// Of several addresses it is the one that the cloud names.
func TestSecondAsTheCloudSays(t *testing.T) {
	addr := netip.MustParseAddr
	links := []link{linkWith("a", "10.0.0.5/24", "2001:db8::5/64", "2001:db8::6/64")}
	for told, want := range map[netip.Addr]netip.Addr{addr("2001:db8::6"): addr("2001:db8::6"), addr("2001:db8::7"): {}} {
		l := locator{config: &NodeConfig{}, links: links, cloud: answered(cloud{IPv6: told}), log: slog.New(slog.DiscardHandler)}
		if got := l.second(reach{Address: addr("10.0.0.5")}); got != want {
			t.Errorf("the cloud says %v: got %v, want %v", told, got, want)
		}
	}
}

// A machine's way to an address is found without a packet; this one has one to
// itself.
func TestRoutes(t *testing.T) {
	if !realEnvironment().Routes(netip.MustParseAddr("127.0.0.1")) {
		t.Error("no way to 127.0.0.1")
	}
}

// storySecond is the second address of a story's node, by its first one.
func storySecond(first string) string {
	raw := netip.MustParseAddr(first).As4()
	return fmt.Sprintf("2001:db8::%x", raw[3])
}

// dualStack gives all nodes of a story a second address but the one that is left
// out.
func (s *story) dualStack(without string) {
	s.machine = func(o *nodeOptions) {
		if o.Address.String() == without {
			return
		}
		o.Second = netip.MustParseAddr(storySecond(o.Address.String()))
		first, second := o.Env.Listen, s.net.Host(o.Second.String())
		o.Env.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
			if netip.MustParseAddrPort(address).Addr() == second.Addr() {
				return second.Listen(address)
			}
			return first(ctx, network, address)
		}
	}
}

// A pool of two families: what viewers of each are told, and what becomes of a
// relay whose IPv6 fails, and comes back.
func TestStoryOfTwoFamilies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.dualStack(storyRelay(2)) // an IPv4 relay among them
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range 3 {
			s.startRelay(nodes, i)
		}
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(10 * time.Second)
		f := &families{
			newcomers: &newcomers{s, s.newcomer()}, names: s.nameServer(),
			v4:  []string{storyRelay(0), storyRelay(1), storyRelay(2)},
			v6:  []string{storySecond(storyRelay(0)), storySecond(storyRelay(1))},
			own: cluster.RelayID(netip.MustParseAddr(storyRelay(1))) + "." + familiesZone,
		}
		f.allWell()
		f.secondFails()
		stopFeed()
		stop()
		s.end()
	})
}

// families is a pool whose nodes but one have both, and its DNS.
type families struct {
	*newcomers
	names  *cluster.DNS
	v4, v6 []string // the relays'
	own    string   // the second relay's name
}

const familiesZone = "live.example.org."

func (f *families) allWell() {
	f.expectNamed(f.names, familiesZone, dns.TypeA, f.v4...)
	f.expectNamed(f.names, familiesZone, dns.TypeAAAA, f.v6...)
	f.expectNamed(f.names, f.own, dns.TypeA, f.v4[1])
	f.expectNamed(f.names, f.own, dns.TypeAAAA, f.v6[1])
	id := func(i int) string { return cluster.RelayID(netip.MustParseAddr(storyRelay(i))) }
	f.expect("sent over IPv4", f.sent(storyOrigin()), f.v4...)
	f.expect("sent over IPv6", f.sent(storySecond(storyOrigin())), f.v6...)
	f.expect("steered over IPv4", f.told(storyRelay(0)), id(0), id(1), id(2))
	f.expect("steered over IPv6", f.told(f.v6[0]), id(0), id(1))
	text := f.ask(f.v6[0], "/theatre/index.m3u8")
	if !strings.Contains(text, "http://["+f.v6[1]+"]:8080/") || strings.Contains(text, "http://10.") {
		f.t.Errorf("over IPv6 a multivariant playlist says\n%s", text)
	}
	if status := f.relays[1].ownStatus(); status.SecondAddress != "["+f.v6[1]+"]:8080" || status.Address != storyRelay(1)+":8080" {
		f.t.Errorf("its status: %+v", status)
	}
}

// secondFails cuts the second relay's IPv6 from all, for a while.
func (f *families) secondFails() {
	probers := []string{storyOrigin(), storyRelay(0), storyRelay(2)}
	for _, one := range probers {
		f.net.Cut(one, f.v6[1])
	}
	time.Sleep(5 * time.Second)
	f.expectNamed(f.names, familiesZone, dns.TypeA, f.v4...)
	f.expectNamed(f.names, familiesZone, dns.TypeAAAA, f.v6[0])
	f.expectNamed(f.names, f.own, dns.TypeA, f.v4[1])
	f.expectNamed(f.names, f.own, dns.TypeAAAA)
	f.expect("sent over IPv6 while one fails", f.sent(storySecond(storyOrigin())), f.v6[0])
	f.expect("sent over IPv4 while one fails", f.sent(storyOrigin()), f.v4...)
	if got := f.relays[1].status(); got != cluster.StatusServing {
		f.t.Errorf("the relay is %s", got)
	}
	for _, one := range probers {
		f.net.Heal(one, f.v6[1])
	}
	time.Sleep(5 * time.Second)
	f.expectNamed(f.names, familiesZone, dns.TypeAAAA, f.v6...)
}

// told are the pathways that a viewer at a relay's address is told.
func (f *families) told(host string) []string {
	f.t.Helper()
	var m steeringManifest
	if err := json.Unmarshal([]byte(f.ask(host, "/steering/theatre?_HLS_throughput=1000000")), &m); err != nil {
		f.t.Fatal(err)
	}
	return slices.Sorted(slices.Values(m.Priority))
}

func (f *families) ask(host, path string) string {
	f.t.Helper()
	text, err := get(f.t.Context(), f.client, "http://"+net.JoinHostPort(host, "8080")+path, "")
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

func (f *families) expect(what string, got []string, want ...string) {
	f.t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// nameServer answers from the origin's view, without sockets.
func (s *story) nameServer() *cluster.DNS {
	d, err := cluster.NewDNS(cluster.DNSConfig{
		Zone:    "live.example.org",
		NS:      []cluster.NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr(storyOrigin())}}},
		View:    s.origin.cluster.Members,
		Healthy: s.origin.healthy,
		Second:  s.origin.secondAnswers,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// expectNamed checks the addresses that a name has.
func (s *story) expectNamed(d *cluster.DNS, name string, qtype uint16, want ...string) {
	s.t.Helper()
	query := new(dns.Msg)
	query.SetQuestion(name, qtype)
	packed, err := query.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // answers may be that old
	var reply dns.Msg
	if err := reply.Unpack(d.Respond(packed, true)); err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, record := range reply.Answer {
		got = append(got, record.String()[strings.LastIndexByte(record.String(), '\t')+1:])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s %s: %v, want %v", name, dns.TypeToString[qtype], got, want)
	}
}
