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
	// downMemory is how long a relay that was fit is missed.
	downMemory = 5 * time.Minute
	// maxRemembered bounds the relays that can be missed; of more, later ones
	// are not remembered, and the TTL may be the longer one.
	maxRemembered = 1024
	// panicShare is the part of the pool's capacity that must be healthy.
	// Below it the prober, or its network, is more likely at fault than the
	// relays, and those left would be crushed by the whole crowd.
	panicShare = 0.5
)

// roster is the relays that DNS names, kept from the view. It fails static:
// once a relay was named, the answer is never empty again.
type roster struct {
	cfg DNSConfig

	mu       sync.Mutex
	rng      *rand.Rand
	checked  time.Time
	last     []Member // the relays that were named last while there were any
	starts   starts
	fitAt    map[netip.Addr]time.Time // when a relay was last seen fit
	standing map[netip.Addr]Member    // who is answered for its own name, by each of its addresses
	seconds  seconds
	v4, v6   listing
	ttl      time.Duration // now
	panic    bool
	lost     int // relays that are remembered, and named as if they were there
}

func newRoster(cfg DNSConfig) *roster {
	return &roster{
		cfg:   cfg,
		rng:   rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		fitAt: make(map[netip.Addr]time.Time),
	}
}

// sample draws the addresses of one answer, and adds them to addrs.
func (r *roster) sample(v6 bool, addrs []netip.Addr) ([]netip.Addr, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	if v6 {
		return r.v6.sample(r.rng, addrs), r.ttl
	}
	return r.v4.sample(r.rng, addrs), r.ttl
}

// relay answers for one relay's own name, which has one of its addresses: its
// address of the family while it serves, else the pool's sample.
func (r *roster) relay(addr netip.Addr, v6 bool, addrs []netip.Addr) ([]netip.Addr, time.Duration) {
	r.mu.Lock()
	r.refresh()
	m, standing := r.standing[addr]
	ttl := r.ttl
	r.mu.Unlock()
	if !standing {
		return r.sample(v6, addrs)
	}
	if addr := m.addr(v6); addr.IsValid() {
		return append(addrs, addr), ttl
	}
	return nil, ttl
}

// empty says that no relay was ever ready, so that an answer holds for a
// moment only.
func (r *roster) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return len(r.last) == 0
}

// panicking says that all are named that do not drain, healthy or not.
func (r *roster) panicking() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return r.panic
}

func (r *roster) refresh() {
	now := time.Now()
	if !r.checked.IsZero() && now.Sub(r.checked) < rosterAge {
		return
	}
	r.checked = now
	members := r.cfg.View()
	lost := r.lostOf(members)
	r.setLost(len(lost))
	c := r.choose(members, lost)
	r.setPanic(c.panic)
	r.starts.note(c.fit, now)
	r.seconds.look(slices.Concat(members, lost), r.second(lost))
	r.standing = standing(r.seconds.only(c.standing))
	r.ttl = r.cfg.TTL
	if r.missing(c.fit, now) || len(lost) > 0 {
		r.ttl = max(r.cfg.TTL/2, time.Second)
	}
	named := c.named
	switch {
	case len(named) > 0:
		r.last = named
	case len(r.last) > 0:
		named = stay(r.last, members)
	default:
		r.ttl = emptyTTL
		named = r.origins(members)
	}
	share := func(m Member) float64 { return r.starts.share(m, now) }
	named = r.seconds.only(named)
	r.v4, r.v6 = listingOf(named, false, share), listingOf(named, true, share)
}

// standing lists relays by each of their addresses. The first address is known
// better than the second.
func standing(relays []Member) map[netip.Addr]Member {
	all := make(map[netip.Addr]Member, len(relays))
	for _, m := range relays {
		if second := m.SecondAddr(); second.IsValid() {
			all[second] = m
		}
	}
	for _, m := range relays {
		all[m.PublicAddr()] = m
	}
	return all
}

// second says what is found of the second addresses; of relays that the gossip has
// lost our own probes do.
func (r *roster) second(lost []Member) func(Member) Opinion {
	if r.cfg.Second == nil {
		return func(Member) Opinion { return OpinionUp }
	}
	gone := namesOf(lost)
	return func(m Member) Opinion {
		switch {
		case !gone[m.Name]:
			return r.cfg.Second(m)
		case r.cfg.ReachedSecond != nil && r.cfg.ReachedSecond(m.Name):
			return OpinionUp
		}
		return OpinionNone
	}
}

// choice is what one look at the members says.
type choice struct {
	named    []Member // in the pool's answers
	standing []Member // have viewers, and are answered for their own names
	fit      []Member // healthy, and not going
	panic    bool
}

// choose decides whom to name: the healthy ones that take viewers; all that
// don't go when too few are healthy, or when the healthy ones are full. Those
// who are lost and named all the same count as healthy.
func (r *roster) choose(members, lost []Member) choice {
	var c choice
	var present, open []Member
	for _, m := range members {
		if !m.hasViewers() {
			continue
		}
		present = append(present, m)
		if r.cfg.Healthy == nil || r.cfg.Healthy(m) {
			c.fit = append(c.fit, m)
		}
	}
	present, c.fit = append(present, lost...), append(c.fit, lost...)
	for _, m := range c.fit {
		if m.State.Status == StatusServing {
			open = append(open, m)
		}
	}
	c.named, c.standing = open, c.fit
	if c.panic = fewFit(present, c.fit); c.panic {
		c.standing = present
	}
	if c.panic || len(open) == 0 {
		c.named = present
	}
	return c
}

// fewFit says whether the fit ones have less of the capacity than panicShare.
func fewFit(present, fit []Member) bool {
	if len(fit) == len(present) {
		return false
	}
	all := capacities(present)
	var healthy float64
	for i, m := range present {
		if slices.ContainsFunc(fit, func(f Member) bool { return f.Name == m.Name }) {
			healthy += all[i]
		}
	}
	return healthy < panicShare*total(all)
}

func (r *roster) setPanic(now bool) {
	if now == r.panic {
		return
	}
	r.panic = now
	if now {
		r.cfg.Logger.Error("dns names all relays that do not drain: less than half of the capacity is healthy")
	} else {
		r.cfg.Logger.Info("dns names healthy relays only again")
	}
}

// missing says whether a relay that was fit lately isn't now, and forgets
// those that are long gone.
func (r *roster) missing(fit []Member, now time.Time) bool {
	for _, m := range fit {
		addr := m.PublicAddr()
		if _, known := r.fitAt[addr]; known || len(r.fitAt) < maxRemembered {
			r.fitAt[addr] = now
		}
	}
	missing := false
	for addr, seen := range r.fitAt {
		switch {
		case seen.Equal(now):
		case now.Sub(seen) > downMemory:
			delete(r.fitAt, addr)
		default:
			missing = true
		}
	}
	return missing
}

func (r *roster) origins(members []Member) []Member {
	if !r.cfg.OriginMayServe {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.State.Role != RoleOrigin })
}

// stay returns the last named relays without those that said they go; all of
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
