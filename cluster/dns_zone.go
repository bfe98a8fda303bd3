package cluster

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// staticTTL is that of the name servers' records, in seconds: they stand on
	// small stable hosts.
	staticTTL = 3600
	// negativeTTL is how long "there is no such thing" may be believed, in
	// seconds.
	negativeTTL = 30
	// soaSerial is the same on all name servers, as checkers of zones want it.
	// Nobody copies the zone, so nobody needs to see it grow.
	soaSerial = 1
)

// zone is the names and the records that don't change.
type zone struct {
	apex   string // lower case, with the dot at the end, as all names here
	soa    dns.SOA
	ns     []string
	hosts  map[string][]netip.Addr // the name servers within the zone
	labels int                     // of apex
	wire   []byte                  // apex as it stands in a message
	ready  *readyAnswers
}

// place is what a name is to the zone.
type place int

const (
	outside place = iota // another zone's
	missing              // ours, and not there
	between              // no records, but names below it
	atApex
	atHost  // of a name server
	atRelay // a relay's own name
	atGossip
)

func newZone(name string, servers []NameServer) (*zone, error) {
	apex := dns.CanonicalName(name)
	if _, ok := dns.IsDomainName(name); !ok || apex == "." {
		return nil, fmt.Errorf("zone %q is no domain name", name)
	}
	z := &zone{apex: apex, hosts: make(map[string][]netip.Addr), labels: dns.CountLabel(apex)}
	z.wire = make([]byte, len(apex)+1) // each dot is a length, and one before the first
	if _, err := dns.PackDomainName(apex, z.wire, 0, nil, false); err != nil {
		return nil, fmt.Errorf("zone %q is no domain name: %w", name, err)
	}
	for _, server := range servers {
		if err := z.addServer(server); err != nil {
			return nil, err
		}
	}
	if len(z.ns) == 0 {
		return nil, errors.New("zone has no name server")
	}
	z.soa = dns.SOA{
		Hdr:     dns.RR_Header{Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: staticTTL},
		Ns:      z.ns[0],
		Mbox:    "hostmaster." + apex,
		Serial:  soaSerial,
		Refresh: 3600, Retry: 600, Expire: 14 * 24 * 3600, Minttl: negativeTTL,
	}
	var err error
	if z.ready, err = newReadyAnswers(z); err != nil {
		return nil, err
	}
	return z, nil
}

func (z *zone) addServer(server NameServer) error {
	name := server.Name
	if !strings.Contains(name, ".") {
		name += "." + z.apex
	}
	if _, ok := dns.IsDomainName(name); !ok || server.Name == "" {
		return fmt.Errorf("name server %q is no domain name", server.Name)
	}
	name = dns.CanonicalName(name)
	if dns.IsSubDomain(z.apex, name) {
		if len(server.Addrs) == 0 {
			return fmt.Errorf("name server %s is within the zone and has no address", name)
		}
		z.hosts[name] = server.Addrs
	}
	z.ns = append(z.ns, name)
	return nil
}

// find says what a canonical name is, and of a relay's name its address.
func (z *zone) find(name string) (place, netip.Addr) {
	switch {
	case !dns.IsSubDomain(z.apex, name):
		return outside, netip.Addr{}
	case name == z.apex:
		return atApex, netip.Addr{}
	case z.hosts[name] != nil:
		return atHost, netip.Addr{}
	case name == gossipLabel+z.apex:
		return atGossip, netip.Addr{}
	}
	if dns.CountLabel(name) == z.labels+1 {
		if addr, ok := relayAddr(name); ok {
			return atRelay, addr
		}
	}
	for host := range z.hosts {
		if dns.IsSubDomain(name, host) {
			return between, netip.Addr{}
		}
	}
	return missing, netip.Addr{}
}

// relayAddr reads the address in a relay's own name.
func relayAddr(name string) (netip.Addr, bool) {
	label, _, _ := strings.Cut(name, ".")
	digits, ok := strings.CutPrefix(label, "e-")
	if !ok || (len(digits) != 8 && len(digits) != 32) {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}

// answer fills in what never changes: SOA and NS of the zone, and all of the
// name servers' own names. False: the answer depends on the pool.
func (z *zone) answer(m *dns.Msg, q dns.Question, at place) bool {
	switch {
	case at == atApex && q.Qtype == dns.TypeSOA:
		m.Answer = []dns.RR{z.soaRecord(q.Name)}
	case at == atApex && q.Qtype == dns.TypeNS:
		m.Answer, m.Extra = z.nsRecords(q.Name)
	case at == atHost:
		m.Answer = addresses(q, func(bool) ([]netip.Addr, time.Duration) { return z.hosts[q.Name], staticTTL * time.Second })
	default:
		return false
	}
	return true
}

// soaRecord returns the SOA as an answer to a name.
func (z *zone) soaRecord(name string) dns.RR {
	soa := z.soa
	soa.Hdr.Name = name
	return &soa
}

// negative returns the SOA that goes with an empty answer, RFC 2308: its TTL
// says how long there is nothing.
func (z *zone) negative(seconds uint32) dns.RR {
	soa := z.soa
	soa.Hdr.Name = z.apex
	soa.Hdr.Ttl, soa.Minttl = seconds, seconds
	return &soa
}

// nsRecords returns the NS set, and the addresses of those within the zone.
func (z *zone) nsRecords(name string) (records, glue []dns.RR) {
	for _, ns := range z.ns {
		records = append(records, &dns.NS{Hdr: header(name, dns.TypeNS, staticTTL), Ns: ns})
		glue = append(glue, addressRecords(ns, z.hosts[ns], false, staticTTL)...)
		glue = append(glue, addressRecords(ns, z.hosts[ns], true, staticTTL)...)
	}
	return records, glue
}

// addressRecords returns the A or AAAA records of those addresses that are of
// the family.
func addressRecords(name string, addrs []netip.Addr, v6 bool, seconds uint32) []dns.RR {
	var records []dns.RR
	for _, addr := range addrs {
		switch {
		case addr.Is6() != v6:
		case v6:
			records = append(records, &dns.AAAA{Hdr: header(name, dns.TypeAAAA, seconds), AAAA: addr.AsSlice()})
		default:
			records = append(records, &dns.A{Hdr: header(name, dns.TypeA, seconds), A: addr.AsSlice()})
		}
	}
	return records
}

func header(name string, rrtype uint16, seconds uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: seconds}
}
