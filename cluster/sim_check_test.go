package cluster

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// What must hold at all times.
const (
	simLook = 250 * time.Millisecond // the pause between two looks
	// simUnnamed is how long a relay that is well may be in no answer.
	simUnnamed = 15 * time.Second
	// simNamed is how long one that is dead may be named: 4 s for its probers, and
	// what they need when they doubt themselves first.
	simNamed = 6 * time.Second
	// simByGossip is how long, where the gossip has to tell it: not all nodes probe
	// a relay, and who was cut from the others may have missed that a relay was to
	// go, and that its probers have taken back what they said of it.
	simByGossip = 14 * time.Second
	// simSameName is how long two nodes that hear each other may have one name.
	simSameName = 12 * time.Second
)

// simChecks remembers since when something is as it must not be for long.
type simChecks struct {
	sim      *simulation
	since    map[simState]time.Duration
	queries  map[string][]byte     // by name
	known    map[*simNode][]Member // before it lost the gossip
	answered map[*simNode]bool
	named    map[*simNode]string // the last answer's candidates, as text
	looks    int
	worst    map[string]time.Duration // how long anything was so at most
}

// simState is what something may be, for a while: one node of another.
type simState struct {
	what  string
	a, of *simNode
}

func newSimChecks(s *simulation) simChecks {
	return simChecks{
		sim: s, since: make(map[simState]time.Duration), queries: make(map[string][]byte), known: make(map[*simNode][]Member), answered: make(map[*simNode]bool),
		named: make(map[*simNode]string), worst: make(map[string]time.Duration),
	}
}

// lasts keeps how long something is so, and fails when that is too long.
func (c *simChecks) lasts(what string, a, of *simNode, is bool, bound time.Duration) {
	key := simState{what, a, of}
	if !is {
		delete(c.since, key)
		return
	}
	now := c.sim.now()
	began, known := c.since[key]
	if !known {
		began = now
		c.since[key] = now
	}
	c.worst[what] = max(c.worst[what], now-began)
	if now-began > bound {
		c.sim.fail("%s of %s: %s for %v", a, of, what, now-began)
	}
}

// look checks everything, again and again.
func (c *simChecks) look() {
	s := c.sim
	s.after(simLook, c.look)
	c.looks++
	for key := range c.since {
		if key.of.hung { // nobody is answered by it
			delete(c.since, key)
		}
	}
	for _, n := range s.alive(isServer) {
		if !n.hung {
			c.lookAtServer(n)
		}
	}
	c.lookAtNames()
	if c.looks%8 == 0 {
		for _, n := range s.alive(takesViewers) {
			c.lookAtSteering(n)
		}
	}
	if c.looks%4 == 0 {
		s.log("sum %016x", s.sum)
	}
}

// question is a query for addresses, packed once a name.
func (c *simChecks) question(name string) []byte {
	if c.queries[name] == nil {
		raw, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		if err != nil {
			panic(err)
		}
		raw[0], raw[1] = 0, 7 // an id that repeats
		c.queries[name] = raw
	}
	return c.queries[name]
}

// lookAtServer asks a name server, and compares what it names with what is.
func (c *simChecks) lookAtServer(n *simNode) {
	s := c.sim
	if s.broken.forgetLast {
		n.dns.roster.last = nil
	}
	if s.broken.forgetLast || s.broken.forgetLost {
		n.dns.roster.cfg.Lost = nil
	}
	c.lookAtAnswer(n, n.dns.Respond(c.question(testZone), true))
	if relays := s.alive(isRelay); len(relays) > 0 {
		one := relays[c.looks%len(relays)]
		c.lookAtAnswer(n, n.dns.Respond(c.question(RelayName(one.addr.Addr())+"."+testZone), true))
	}
	if n.deaf == 0 {
		c.known[n] = n.node.Members()
	}
	r := n.dns.roster
	shares := make(map[netip.Addr]bool)
	for i, addr := range r.v4.addrs {
		shares[addr] = r.v4.weights[i] > 0
	}
	if text := c.textOf(r.v4.addrs, r.panic); text != c.named[n] {
		c.named[n] = text
		s.log("%s names %s", n, text)
	}
	for _, m := range s.at.sorted() {
		if m.role != RoleRelay {
			continue
		}
		c.lasts("well and not named", m, n, !shares[m.addr.Addr()] && c.well(n, m), simUnnamed)
		dead, bound := !m.up || m.hung, simNamed
		if s.now() < n.missed {
			bound = simByGossip
		}
		c.lasts("dead and named", m, n, shares[m.addr.Addr()] && dead && !r.panic && c.hearsPool(n) && len(s.alive(takesViewers)) > 0, bound)
	}
}

// lookAtAnswer reads an answer: it is never empty once it was not, and no
// address is in it twice.
func (c *simChecks) lookAtAnswer(n *simNode, raw []byte) {
	s := c.sim
	if len(raw) < dnsHeaderBytes {
		s.fail("%s: no answer", n)
		return
	}
	count := int(binary.BigEndian.Uint16(raw[6:]))
	s.mix(raw...)
	if count == 0 {
		if c.answered[n] {
			s.fail("%s: an empty answer", n)
		}
		return
	}
	c.answered[n] = true
	// The last count records are of 16 bytes: the name as a pointer, and IPv4.
	const record = 16
	records := raw[len(raw)-count*record:]
	seen := make(map[[4]byte]bool, maxPick)
	for ; len(records) > 0; records = records[record:] {
		seen[[4]byte(records[record-4:])] = true
	}
	if len(seen) != count || count > maxPick {
		s.fail("%s: %d records of %d addresses", n, count, len(seen))
	}
}

func (c *simChecks) textOf(addrs []netip.Addr, all bool) string {
	var names []string
	for _, addr := range addrs {
		names = append(names, c.sim.at[netip.AddrPortFrom(addr, 7946)].String())
	}
	if all {
		names = append(names, "in panic")
	}
	return strings.Join(names, " ")
}

// well tells whether a name server should name a relay: it is in order, all that
// the server hears of can reach it, and none of them has seen it fail so often
// that it must hold out.
func (c *simChecks) well(server, m *simNode) bool {
	s := c.sim
	if !m.up || m.hung || m.drains || m.leaving || m.lag > 0 || m.status() == StatusFull || s.loss > 0 || !server.reaches(m) {
		return false
	}
	name := m.node.Name()
	if !server.hears(m) && !slices.ContainsFunc(c.known[server], func(k Member) bool { return k.Name == name && k.hasViewers() }) {
		return false // it has not heard of that one
	}
	for _, o := range s.born {
		if !o.up || o == m {
			continue
		}
		if server.hears(o) && !o.reaches(m) {
			return false
		}
		if t := o.probe.targets[name]; t != nil && t.patience > rise {
			return false
		}
	}
	return true
}

// hearsPool tells whether a name server is with the greater part.
func (c *simChecks) hearsPool(n *simNode) bool {
	with := 0
	all := c.sim.alive()
	for _, o := range all {
		if n.hears(o) && n.part == o.part {
			with++
		}
	}
	return 2*with > len(all)
}

// lookAtNames compares the names of those that hear each other.
func (c *simChecks) lookAtNames() {
	all := c.sim.alive()
	holders := make(map[string]*simNode, len(all))
	for _, n := range all {
		o := holders[n.node.Name()]
		if o == nil {
			holders[n.node.Name()] = n
			continue
		}
		c.lasts("the same name", o, n, n.hears(o) && !n.hung, simSameName)
	}
	for key := range c.since {
		if key.what == "the same name" && (!key.a.up || !key.of.up || key.a.node.Name() != key.of.node.Name()) {
			delete(c.since, key)
		}
	}
}

// lookAtSteering draws an order of pathways as cmd/surgecast/steering.go does.
func (c *simChecks) lookAtSteering(n *simNode) {
	s := c.sim
	members := n.node.Members()
	var fit []Member
	for _, m := range members {
		if n.node.verdicts.Healthy(m.Name) {
			fit = append(fit, m)
		}
	}
	if len(Serving(fit)) == 0 {
		fit = members
	}
	relays := Serving(fit)
	rng := rand.New(rand.NewPCG(s.seed, uint64(c.looks)))
	order := Order(rng, relays, "", 4)
	if len(order) != min(4, len(relays)) {
		s.fail("%s: an order of %d, of %d relays", n, len(order), len(relays))
	}
	gone := func(m Member) bool { at := s.at[m.Address]; return !at.up || at.hung }
	dead := 0
	for _, m := range relays {
		if gone(m) {
			dead++
		}
	}
	for _, m := range relays {
		// Where most are dead, the gossip goes to the dead as well, and is slow.
		c.lasts("dead and steered to", s.at[m.Address], n, gone(m) && 2*dead <= len(relays) && len(s.alive(takesViewers)) > 1 && c.hearsPool(n), simByGossip)
	}
}

// whole is what must be again at the end, when all was mended. In a large pool
// one who died late may still be somebody's member, since its full exchanges and
// its rounds of pings take longer; nobody who lives may be missing.
func (c *simChecks) whole() {
	s := c.sim
	alive := s.alive()
	for _, n := range alive {
		seen := make(map[string]bool)
		for _, m := range n.node.Members() {
			seen[m.Name] = true
		}
		for _, o := range alive {
			m := o.node.self()
			if !seen[m.Name] {
				s.fail("%s: does not see %s at the end", n, o)
			}
			if m.listable() && !n.node.verdicts.Healthy(m.Name) && c.patient(m.Name) {
				s.fail("%s: does not find %s healthy at the end", n, o)
			}
		}
		if len(seen) > len(alive) && s.nodes <= 32 {
			s.fail("%s: sees %d members at the end, of %d", n, len(seen), len(alive))
		}
		if n.dns != nil && n.dns.Panicking() {
			s.fail("%s: is in panic at the end", n)
		}
	}
}

// patient tells that no prober makes a relay hold out.
func (c *simChecks) patient(name string) bool {
	for _, o := range c.sim.alive() {
		if t := o.probe.targets[name]; t != nil && t.patience > rise {
			return false
		}
	}
	return true
}
