package cluster

import (
	"math/rand/v2"
	"slices"
)

const (
	// maxPick bounds the addresses of one answer. Resolvers and browsers try
	// the next one when the first is dead.
	maxPick = 4
	// maxOverMedian bounds the weight of one node, so that one that claims a
	// boundless capacity doesn't draw the whole crowd.
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
	for _, i := range pick(rng, weights(members)) {
		picked = append(picked, members[i])
	}
	return picked
}

// weights returns one weight a member: what is free of its capacity. A
// capacity that is unknown counts as the median of those that are known. No
// weight is beyond ten times the median.
func weights(members []Member) []float64 {
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
		capacity := usual
		if m.State.Capacity > 0 {
			capacity = float64(m.State.Capacity)
		}
		all[i] = capacity * max(1-float64(m.State.Load)/100, minHeadroom)
	}
	if len(all) > 0 {
		bound := maxOverMedian * median(all)
		for i := range all {
			all[i] = min(all[i], bound)
		}
	}
	return all
}

// pick draws indexes of weights, all positive, without replacement and in
// random order. How many: as many as let each node's share be exactly its
// weight's, floor(sum / greatest), at least 1 and at most 4.
//
// It is Madow's systematic sampling: the weights lie end to end on a line in
// random order, and evenly spaced marks with one random offset choose. No
// weight is longer than the spacing, so none is chosen twice.
func pick(rng *rand.Rand, weights []float64) []int {
	if len(weights) == 0 {
		return nil
	}
	var sum float64
	for _, w := range weights {
		sum += w
	}
	k := min(max(int(sum/slices.Max(weights)), 1), maxPick)
	step := sum / float64(k)
	mark := rng.Float64() * step
	picked := make([]int, 0, k)
	var reached float64
	order := rng.Perm(len(weights))
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

// median returns the lower median: of two nodes, the smaller one bounds the
// other.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
