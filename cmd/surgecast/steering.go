package main

import (
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"surgecast/cluster"
	"surgecast/relay"
)

const (
	// steeringOrders is how many orders of pathways viewers get in turn.
	steeringOrders = 8
	// masterPathways is how many pathways a multivariant playlist lists: plain
	// players take each for a variant of its own. A player leaves one that failed
	// for minutes, so two were too few.
	masterPathways = 4
	// namedPathways bounds those that a steering manifest names for a viewer who
	// doesn't say which it knows.
	namedPathways = 8
	// poolPathway is the pool under its own name: whoever is alive.
	poolPathway = "pool"
	// excessGain is the part of a relay's excess that is moved with each answer:
	// loads are averages of 10 s, so what was moved is not seen at once, and the
	// whole would be moved twice.
	excessGain = 0.5
)

// steering tells viewers of the relays that DNS names, from the same view.
type steering struct {
	node   *node
	view   func() []cluster.Member
	own    func() ownLoad
	secure bool // for viewers who come by TLS
	second bool // for viewers who come to the second address
	rng    *rand.Rand

	mu   sync.Mutex
	last []cluster.Member // the relays when there were some beside this node
}

// newSteering returns what a listener tells its viewers of the pool.
func (n *node) newSteering(secure, second bool) *relay.Steering {
	s := &steering{node: n, view: n.sound, own: n.headroom.ownLoad, secure: secure, second: second, rng: rand.New(shared{})}
	return relay.NewSteering(s.config())
}

func (s *steering) config() relay.SteeringConfig {
	c := relay.SteeringConfig{Priority: s.priority, Here: s.here, Led: func(pathway string, bitsPerSecond int64) {
		s.node.underway.add(pathway, float64(bitsPerSecond))
	}}
	if s.node.role == cluster.RoleRelay {
		c.Orders = s.orders
	}
	if pool, ok := s.pool(); ok {
		c.Server = pool.Base
	}
	return c
}

// here is the pathway of this node, "" while it is not in its own view.
func (s *steering) here() string {
	for _, m := range s.view() {
		if m.Self {
			return cluster.RelayID(m.PublicAddr())
		}
	}
	return ""
}

// relays returns those that viewers may be on: what DNS names, and the full,
// which take no new ones. It fails static: without one, and when this node sees
// nobody any more, it is those that there were last. Their loads are what is to
// be expected, not what was told.
func (s *steering) relays() []cluster.Member {
	members := s.view()
	relays := cluster.Serving(members)
	for _, m := range members {
		if m.State.Role == cluster.RoleRelay && m.State.Status == cluster.StatusFull {
			relays = append(relays, m)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(relays, func(m cluster.Member) bool { return !m.Self }) {
		s.last = relays
	}
	if len(relays) == 0 || len(members) == 1 && len(s.last) > 0 {
		relays = s.last
	}
	relays = s.reachable(relays)
	for i := range relays {
		relays[i].State.Load = s.expected(relays[i])
	}
	return relays
}

// expected is how full a relay is with those who are on their way, in percent.
// Of itself the node knows it; what it knows of others is some seconds old.
func (s *steering) expected(m cluster.Member) int {
	percent := float64(m.State.Load)
	if m.Self {
		percent = s.own().percent
	}
	if m.State.Capacity > 0 {
		percent += 100 * s.node.underway.bits(cluster.RelayID(m.PublicAddr())) / float64(m.State.Capacity)
	}
	return max(int(math.Round(percent)), 0)
}

// ledUnder is how full another relay may be at most, in percent, at which viewers
// are to begin. They don't pass its admission, which is at 85, and its load may
// have risen by a step meanwhile.
const ledUnder = 85 - loadStep

// orders draws the pathways of multivariant playlists. The own relay, from
// which the viewer has just had an answer, comes first as long as it is not
// fuller than others, and while the viewers of a lost relay come to all of them at
// once; the pool's name is the last.
func (s *steering) orders() [][]relay.Pathway {
	relays := s.relays()
	self, stays := "", false
	var candidates, roomy []cluster.Member
	for _, m := range relays {
		if m.State.Status == cluster.StatusFull {
			continue
		}
		candidates = append(candidates, m)
		switch {
		case m.Self:
			self, stays = m.Name, s.own().rescuing || cluster.Excess(relays, m) == 0
		case m.State.Load < ledUnder:
			roomy = append(roomy, m)
		}
	}
	n := masterPathways
	if _, ok := s.pool(); ok {
		n--
	}
	all := make([][]relay.Pathway, steeringOrders)
	for i := range all {
		first := self
		if to, ok := cluster.Emptiest(s.rng, roomy, 2); ok && !stays {
			first = to.Name
		}
		all[i] = s.pathways(cluster.Order(s.rng, candidates, first, n))
	}
	return all
}

// priority orders the pathways for a viewer that plays from one of them. It
// stays where it is, unless that relay is fuller than others: then some of its
// viewers, by chance, are sent to another one of those that they know. A relay
// that has become full so keeps those who watch.
func (s *steering) priority(on string, known []string, bitsPerSecond int64) []relay.Pathway {
	relays := s.relays()
	if on == "" && len(known) > 0 {
		on = known[0]
	}
	candidates := slices.DeleteFunc(slices.Clone(relays), func(m cluster.Member) bool {
		id := cluster.RelayID(m.PublicAddr())
		return id != on && (m.State.Status == cluster.StatusFull || len(known) > 0 && !slices.Contains(known, id))
	})
	order := cluster.Order(s.rng, candidates, s.stay(relays, candidates, on), namedPathways-1)
	if len(order) > 0 {
		s.moves(on, cluster.RelayID(order[0].PublicAddr()), float64(bitsPerSecond))
	}
	pathways := s.pathways(order)
	for _, m := range relays { // one alone would end a player's own search for another
		if len(pathways) > 1 {
			break
		}
		if p, ok := s.pathway(m); ok && !slices.Contains(pathways, p) {
			pathways = append(pathways, p)
		}
	}
	return pathways
}

// stay returns the name of the relay that a viewer is to use first: the one
// that it is on, or, by chance, another one when that is too full; "" for any.
func (s *steering) stay(relays, candidates []cluster.Member, on string) string {
	i := slices.IndexFunc(candidates, func(m cluster.Member) bool { return cluster.RelayID(m.PublicAddr()) == on })
	if i < 0 {
		return ""
	}
	at, mean := candidates[i], cluster.Mean(relays)
	if s.rng.Float64() >= excessGain*cluster.Excess(relays, at) {
		return at.Name
	}
	// Not to one that would send it on.
	emptier := slices.DeleteFunc(slices.Clone(candidates), func(m cluster.Member) bool { return float64(m.State.Load) >= mean })
	if len(emptier) == 0 {
		return at.Name
	}
	return cluster.Order(s.rng, emptier, "", 1)[0].Name
}

// moves notes that a viewer was told to go from one relay to another. Of one that
// nobody knows it is noted nowhere: anybody can say that he is on it.
func (s *steering) moves(from, to string, bitsPerSecond float64) {
	isFrom := func(m cluster.Member) bool { return cluster.RelayID(m.PublicAddr()) == from }
	if from != to && slices.ContainsFunc(s.view(), isFrom) {
		s.node.underway.add(from, -bitsPerSecond)
		s.node.underway.add(to, bitsPerSecond)
	}
}

// pathways returns the pathways of relays in their order, then the pool's.
func (s *steering) pathways(relays []cluster.Member) []relay.Pathway {
	var all []relay.Pathway
	for _, m := range relays {
		if p, ok := s.pathway(m); ok {
			all = append(all, p)
		}
	}
	if p, ok := s.pool(); ok {
		all = append(all, p)
	}
	return all
}

// reachable leaves out relays that have no pathway, and all but one of those
// with one address.
func (s *steering) reachable(relays []cluster.Member) []cluster.Member {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(relays), func(m cluster.Member) bool {
		p, ok := s.pathway(m)
		twice := seen[p.ID]
		seen[p.ID] = true
		return !ok || twice
	})
}

// pathway is the way to one relay. False: viewers can't take it, for the
// certificate does not stand for its name, or it is not in their family of IP. A
// name has the addresses of both.
func (s *steering) pathway(m cluster.Member) (relay.Pathway, bool) {
	media := m.PublicMedia()
	if s.node.config.Steering != SteerNames {
		media = s.node.mediaFor(m, s.node.isV6(s.second))
	}
	host, port, err := net.SplitHostPort(media)
	if err != nil {
		return relay.Pathway{}, false
	}
	id := cluster.RelayID(m.PublicAddr())
	if s.node.config.Steering == SteerNames {
		host = id + "." + s.node.config.Zone
	}
	base, ok := s.base(host, port)
	return relay.Pathway{ID: id, Base: base}, ok
}

// pool is the pathway of the pool's own name. False: there is none.
func (s *steering) pool() (relay.Pathway, bool) {
	if s.node.config.Steering != SteerNames {
		return relay.Pathway{}, false
	}
	base, ok := s.base(s.node.config.Zone, strconv.Itoa(int(s.node.config.Ports.Viewers)))
	return relay.Pathway{ID: poolPathway, Base: base}, ok
}

// base is the base URL of a host for the viewers of this listener; all nodes
// have the same port for TLS.
func (s *steering) base(host, port string) (string, bool) {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	if s.secure {
		u.Scheme, u.Host = "https", net.JoinHostPort(host, strconv.Itoa(int(s.node.config.TLS.Port)))
		return u.String(), s.node.tls.Certificate().Covers(host)
	}
	return u.String(), true
}
