package cluster

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// parentZone is a server that is both the zone above and a resolver.
type parentZone struct {
	ns   []string          // it delegates to
	glue map[string]string // address by name
}

func (p parentZone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	switch name := q.Question[0].Name; {
	case q.RecursionDesired && name == "surgecast.test." && q.Question[0].Qtype == dns.TypeNS:
		m.Answer = records("surgecast.test. 3600 IN NS ns.surgecast.test.")
	case q.RecursionDesired && name == "ns.surgecast.test." && q.Question[0].Qtype == dns.TypeA:
		m.Answer = records("ns.surgecast.test. 3600 IN A " + w.LocalAddr().(*net.UDPAddr).IP.String())
	case !q.RecursionDesired && name == testZone:
		for _, ns := range p.ns {
			m.Ns = append(m.Ns, records(testZone+" 3600 IN NS "+ns)...)
		}
		for name, addr := range p.glue {
			m.Extra = append(m.Extra, records(name+" 3600 IN A "+addr)...)
		}
	}
	_ = w.WriteMsg(m)
}

func records(line string) []dns.RR {
	rr, err := dns.NewRR(line)
	if err != nil {
		panic(err)
	}
	return []dns.RR{rr}
}

// serve runs the zone above on a port of its own.
func (p parentZone) serve(t *testing.T) netip.AddrPort {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.54:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: p}
	started, ended := make(chan struct{}), make(chan error, 1)
	server.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		_ = server.ShutdownContext(context.WithoutCancel(t.Context()))
		<-ended
	})
	return packets.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestDelegationCheckParent(t *testing.T) {
	own := []NameServer{
		{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		{Name: "ns.example.org"}, // its address is found by its name
	}
	good := []string{"ns1." + testZone, "NS.example.org."}
	glue := map[string]string{"NS1." + testZone: "192.0.2.1"}
	for _, tt := range []struct {
		what   string
		parent parentZone
		want   string // of the error; "": none
	}{
		{"as it should be", parentZone{good, glue}, ""},
		{"nothing there", parentZone{}, "surgecast.test. does not delegate live.surgecast.test.: make the records there"},
		{"one is missing", parentZone{good[:1], glue}, "names the servers ns1.live.surgecast.test.; the configuration has ns.example.org. ns1"},
		{"no glue", parentZone{good, nil}, "gives no address 192.0.2.1 for ns1"},
		{"old glue", parentZone{good, map[string]string{"ns1." + testZone: "192.0.2.9"}}, "gives no address 192.0.2.1 for ns1"},
	} {
		d, err := NewDelegation("live.surgecast.test", own)
		if err != nil {
			t.Fatal(err)
		}
		resolver := tt.parent.serve(t)
		err = d.CheckParent(t.Context(), resolver, resolver.Port())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

func TestDelegationCheckServers(t *testing.T) {
	d, _ := serveDNS(t, threeRelays)
	port := d.Addr().(*net.UDPAddr).AddrPort().Port()
	server := NameServer{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.53")}}
	for _, tt := range []struct {
		what, zone string
		ns         []NameServer
		want       []string // the errors
	}{
		{"as it should be", testZone, []NameServer{server}, nil},
		{"another zone", "dead.surgecast.test", []NameServer{server}, []string{"by udp: answers REFUSED", "by tcp: answers REFUSED"}},
		{"one more server", testZone, []NameServer{server, {Name: "ns2.example.org"}}, []string{"by udp: names the servers ns1", "by tcp: names the servers ns1"}},
		{"nobody there", testZone, []NameServer{{Name: "ns1", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.55")}}}, []string{"by udp: no answer", "by tcp: no answer"}},
	} {
		delegation, err := NewDelegation(tt.zone, tt.ns)
		if err != nil {
			t.Fatal(err)
		}
		errs := delegation.CheckServers(t.Context(), port)
		if len(errs) != len(tt.want) {
			t.Errorf("%s: %v", tt.what, errs)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(errs[i].Error(), want) {
				t.Errorf("%s: %v, want %s", tt.what, errs[i], want)
			}
		}
	}
}
