package cluster

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	// slowStart is how long a relay's share grows from leastStart to its full
	// one: caches and connections warm up before the crowd is there.
	slowStart  = 10 * time.Second
	leastStart = 0.1
)

// listing is the addresses of one family that answers are drawn from.
type listing struct {
	addrs   []netip.Addr
	weights []float64
	draws   int
	order   []int // scratch of the draw
}

// listingOf keeps one entry an address: two members have the same one while a
// restarted relay's earlier life is not yet known to be over. share is 1 where
// a relay has its full share.
func listingOf(members []Member, v6 bool, share func(Member) float64) listing {
	var l listing
	var kept []Member
	for _, m := range members {
		addr := m.addr(v6)
		if addr.IsValid() && !slices.Contains(l.addrs, addr) {
			l.addrs = append(l.addrs, addr)
			kept = append(kept, m)
		}
	}
	l.weights, l.order = weights(kept), make([]int, len(kept))
	// The number is that of the full weights: where a new relay has less, answers
	// have fewer addresses, and it takes none of the others' places.
	l.draws = picks(l.weights, mostIn(len(kept)))
	for i, m := range kept {
		l.weights[i] *= share(m)
	}
	return l
}

// sample draws the addresses of one answer, and adds them to addrs.
func (l listing) sample(rng *rand.Rand, addrs []netip.Addr) []netip.Addr {
	var picked [maxPick]int
	for _, i := range appendPick(picked[:0], rng, l.weights, l.draws, l.order) {
		addrs = append(addrs, l.addrs[i])
	}
	return addrs
}

// starts is since when each relay has been fit to be named, by name.
type starts struct {
	first time.Time // when any was for the first time
	since map[string]time.Time
}

// note takes down who is fit now. Who was fit when this server began to look
// has been for an unknown time, and is taken to be warm.
func (s *starts) note(fit []Member, now time.Time) {
	if len(fit) > 0 && s.first.IsZero() {
		s.first = now
	}
	since := make(map[string]time.Time, len(fit))
	for _, m := range fit {
		began, known := s.since[m.Name]
		switch {
		case known:
		case now.Sub(s.first) < slowStart:
			began = now.Add(-slowStart)
		default:
			began = now
		}
		since[m.Name] = began
	}
	s.since = since
}

// share is how much of its weight a relay has by now, above 0 and at most 1.
func (s *starts) share(m Member, now time.Time) float64 {
	began, known := s.since[m.Name]
	if !known { // named for want of better ones
		return 1
	}
	return min(max(float64(now.Sub(began))/float64(slowStart), leastStart), 1)
}
