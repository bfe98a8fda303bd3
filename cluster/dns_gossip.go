package cluster

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"

	"github.com/miekg/dns"
)

const (
	// gossipLabel is the name below the zone at which a starting node finds
	// some of the pool.
	gossipLabel = "_gossip."
	// gossipTTL is short, in seconds: who was there may be gone.
	gossipTTL = 15
	// maxGossip bounds the members that are named; one that answers is enough.
	maxGossip = 8
)

// gossip answers for the gossip's name: TXT has the ip:port of members, those
// on stable hosts first; SRV has the names of relays whose name is of the
// address that their gossip has.
func (d *DNS) gossip(q dns.Question) (records []dns.RR) {
	members := slices.Clone(d.view())
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	slices.SortStableFunc(members, func(a, b Member) int { return a.roaming() - b.roaming() })
	for _, m := range members {
		if len(records) == maxGossip {
			break
		}
		switch {
		case q.Qtype == dns.TypeTXT:
			records = append(records, &dns.TXT{Hdr: header(q.Name, dns.TypeTXT, gossipTTL), Txt: []string{m.Address.String()}})
		case q.Qtype == dns.TypeSRV && m.State.Role == RoleRelay && m.State.Status == StatusServing && m.PublicAddr() == m.Address.Addr():
			records = append(records, &dns.SRV{
				Hdr:  header(q.Name, dns.TypeSRV, gossipTTL),
				Port: m.Address.Port(), Target: "e-" + hex.EncodeToString(m.PublicAddr().AsSlice()) + "." + d.zone.apex,
			})
		}
	}
	return records
}

// roaming is 1 for those that come and go.
func (m Member) roaming() int {
	if m.State.Role == RoleRelay {
		return 1
	}
	return 0
}
