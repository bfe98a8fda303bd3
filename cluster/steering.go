package cluster

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// fairBand is how many percent of its capacity a relay may be fuller than the
// pool's mean before viewers are sent from it. It is the step in which loads
// are gossiped: less would move viewers for nothing.
const fairBand = 10

// RelayID names a relay after its address: "e-7f000002". It is the relay's
// label in the zone, and outlives its process.
func RelayID(addr netip.Addr) string { return "e-" + hex.EncodeToString(addr.AsSlice()) }

// Excess returns the share of its viewers, 0 to 1, by which a relay is fuller
// than the mean of the relays: 0 as long as it is at most 10 % of its capacity
// above.
func Excess(relays []Member, m Member) float64 {
	var sum int
	for _, r := range relays {
		sum += r.State.Load
	}
	load := float64(m.State.Load)
	mean := float64(sum) / float64(max(len(relays), 1))
	if load <= mean+fairBand {
		return 0
	}
	return (load - mean) / load
}

// Order returns at most n of the relays, in the order in which a viewer is to
// use them: first the one of that name, if it is among them, then the others
// by chance, in proportion to what they have free. When all but the last would
// be of one network, the last is of another if there is one: the rest stays by
// free capacity, or one relay in a network of its own would be everybody's
// second choice.
func Order(rng *rand.Rand, relays []Member, first string, n int) []Member {
	rest := slices.Clone(relays)
	order := make([]Member, 0, n)
	for len(order) < n && len(rest) > 0 {
		var next Member
		candidates := rest
		if len(order) == 0 && first != "" {
			candidates = slices.DeleteFunc(slices.Clone(rest), func(m Member) bool { return m.Name != first })
		} else if len(order) == n-1 && n > 1 {
			candidates = elsewhere(order, rest)
		}
		if len(candidates) == 0 {
			candidates = rest
		}
		next = Pick(rng, candidates)[0]
		order = append(order, next)
		rest = slices.DeleteFunc(rest, func(m Member) bool { return m.Name == next.Name })
	}
	return order
}

// elsewhere returns those of the rest that are in another network than all of
// the order; none when that has several.
func elsewhere(order, rest []Member) []Member {
	home := network(order[0])
	if slices.ContainsFunc(order, func(m Member) bool { return network(m) != home }) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(rest), func(m Member) bool { return network(m) == home })
}

// network is what fails together: an IPv4 /24, an IPv6 /48.
func network(m Member) netip.Prefix {
	addr := m.PublicAddr()
	bits := 24
	if addr.Is6() {
		bits = 48
	}
	prefix, _ := addr.Prefix(bits) // an invalid address has the zero one
	return prefix
}
