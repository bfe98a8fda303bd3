package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestDNSAnswers(t *testing.T) {
	d, _ := serveDNS(t, threeRelays, func(c *DNSConfig) {
		c.NS = append(c.NS,
			NameServer{Name: "ns2.dns." + testZone, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("192.0.2.53")}},
			NameServer{Name: "ns.example.org."})
	})
	tests := []struct {
		name     string
		qtype    uint16
		rcode    int
		aa       bool
		answers  int
		negative bool // SOA in the authority section
	}{
		{testZone, dns.TypeSOA, dns.RcodeSuccess, true, 1, false},
		{testZone, dns.TypeNS, dns.RcodeSuccess, true, 3, false},
		{testZone, dns.TypeANY, dns.RcodeSuccess, true, 3, false},
		{testZone, dns.TypeAAAA, dns.RcodeSuccess, true, 0, true},
		{testZone, dns.TypeHTTPS, dns.RcodeSuccess, true, 0, true},
		{testZone, dns.TypeSVCB, dns.RcodeSuccess, true, 0, true},
		{testZone, dns.TypeCAA, dns.RcodeSuccess, true, 0, true},
		{testZone, dns.TypeDS, dns.RcodeSuccess, true, 0, true},
		{testZone, 65280, dns.RcodeSuccess, true, 0, true},
		{"ns1." + testZone, dns.TypeA, dns.RcodeSuccess, true, 1, false},
		{"ns1." + testZone, dns.TypeAAAA, dns.RcodeSuccess, true, 0, true},
		{"ns1." + testZone, dns.TypeTXT, dns.RcodeSuccess, true, 0, true},
		{"ns2.dns." + testZone, dns.TypeAAAA, dns.RcodeSuccess, true, 1, false},
		{"dns." + testZone, dns.TypeA, dns.RcodeSuccess, true, 0, true}, // empty non-terminal
		{"nobody." + testZone, dns.TypeA, dns.RcodeNameError, true, 0, true},
		{"a.ns1." + testZone, dns.TypeA, dns.RcodeNameError, true, 0, true},
		{"a.e-7f000002." + testZone, dns.TypeA, dns.RcodeNameError, true, 0, true},
		{"e-7f0002." + testZone, dns.TypeA, dns.RcodeNameError, true, 0, true},
		{"e-7f00000g." + testZone, dns.TypeA, dns.RcodeNameError, true, 0, true},
		{`a\.` + testZone, dns.TypeA, dns.RcodeRefused, false, 0, false}, // one label "a.live"
		{"surgecast.test.", dns.TypeA, dns.RcodeRefused, false, 0, false},
		{"xlive.surgecast.test.", dns.TypeA, dns.RcodeRefused, false, 0, false},
		{"example.org.", dns.TypeA, dns.RcodeRefused, false, 0, false},
		{".", dns.TypeNS, dns.RcodeRefused, false, 0, false},
		{testZone, dns.TypeAXFR, dns.RcodeRefused, false, 0, false},
		{testZone, dns.TypeIXFR, dns.RcodeRefused, false, 0, false},
	}
	for _, tt := range tests {
		for _, network := range []string{"udp", "tcp"} {
			what := fmt.Sprintf("%s %s %s", network, tt.name, dns.Type(tt.qtype))
			r := exchange(t, d, network, question(tt.name, tt.qtype))
			if r.Rcode != tt.rcode || r.Authoritative != tt.aa || len(r.Answer) != tt.answers {
				t.Errorf("%s:\n%v", what, r)
			}
			if got := soaTTL(r); (got == negativeTTL) != tt.negative {
				t.Errorf("%s: the negative SOA has TTL %d", what, got)
			}
			if r.IsEdns0() != nil {
				t.Errorf("%s: an OPT that was not asked for", what)
			}
		}
	}
	if r := ask(t, d, testZone, dns.TypeNS); len(r.Extra) != 3 {
		t.Errorf("NS without glue:\n%v", r)
	}
}

func TestDNSEdns(t *testing.T) {
	d, _ := serveDNS(t, threeRelays, func(c *DNSConfig) { c.ID = "node-1" })
	with := func(change func(*dns.OPT)) *dns.Msg {
		m := question(testZone, dns.TypeSOA)
		m.SetEdns0(4096, false)
		change(m.IsEdns0())
		return exchange(t, d, "udp", m)
	}
	if r := with(func(*dns.OPT) {}); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 || r.IsEdns0().UDPSize() != udpBytes || r.IsEdns0().Version() != 0 {
		t.Errorf("plain EDNS:\n%v", r)
	}
	if r := with(func(o *dns.OPT) { o.SetVersion(100) }); r.Rcode != dns.RcodeBadVers || len(r.Answer)+len(r.Ns) != 0 || r.IsEdns0().Version() != 0 || r.Authoritative {
		t.Errorf("version 100:\n%v", r)
	}
	if r := with(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 100, Data: []byte{1}}) }); r.Rcode != dns.RcodeSuccess || len(r.IsEdns0().Option) != 0 {
		t.Errorf("unknown option:\n%v", r)
	}
	if r := with(func(o *dns.OPT) { o.SetZ(0x80) }); r.Rcode != dns.RcodeSuccess || r.IsEdns0().Z() != 0 {
		t.Errorf("Z bits:\n%v", r)
	}
	if r := with(func(o *dns.OPT) { o.SetDo() }); !r.IsEdns0().Do() || len(r.Answer) != 1 {
		t.Errorf("DO:\n%v", r)
	}
	r := with(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}) })
	if o := r.IsEdns0().Option; len(o) != 1 || o[0].String() != "6e6f64652d31" {
		t.Errorf("NSID:\n%v", r)
	}
	r = with(func(o *dns.OPT) {
		o.Option = append(o.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IP{192, 0, 2, 0}})
	})
	if o := r.IsEdns0().Option; len(o) != 1 || o[0].String() != "192.0.2.0/24/0" {
		t.Errorf("client subnet:\n%v", r)
	}
	m := question(testZone, dns.TypeSOA)
	m.SetEdns0(1232, false)
	m.SetEdns0(1232, false)
	if r := exchange(t, d, "udp", m); r.Rcode != dns.RcodeFormatError {
		t.Errorf("two OPTs:\n%v", r)
	}
}

func TestDNSClassesAndOpcodes(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	for _, name := range []string{"version.bind.", "id.server.", testZone} {
		m := question(name, dns.TypeTXT)
		m.Question[0].Qclass = dns.ClassCHAOS
		if r := exchange(t, d, "udp", m); r.Rcode != dns.RcodeRefused || r.Authoritative {
			t.Errorf("CHAOS %s:\n%v", name, r)
		}
	}
	for _, opcode := range []int{dns.OpcodeNotify, dns.OpcodeUpdate, dns.OpcodeStatus, dns.OpcodeIQuery} {
		m := question(testZone, dns.TypeSOA)
		m.Opcode = opcode
		if r := exchange(t, d, "tcp", m); r.Rcode != dns.RcodeNotImplemented || r.Opcode != opcode {
			t.Errorf("%s:\n%v", dns.OpcodeToString[opcode], r)
		}
	}
	m := question(testZone, dns.TypeA)
	m.Question = append(m.Question, m.Question[0])
	if r := exchange(t, d, "udp", m); r.Rcode != dns.RcodeFormatError {
		t.Errorf("two questions:\n%v", r)
	}
}

func TestDNSEchoesTheQuestionsCase(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	for _, name := range []string{"LiVe.SuRgEcAsT.tEsT.", "E-7F000002.lIVE.surgecast.TEST.", "NoBody.live.SURGECAST.test."} {
		query, err := question(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		r := d.Respond(query, true)
		if len(r) < len(query) || string(r[dnsHeaderBytes:len(query)]) != string(query[dnsHeaderBytes:]) {
			t.Errorf("%s: the question came back otherwise", name)
		}
		if m := ask(t, d, name, dns.TypeA); len(m.Answer) > 0 && m.Answer[0].Header().Name != name {
			t.Errorf("%s: the answer is for %s", name, m.Answer[0].Header().Name)
		}
	}
}

func TestDNSTruncates(t *testing.T) {
	d, _ := serveDNS(t, threeRelays, func(c *DNSConfig) {
		for i := range 40 {
			c.NS = append(c.NS, NameServer{Name: fmt.Sprintf("a-long-name-of-a-server-%d.of-zone-%d.example.org.", i, i*i)})
		}
	})
	for _, size := range []uint16{0, 100, 512, 1232, 4096} {
		m := question(testZone, dns.TypeNS)
		limit := 512
		if size > 0 {
			m.SetEdns0(size, false)
			limit = min(max(int(size), 512), udpBytes)
		}
		query, _ := m.Pack()
		if answer := d.Respond(query, true); len(answer) > limit {
			t.Errorf("size %d: %d bytes", size, len(answer))
		}
		r := exchange(t, d, "udp", m)
		if !r.Truncated || len(r.Answer) != 0 || (r.IsEdns0() != nil) != (size > 0) {
			t.Errorf("size %d over UDP:\n%v", size, r)
		}
		if r := exchange(t, d, "tcp", m); r.Truncated || len(r.Answer) != 41 {
			t.Errorf("size %d over TCP:\n%v", size, r)
		}
	}
}

func TestDNSDropsAnswers(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	m := question(testZone, dns.TypeA)
	m.Response = true
	b, _ := m.Pack()
	conn, err := net.Dial("udp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write(b)
	conn.Write([]byte("too short"))
	b, _ = question(testZone, dns.TypeSOA).Pack()
	conn.Write(b) // the one that is answered
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil || n < 2 || string(buf[:2]) != string(b[:2]) {
		t.Errorf("the first that came back is not the query's answer: %x, %v", buf[:n], err)
	}
}

func TestDNSWithDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("dig is not installed")
	}
	d, _ := serveDNS(t, threeRelays)
	host, port, _ := net.SplitHostPort(d.Addr().String())
	tests := []struct {
		args string
		want []string
		not  string
	}{
		{"live.surgecast.test", []string{"NOERROR", "flags: qr aa", "ANSWER: 3", "127.0.0.2"}, "WARNING: recursion requested and available"},
		{"+tcp live.surgecast.test soa", []string{"NOERROR", "hostmaster.live.surgecast.test."}, ""},
		{"+noedns live.surgecast.test soa", []string{"NOERROR", "ANSWER: 1"}, "EDNS"},
		{"+edns=100 +noednsneg live.surgecast.test soa", []string{"BADVERS", "EDNS: version: 0", "ANSWER: 0"}, ""},
		{"+ednsopt=100 live.surgecast.test soa", []string{"NOERROR", "ANSWER: 1"}, "OPT=100"},
		{"+ednsflags=0x80 live.surgecast.test soa", []string{"NOERROR"}, "MBZ"},
		{"+dnssec live.surgecast.test", []string{"NOERROR", "flags: do"}, "RRSIG"},
		{"+nsid live.surgecast.test", []string{"NOERROR", "ANSWER: 3"}, "malformed"},
		{"+subnet=192.0.2.0/24 live.surgecast.test", []string{"CLIENT-SUBNET: 192.0.2.0/24/0"}, ""},
		{"ch txt version.bind", []string{"REFUSED"}, ""},
		{"LiVe.surgecast.TEST", []string{";LiVe.surgecast.TEST.", "ANSWER: 3"}, ""},
		{"+opcode=notify live.surgecast.test soa", []string{"NOTIMP"}, ""},
		{"live.surgecast.test axfr", []string{"Transfer failed"}, ""},
	}
	for _, tt := range tests {
		args := append([]string{"@" + host, "-p", port, "+tries=1", "+time=2"}, strings.Fields(tt.args)...)
		out, err := exec.Command(dig, args...).CombinedOutput()
		for _, want := range tt.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("dig %s: no %q (%v)\n%s", tt.args, want, err, out)
			}
		}
		if tt.not != "" && strings.Contains(string(out), tt.not) {
			t.Errorf("dig %s: %q\n%s", tt.args, tt.not, out)
		}
	}
}

func FuzzRespond(f *testing.F) {
	view := &fakeView{members: threeRelays}
	d, err := NewDNS(DNSConfig{
		Zone: testZone, View: view.list,
		NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []*dns.Msg{
		question(testZone, dns.TypeA), question(testZone, dns.TypeANY), question("e-7f000002."+testZone, dns.TypeAAAA),
		question(testZone, dns.TypeAXFR), question("x."+testZone, 65280), new(dns.Msg).SetNotify(testZone),
	} {
		m.SetEdns0(1232, true)
		b, _ := m.Pack()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		for _, udp := range []bool{true, false} {
			answer := d.Respond(query, udp)
			if answer == nil {
				if len(query) >= dnsHeaderBytes && query[2]&0x80 == 0 {
					t.Fatal("a query was not answered")
				}
				continue
			}
			if len(answer) < dnsHeaderBytes || answer[2]&0x80 == 0 || query[2]&0x80 != 0 || string(answer[:2]) != string(query[:2]) {
				t.Fatalf("%x was answered by %x", query, answer)
			}
			if udp && len(answer) > udpBytes {
				t.Fatalf("%d bytes over UDP", len(answer))
			}
			var m dns.Msg
			if err := m.Unpack(answer); err != nil {
				t.Fatalf("answer %x can't be read: %v", answer, err)
			}
			if m.Rcode == dns.RcodeSuccess && len(m.Answer)+len(m.Ns) == 0 && !m.Truncated {
				t.Fatal("an empty answer without SOA")
			}
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	var members []Member
	for i := range 100 {
		members = append(members, node(RoleRelay, StatusServing, fmt.Sprintf("10.0.0.%d", i+1)))
	}
	d, _ := NewDNS(DNSConfig{
		Zone: testZone, View: func() []Member { return members },
		NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
	})
	query, _ := question(testZone, dns.TypeA).Pack()
	b.ReportAllocs()
	for b.Loop() {
		d.Respond(query, true)
	}
}
