package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

func TestDNSNamesTheGossip(t *testing.T) {
	members := slices.Clone(threeRelays)
	for i := range members {
		members[i].Address = netip.AddrPortFrom(members[i].Address.Addr(), 7946)
	}
	for i := range 20 {
		members = append(members, node(RoleRelay, StatusServing, fmt.Sprintf("127.0.1.%d", i)))
	}
	d, _ := serveDNS(t, members)
	name := "_gossip." + testZone
	r := ask(t, d, name, dns.TypeTXT)
	if len(r.Answer) != maxGossip || r.Answer[0].(*dns.TXT).Txt[0] != "127.0.0.1:7946" || r.Answer[0].Header().Ttl != gossipTTL {
		t.Errorf("TXT:\n%v", r)
	}
	r = ask(t, d, name, dns.TypeSRV)
	if len(r.Answer) != maxGossip {
		t.Errorf("SRV:\n%v", r)
	}
	for _, rr := range r.Answer {
		srv := rr.(*dns.SRV)
		at, addr := d.zone.find(dns.CanonicalName(srv.Target))
		if at != atRelay || addr == members[0].Address.Addr() || srv.Port == 0 {
			t.Errorf("odd target %v", srv)
		}
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeANY, dns.TypeMX} {
		if r := ask(t, d, name, qtype); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 || soaTTL(r) != negativeTTL {
			t.Errorf("%s:\n%v", dns.Type(qtype), r)
		}
	}
	if r := ask(t, d, "a."+name, dns.TypeTXT); r.Rcode != dns.RcodeNameError {
		t.Errorf("below it:\n%v", r)
	}
}
