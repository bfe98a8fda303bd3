package cluster

import (
	"strings"

	"github.com/miekg/dns"
)

// Delegation is what the zone above the pool's must say, so that resolvers
// find the pool's name servers.
type Delegation struct {
	zone *zone
}

// NewDelegation checks the zone's name and its servers.
func NewDelegation(zone string, servers []NameServer) (*Delegation, error) {
	z, err := newZone(zone, servers)
	if err != nil {
		return nil, err
	}
	return &Delegation{zone: z}, nil
}

// Record is one record of the zone above, with full names.
type Record struct {
	Name, Type, Value string
	Line              string // as in a zone file
}

// Records returns the NS records, then the addresses of those servers whose
// names lie in the zone itself, and could not be found otherwise.
func (d *Delegation) Records() []Record {
	ns, glue := d.zone.nsRecords(d.zone.apex)
	var records []Record
	for _, rr := range append(ns, glue...) {
		record := Record{Name: rr.Header().Name, Type: dns.TypeToString[rr.Header().Rrtype], Line: rr.String()}
		switch rr := rr.(type) {
		case *dns.NS:
			record.Value = rr.Ns
		case *dns.A:
			record.Value = rr.A.String()
		case *dns.AAAA:
			record.Value = rr.AAAA.String()
		}
		records = append(records, record)
	}
	return records
}

// Parent is the name above the zone's.
func (d *Delegation) Parent() string {
	_, parent, _ := strings.Cut(d.zone.apex, ".")
	return parent
}
