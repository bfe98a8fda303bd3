package cluster

import (
	"math/rand/v2"
	"slices"
)

const (
	// usualPick bounds the nodes of one draw. Resolvers and browsers try the
	// next one when the first is dead.
	usualPick = 4
	// maxPick bounds them in a large pool, where one big resolver speaks for so
	// many viewers that more relays must share them. Eight addresses of IPv6
	// still fit the 512 bytes that everybody takes.
	maxPick = 8
	// maxOverMedian bounds the capacity that a node is believed to have, so that
	// one that claims a boundless one doesn't draw the whole crowd.
	maxOverMedian = 10
	// minHeadroom keeps a pool that is full everywhere in proportion.
	minHeadroom = 0.01
)

// Serving returns the members that a viewer may be sent to: relays that say
// they serve.
func Serving(members []Member) []Member {
	var serving []Member
	for _, m := range members {
		if m.State.Role == RoleRelay && m.State.Status == StatusServing {
			serving = append(serving, m)
		}
	}
	return serving
}

// Pick draws at most 4 of the members, each in proportion to its free
// capacity, in random order.
func Pick(rng *rand.Rand, members []Member) []Member {
	var picked []Member
	w := weights(members)
	for _, i := range pick(rng, w, picks(w, usualPick)) {
		picked = append(picked, members[i])
	}
	return picked
}

// mostIn is how many nodes of a pool one answer may name: a quarter of it, but
// at least 4 and at most 8.
func mostIn(pool int) int { return min(max(pool/4, usualPick), maxPick) }

// weights returns one weight a member: what is free of its capacity.
func weights(members []Member) []float64 {
	all := capacities(members)
	for i, m := range members {
		all[i] *= max(1-float64(m.State.Load)/100, minHeadroom)
	}
	return all
}

// capacities returns what each member is taken to carry. One that is unknown
// counts as the median of those that are known, and none as more than ten
// times that.
func capacities(members []Member) []float64 {
	var known []float64
	for _, m := range members {
		if m.State.Capacity > 0 {
			known = append(known, float64(m.State.Capacity))
		}
	}
	usual := 1.0
	if len(known) > 0 {
		usual = median(known)
	}
	all := make([]float64, len(members))
	for i, m := range members {
		all[i] = usual
		if m.State.Capacity > 0 {
			all[i] = min(float64(m.State.Capacity), maxOverMedian*usual)
		}
	}
	return all
}

// picks is how many nodes to draw so that each one's share can be exactly its
// weight's: floor(sum / greatest), at least 1 and at most the bound.
func picks(weights []float64, most int) int {
	if len(weights) == 0 {
		return 0
	}
	return min(max(int(total(weights)/slices.Max(weights)), 1), most)
}

// pick draws about k indexes of weights, all positive, without replacement and
// in random order, each in proportion to its weight. It is exactly k as long as
// no weight is over a k-th of the sum, as with the k of picks; else the greatest
// is always among them, and they are fewer.
//
// It is Madow's systematic sampling: the weights lie end to end on a line in
// random order, and evenly spaced marks with one random offset choose. No
// weight is longer than the spacing, so none is chosen twice.
func pick(rng *rand.Rand, weights []float64, k int) []int {
	return appendPick(make([]int, 0, k), rng, weights, k, make([]int, len(weights)))
}

// appendPick is pick into memory that is there; order is scratch, of the length
// of weights.
func appendPick(picked []int, rng *rand.Rand, weights []float64, k int, order []int) []int {
	if len(weights) == 0 {
		return picked
	}
	step := max(total(weights)/float64(k), slices.Max(weights))
	mark := rng.Float64() * step
	for i := range order {
		order[i] = i
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var reached float64
	for _, i := range order {
		reached += weights[i]
		if reached > mark && len(picked) < k {
			picked = append(picked, i)
			mark += step
		}
	}
	if len(picked) == 0 { // the sum was rounded: the mark lies at its very end
		picked = append(picked, order[len(order)-1])
	}
	rng.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
	return picked
}

func total(weights []float64) (sum float64) {
	for _, w := range weights {
		sum += w
	}
	return sum
}

// median returns the lower median: of two nodes, the smaller one bounds the
// other.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
