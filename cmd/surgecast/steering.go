package main

import (
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
	secure bool // for viewers who come by TLS
	rng    *rand.Rand

	mu   sync.Mutex
	last []cluster.Member // the relays when there were some beside this node
}

// newSteering returns what a listener tells its viewers of the pool.
func (n *node) newSteering(secure bool) *relay.Steering {
	s := &steering{node: n, view: n.sound, secure: secure, rng: rand.New(shared{})}
	c := relay.SteeringConfig{Priority: s.priority}
	if n.role == cluster.RoleRelay {
		c.Orders = s.orders
	}
	if pool, ok := s.pool(); ok {
		c.Server = pool.Base
	}
	return relay.NewSteering(c)
}

// relays returns those that viewers may be on: what DNS names, and the full,
// which take no new ones. It fails static: without one, and when this node sees
// nobody any more, it is those that there were last.
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
	return s.reachable(relays)
}

// orders draws the pathways of multivariant playlists. The own relay, from
// which the viewer has just had an answer, comes first as long as it is not
// fuller than others; the pool's name is the last.
func (s *steering) orders() [][]relay.Pathway {
	relays := s.relays()
	first := ""
	var candidates []cluster.Member
	for _, m := range relays {
		if m.State.Status != cluster.StatusFull {
			candidates = append(candidates, m)
		}
		if m.Self && cluster.Excess(relays, m) == 0 {
			first = m.Name
		}
	}
	n := masterPathways
	if _, ok := s.pool(); ok {
		n--
	}
	all := make([][]relay.Pathway, steeringOrders)
	for i := range all {
		all[i] = s.pathways(cluster.Order(s.rng, candidates, first, n))
	}
	return all
}

// priority orders the pathways for a viewer that plays from one of them. It
// stays where it is, unless that relay is fuller than others: then some of its
// viewers, by chance, are sent to another one of those that they know. A relay
// that has become full so keeps those who watch.
func (s *steering) priority(on string, known []string) []relay.Pathway {
	relays := s.relays()
	if on == "" && len(known) > 0 {
		on = known[0]
	}
	candidates := slices.DeleteFunc(slices.Clone(relays), func(m cluster.Member) bool {
		id := cluster.RelayID(m.PublicAddr())
		return id != on && (m.State.Status == cluster.StatusFull || len(known) > 0 && !slices.Contains(known, id))
	})
	order := cluster.Order(s.rng, candidates, s.stay(relays, candidates, on), namedPathways-1)
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
	at := candidates[i]
	if excess := cluster.Excess(relays, at); len(candidates) < 2 || s.rng.Float64() >= excessGain*excess {
		return at.Name
	}
	others := slices.Delete(slices.Clone(candidates), i, i+1)
	return cluster.Order(s.rng, others, "", 1)[0].Name
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
// certificate does not stand for its name.
func (s *steering) pathway(m cluster.Member) (relay.Pathway, bool) {
	host, port, err := net.SplitHostPort(m.PublicMedia())
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
