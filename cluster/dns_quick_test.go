package cluster

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// oneRelay of each family: then answers are drawn of one, and can be compared.
func oneRelay() []Member {
	six := node(RoleRelay, StatusServing, "10.0.0.8")
	six.State.Public = "[2001:db8::8]:443"
	return []Member{node(RoleRelay, StatusServing, "127.0.0.2"), six}
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
	d, _ := silentDNS(t, oneRelay())
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
		{"e-7f000002." + testZone, dns.TypeAAAA, nil, false},
		{"e-7f00000g." + testZone, dns.TypeA, nil, false},
		{"e-7f0002." + testZone, dns.TypeA, nil, false},
		{"f-7f000002." + testZone, dns.TypeA, nil, false},
		{"a.e-7f000002." + testZone, dns.TypeA, nil, false},
		{"e-.7f00002." + testZone, dns.TypeA, nil, false},
		{"xlive.surgecast.test.", dns.TypeA, nil, false},
		{"surgecast.test.", dns.TypeA, nil, false},
		{".", dns.TypeA, nil, false},
		{testZone, dns.TypeANY, nil, false},
		{testZone, dns.TypeSOA, nil, false},
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

func TestDNSQuickWayAllocatesNothing(t *testing.T) {
	var members []Member
	for range 3 {
		members = append(members, threeRelays...)
	}
	d, _ := silentDNS(t, members)
	query, out := packed(question(testZone, dns.TypeA)), make([]byte, 0, udpBytes)
	d.respond(out, query, netip.Addr{}, true)
	d.roster.checked = d.roster.checked.AddDate(1, 0, 0) // no refresh while we count
	if n := testing.AllocsPerRun(100, func() { d.respond(out, query, netip.Addr{}, true) }); n > 0 {
		t.Errorf("%v allocations an answer", n)
	}
}

// FuzzQuickWay holds the quick way to the long one, whatever comes.
func FuzzQuickWay(f *testing.F) {
	view := &fakeView{members: oneRelay()}
	d, err := NewDNS(DNSConfig{
		Zone: testZone, View: view.list,
		NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{testZone, "e-7f000002." + testZone, "e-20010db8000000000000000000000008." + testZone} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			m := question(name, qtype)
			f.Add(packed(m))
			m.SetEdns0(1232, true)
			f.Add(packed(m))
		}
	}
	f.Fuzz(func(t *testing.T, query []byte) { requireAlike(t, d, query) })
}
