package cluster

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	defaultTTL = 30 * time.Second
	maxTTL     = time.Hour
	// emptyTTL is that of answers before any relay was ready: soon there will
	// be a better one.
	emptyTTL = 5 * time.Second
	// rosterAge is how far answers may lag behind the view. It keeps the work
	// of a flood of queries apart from the number of members.
	rosterAge = 50 * time.Millisecond
	// downMemory is how long a relay that served is missed.
	downMemory = 5 * time.Minute
	// maxRemembered bounds the relays that can be missed; of more, later ones
	// are not remembered, and the TTL may be the longer one.
	maxRemembered = 1024
)

// roster is the relays that DNS names, kept from the view. It fails static:
// once a relay served, the answer is never empty again.
type roster struct {
	view           func() []Member
	healthy        func(Member) bool // nil: all are
	originMayServe bool
	ttl            time.Duration

	mu      sync.Mutex
	rng     *rand.Rand
	checked time.Time
	last    []Member                 // the relays that served when any did
	served  map[netip.Addr]time.Time // when a relay was last seen serving
	serving map[netip.Addr]bool      // now
	v4, v6  listing
	now     time.Duration // the TTL now
}

// listing is the addresses of one family.
type listing struct {
	addrs   []netip.Addr
	weights []float64
}

func newRoster(view func() []Member, healthy func(Member) bool, originMayServe bool, ttl time.Duration) *roster {
	return &roster{
		view:           view,
		healthy:        healthy,
		originMayServe: originMayServe,
		ttl:            ttl,
		rng:            rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		served:         make(map[netip.Addr]time.Time),
	}
}

// sample draws the addresses of one answer.
func (r *roster) sample(v6 bool) ([]netip.Addr, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	l := r.v4
	if v6 {
		l = r.v6
	}
	picked := pick(r.rng, l.weights)
	addrs := make([]netip.Addr, len(picked))
	for i, p := range picked {
		addrs[i] = l.addrs[p]
	}
	return addrs, r.now
}

// relay answers for one relay's own name: its address while it serves, else
// the pool's sample.
func (r *roster) relay(addr netip.Addr, v6 bool) ([]netip.Addr, time.Duration) {
	r.mu.Lock()
	r.refresh()
	serving, ttl := r.serving[addr], r.now
	r.mu.Unlock()
	switch {
	case !serving:
		return r.sample(v6)
	case addr.Is6() != v6:
		return nil, ttl
	}
	return []netip.Addr{addr}, ttl
}

// empty says that no relay was ever ready, so that an answer holds for a
// moment only.
func (r *roster) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return len(r.last) == 0
}

func (r *roster) refresh() {
	now := time.Now()
	if !r.checked.IsZero() && now.Sub(r.checked) < rosterAge {
		return
	}
	r.checked = now
	members := r.view()
	relays := Serving(members)
	if r.healthy != nil {
		relays = slices.DeleteFunc(relays, func(m Member) bool { return !r.healthy(m) })
	}
	r.serving = make(map[netip.Addr]bool, len(relays))
	for _, m := range relays {
		addr := m.PublicAddr()
		r.serving[addr] = true
		if _, known := r.served[addr]; known || len(r.served) < maxRemembered {
			r.served[addr] = now
		}
	}
	r.now = r.ttl
	if r.down(now) {
		r.now = max(r.ttl/2, time.Second)
	}
	switch {
	case len(relays) > 0:
		r.last = relays
	case len(r.last) > 0:
		relays = stay(r.last, members)
	default:
		r.now = emptyTTL
		relays = r.origins(members)
	}
	r.v4, r.v6 = listingOf(relays, false), listingOf(relays, true)
}

// down says whether a relay that served lately doesn't now, and forgets those
// that are long gone.
func (r *roster) down(now time.Time) bool {
	down := false
	for addr, seen := range r.served {
		switch {
		case r.serving[addr]:
		case now.Sub(seen) > downMemory:
			delete(r.served, addr)
		default:
			down = true
		}
	}
	return down
}

func (r *roster) origins(members []Member) []Member {
	if !r.originMayServe {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.State.Role != RoleOrigin })
}

// stay returns the last good relays without those that said they go; all of
// them when that leaves none.
func stay(last, members []Member) []Member {
	going := make(map[string]bool)
	for _, m := range members {
		going[m.Name] = m.State.Status == StatusDraining || m.State.Status == StatusLeft
	}
	rest := slices.DeleteFunc(slices.Clone(last), func(m Member) bool { return going[m.Name] })
	if len(rest) == 0 {
		return last
	}
	return rest
}

// listingOf keeps one entry an address: two members have the same one while a
// restarted relay's earlier life is not yet known to be over.
func listingOf(members []Member, v6 bool) listing {
	var l listing
	var kept []Member
	for _, m := range members {
		addr := m.PublicAddr()
		if addr.IsValid() && addr.Is6() == v6 && !slices.Contains(l.addrs, addr) {
			l.addrs = append(l.addrs, addr)
			kept = append(kept, m)
		}
	}
	l.weights = weights(kept)
	return l
}
