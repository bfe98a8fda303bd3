package cluster

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// oneRelay of each family: then answers are drawn of one, and can be compared.
func oneRelay() []Member {
	six := node(RoleRelay, StatusServing, "10.0.0.8")
	six.State.Public = "[2001:db8::8]:443"
	return []Member{node(RoleRelay, StatusServing, "127.0.0.2"), six}
}

// quickServers are name servers of each sort, in the zone and elsewhere.
func quickServers(c *DNSConfig) {
	c.NS = append(c.NS,
		NameServer{Name: "ns2.dns." + testZone, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("192.0.2.53")}},
		NameServer{Name: "ns.surgecast.test."})
}

func requireAlike(t *testing.T, d *DNS, query []byte) (quick bool) {
	t.Helper()
	answer, quick := d.quick(nil, query, netip.Addr{})
	if !quick {
		return false
	}
	for _, udp := range []bool{true, false} {
		if long := d.respondAny(query, netip.Addr{}, udp); string(answer) != string(long) {
			t.Errorf("%x (udp: %t)\nquick %x\nlong  %x", query, udp, answer, long)
		}
	}
	return true
}

// The quick way gives the bytes of the long way, and is taken where it should be.
func TestDNSQuickWay(t *testing.T) {
	d, _ := silentDNS(t, oneRelay(), quickServers)
	edns := func(size uint16, do bool, change ...func(*dns.OPT)) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.SetEdns0(size, do)
			for _, c := range change {
				c(m.IsEdns0())
			}
		}
	}
	for _, tt := range []struct {
		name   string
		qtype  uint16
		change func(*dns.Msg)
		quick  bool
	}{
		{testZone, dns.TypeA, nil, true},
		{testZone, dns.TypeAAAA, nil, true},
		{"LIVE.sUrGeCaSt.TEST.", dns.TypeA, edns(4096, true), true},
		{testZone, dns.TypeA, func(m *dns.Msg) { m.RecursionDesired = true }, true},
		{testZone, dns.TypeA, func(m *dns.Msg) { m.CheckingDisabled, m.AuthenticatedData = true, true }, true},
		{testZone, dns.TypeA, edns(0, false), true},
		{"e-7f000002." + testZone, dns.TypeA, edns(1232, false), true},
		{"E-7F000002." + testZone, dns.TypeA, nil, true},
		{"e-20010db8000000000000000000000008." + testZone, dns.TypeAAAA, nil, true},
		{"e-7f000009." + testZone, dns.TypeAAAA, nil, true}, // the pool's sample
		{"e-7f000002." + testZone, dns.TypeAAAA, nil, true}, // nothing
		{"e-7f000002." + testZone, dns.TypeHTTPS, edns(1232, true), true},
		{testZone, dns.TypeHTTPS, nil, true},
		{testZone, 65280, edns(1232, false), true},
		{testZone, dns.TypeSOA, nil, true},
		{"LIVE.surgecast.TEST.", dns.TypeNS, edns(1232, true), true},
		{"ns1." + testZone, dns.TypeA, nil, true},
		{"NS1." + testZone, dns.TypeAAAA, edns(1232, false), true},
		{"ns2.dns." + testZone, dns.TypeAAAA, nil, true},
		{"WWW." + testZone, dns.TypeA, edns(1232, true), true}, // not there
		{strings.Repeat("w", maxLabel) + "." + testZone, dns.TypeTXT, nil, true},
		{`a\.b\000.` + testZone, dns.TypeA, nil, true},
		{"e-7f00000g." + testZone, dns.TypeA, nil, true},
		{"e-7f0002." + testZone, dns.TypeA, nil, true},
		{"f-7f000002." + testZone, dns.TypeA, nil, true},
		{testZone, dns.TypeA, edns(1232, true, func(o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
		}), true},
		{"ns1." + testZone, dns.TypeTXT, nil, false},
		{"dns." + testZone, dns.TypeA, nil, false}, // above a name server
		{"_gossip." + testZone, dns.TypeAAAA, nil, false},
		{"a.b." + testZone, dns.TypeA, nil, false},
		{"a.e-7f000002." + testZone, dns.TypeA, nil, false},
		{"xlive.surgecast.test.", dns.TypeA, nil, false},
		{"surgecast.test.", dns.TypeA, nil, false},
		{".", dns.TypeA, nil, false},
		{testZone, dns.TypeANY, nil, false},
		{"ns1." + testZone, dns.TypeANY, nil, false},
		{testZone, dns.TypeAXFR, nil, false},
		{testZone, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, false},
		{testZone, dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, false},
		{testZone, dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, false},
		{testZone, dns.TypeA, func(m *dns.Msg) { m.Response = true }, false},
		{testZone, dns.TypeA, edns(1232, false, func(o *dns.OPT) { o.SetVersion(1) }), false},
		{testZone, dns.TypeA, edns(1232, false, func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}) }), false},
	} {
		m := question(tt.name, tt.qtype)
		if tt.change != nil {
			tt.change(m)
		}
		query := packed(m)
		if quick := requireAlike(t, d, query); quick != tt.quick {
			t.Errorf("%s: quick: %t", m, quick)
		}
		for i := range query { // cut anywhere it goes the long way
			if _, quick := d.quick(nil, query[:i], netip.Addr{}); quick && i < len(query) && query[11] != 0 {
				t.Errorf("the first %d bytes of %x went the quick way", i, query)
			}
		}
	}
}

// Before any relay is ready, and where one has no address of the family.
func TestDNSQuickWayWithoutRelays(t *testing.T) {
	for _, members := range [][]Member{nil, {node(RoleRelay, StatusServing, "127.0.0.2")}} {
		d, _ := silentDNS(t, members)
		for _, name := range []string{testZone, "e-7f000002." + testZone, "nobody." + testZone} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
				if !requireAlike(t, d, packed(question(name, qtype))) {
					t.Errorf("%s %s went the long way", name, dns.Type(qtype))
				}
			}
		}
	}
}

// What may be too long for UDP goes the long way, which cuts it.
func TestDNSQuickWayLeavesLongAnswers(t *testing.T) {
	d, _ := silentDNS(t, threeRelays, func(c *DNSConfig) {
		for i := range 40 {
			c.NS = append(c.NS, NameServer{Name: fmt.Sprintf("a-long-name-of-a-server-%d.of-zone-%d.example.org.", i, i*i)})
		}
	})
	if _, quick := d.quick(nil, packed(question(testZone, dns.TypeNS)), netip.Addr{}); quick {
		t.Error("an answer of 41 servers")
	}
}

func TestDNSQuickWayAllocatesNothing(t *testing.T) {
	var members []Member
	for range 3 {
		members = append(members, threeRelays...)
	}
	d, _ := silentDNS(t, members, func(c *DNSConfig) { c.RateLimit = 1e6 })
	d.forget()
	reply(t, d, testZone, dns.TypeA)
	d.roster.checked = d.roster.checked.AddDate(1, 0, 0) // no refresh while we count
	out, from := make([]byte, 0, udpBytes), netip.MustParseAddr("192.0.2.1")
	for _, q := range []*dns.Msg{
		question(testZone, dns.TypeA), question(testZone, dns.TypeAAAA), question("e-7f000002."+testZone, dns.TypeA),
		question(testZone, dns.TypeHTTPS), question(testZone, dns.TypeSOA), question("ns1."+testZone, dns.TypeA), question("nobody."+testZone, dns.TypeA),
	} {
		query := packed(q.SetEdns0(1232, false))
		if n := testing.AllocsPerRun(100, func() { d.respond(out, query, from, true) }); n > 0 {
			t.Errorf("%v allocations an answer to\n%v", n, q)
		}
	}
}

// FuzzQuickWay holds the quick way to the long one, whatever comes.
func FuzzQuickWay(f *testing.F) {
	view := &fakeView{members: oneRelay()}
	cfg := DNSConfig{
		Zone: testZone, View: view.list,
		NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
	}
	quickServers(&cfg)
	d, err := NewDNS(cfg)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{
		testZone, "e-7f000002." + testZone, "e-20010db8000000000000000000000008." + testZone,
		"WWW." + testZone, "ns1." + testZone, "ns2.dns." + testZone, "dns." + testZone, "_gossip." + testZone,
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSOA, dns.TypeNS, dns.TypeHTTPS} {
			m := question(name, qtype)
			f.Add(packed(m))
			m.SetEdns0(1232, true)
			f.Add(packed(m))
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
			f.Add(packed(m))
		}
	}
	f.Fuzz(func(t *testing.T, query []byte) { requireAlike(t, d, query) })
}
