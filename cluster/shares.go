package cluster

import (
	"net/netip"
	"slices"
)

// Shares returns, for each of the members, its part of the address records with
// which the zone's name is answered now, 0 to 1. It follows from the weights by which answers are drawn. A
// name server that remembers better days (see roster) may answer with others
// while no relay serves.
//
// IPv4 and IPv6 addresses are never in one answer: a share is that among the
// members of its first address's family, and those of a family are 1 together
// unless nobody of it is named, or some have their second address in it.
func Shares(members []Member, originMayServe bool) []float64 {
	named := Serving(members)
	if len(named) == 0 && originMayServe {
		named = slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.State.Role != RoleOrigin })
	}
	left := make(map[netip.Addr]float64)
	whole := func(Member) float64 { return 1 } // a slow start lasts some seconds
	for _, l := range []listing{listingOf(named, false, whole), listingOf(named, true, whole)} {
		sum := total(l.weights)
		for i, addr := range l.addrs {
			left[addr] = l.weights[i] / sum
		}
	}
	shares := make([]float64, len(members))
	for i, m := range members {
		if slices.ContainsFunc(named, func(n Member) bool { return n.Name == m.Name }) {
			shares[i] = left[m.PublicAddr()]
			delete(left, m.PublicAddr()) // one entry an address, the first one's
		}
	}
	return shares
}
