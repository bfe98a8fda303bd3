package cluster

import (
	"cmp"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// fairBand is by how much of the pool's mean a relay may be fuller than that
// before viewers are sent from it, but at least leastBand percent of its
// capacity, with which loads are told: less would move viewers for nothing.
const (
	fairBand  = 0.1
	leastBand = 2
)

// RelayID names a relay after its address: "e-7f000002". It is the relay's
// label in the zone, and outlives its process.
func RelayID(addr netip.Addr) string { return "e-" + hex.EncodeToString(addr.AsSlice()) }

// Mean is how full the relays are together, in percent of their capacity.
func Mean(relays []Member) float64 {
	var load, capacity float64
	for i, c := range capacities(relays) {
		load += c * float64(relays[i].State.Load)
		capacity += c
	}
	if capacity == 0 {
		return 0
	}
	return load / capacity
}

// Excess returns the share of its viewers, 0 to 1, by which a relay is fuller
// than all of them together: 0 as long as it is at most a tenth fuller.
func Excess(relays []Member, m Member) float64 {
	load, mean := float64(m.State.Load), Mean(relays)
	if load <= mean+max(mean*fairBand, leastBand) {
		return 0
	}
	return (load - mean) / load
}

// Order returns at most n of the relays, in the order in which a viewer is to
// use them: first the one of that name, if it is among them, else the emptier of
// two that are drawn; then the others by chance, in proportion to what they have
// free. When all but the last would
// be of one network, the last is of another if there is one: the rest stays by
// free capacity, or one relay in a network of its own would be everybody's
// second choice.
func Order(rng *rand.Rand, relays []Member, first string, n int) []Member {
	rest := slices.Clone(relays)
	order := make([]Member, 0, n)
	for len(order) < n && len(rest) > 0 {
		candidates := rest
		if len(order) == 0 && first != "" {
			candidates = slices.DeleteFunc(slices.Clone(rest), func(m Member) bool { return m.Name != first })
		} else if len(order) == n-1 && n > 1 {
			candidates = elsewhere(order, rest)
		}
		if len(candidates) == 0 {
			candidates = rest
		}
		of := 1
		if len(order) == 0 {
			of = 2
		}
		next, _ := Emptiest(rng, candidates, of)
		order = append(order, next)
		rest = slices.DeleteFunc(rest, func(m Member) bool { return m.Name == next.Name })
	}
	return order
}

// Emptiest returns the emptiest of at most n of the members, which are drawn in
// proportion to what they have free. That alone hardly tells a relay at 60 %
// from one at 70; but if all took the emptiest of all, it would be the fullest
// before its load is known. False: there is none.
func Emptiest(rng *rand.Rand, members []Member, n int) (Member, bool) {
	drawn := Pick(rng, members)
	if len(drawn) == 0 {
		return Member{}, false
	}
	return slices.MinFunc(drawn[:min(n, len(drawn))], func(a, b Member) int { return cmp.Compare(a.State.Load, b.State.Load) }), true
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
