package cluster

import (
	"net/netip"
	"slices"
	"time"
)

// When a simulation does what. What is broken is mended in time for the pool to
// be whole again at the end: 20 s after a partition is what is promised.
const (
	simStart   = 10 * time.Second // all is quiet, and all are listed at its end
	simMended  = 38 * time.Second
	simEnd     = 60 * time.Second
	simServers = 3 // name servers
	// simLeast is how many relays are left alone.
	simLeast = 3
)

// simFault is one kind of what may happen. It says nothing when it finds nobody
// to happen to; what it breaks is mended after lasts.
type simFault struct {
	name   string
	weight int
	strike func(s *simulation, lasts time.Duration)
}

var simFaults = []simFault{
	{"a clone joins", 3, (*simulation).join},
	{"a relay is killed", 3, (*simulation).kill},
	{"a rack is lost", 1, (*simulation).loseRack},
	{"a node is restarted", 3, (*simulation).restart},
	{"a process hangs", 3, (*simulation).hang},
	{"a relay is drained", 2, (*simulation).drain},
	{"the network splits", 3, (*simulation).partition},
	{"a way is cut", 3, (*simulation).cut},
	{"packets are lost", 2, (*simulation).lose},
	{"a node is taken for dead", 3, (*simulation).slander},
	{"media stand still", 2, (*simulation).stall},
	{"a machine is copied with its memory", 2, (*simulation).twin},
	{"a relay is full", 2, (*simulation).fill},
	{"a name server loses the gossip", 2, (*simulation).deafen},
}

// populate starts the pool.
func (s *simulation) populate() {
	start := func(role Role) {
		at := s.address()
		s.after(drawTime(s.fate, 0, 2*time.Second), func() { s.boot(role, at) })
	}
	s.boot(RoleOrigin, s.address())
	servers := simServers
	if s.nodes < 8 {
		servers = 2
	}
	for range servers {
		s.boot(RoleNameServer, s.address())
	}
	for range s.nodes - servers - 1 {
		start(RoleRelay)
	}
}

// schedule draws what happens. A larger pool has more of it, but not in
// proportion: else there would be no moment at which it is well.
func (s *simulation) schedule() {
	faults := 4 + s.fate.IntN(5)
	for size := s.nodes; size > 24; size /= 2 {
		faults += 3
	}
	var lots []simFault
	for _, f := range simFaults {
		if len(s.only) > 0 && !slices.Contains(s.only, f.name) {
			continue
		}
		for range f.weight {
			lots = append(lots, f)
		}
	}
	for range faults {
		f := lots[s.fate.IntN(len(lots))]
		at := drawTime(s.fate, simStart, simMended-time.Second)
		lasts := drawTime(s.fate, 300*time.Millisecond, simMended-at)
		if s.fate.IntN(3) == 0 {
			lasts = simMended - at // long enough for all that has a bound
		}
		s.after(at, func() { f.strike(s, lasts) })
	}
	for at := simStart; at < simMended; at += time.Second {
		s.after(at, s.crowd)
	}
}

// anyOf draws a running process.
func (s *simulation) anyOf(which ...func(*simNode) bool) *simNode {
	all := s.alive(append(which, func(n *simNode) bool { return !n.hung && !n.leaving })...)
	if len(all) == 0 {
		return nil
	}
	return all[s.fate.IntN(len(all))]
}

func isRelay(n *simNode) bool  { return n.role == RoleRelay }
func isServer(n *simNode) bool { return n.role == RoleNameServer }
func takesViewers(n *simNode) bool {
	return isRelay(n) && n.stage == simListed && !n.drains && !n.hung && n.lag == 0
}

// spare is a relay that may be taken from the pool.
func (s *simulation) spare() *simNode {
	if len(s.alive(takesViewers)) <= simLeast {
		return nil
	}
	return s.anyOf(takesViewers)
}

func (s *simulation) join(time.Duration) { s.boot(RoleRelay, s.address()) }

func (s *simulation) kill(time.Duration) {
	if n := s.spare(); n != nil {
		n.dark = s.fate.IntN(2) == 0
		n.end(false)
	}
}

// loseRack takes several at once, at most as many as are left.
func (s *simulation) loseRack(lasts time.Duration) {
	all := s.alive(takesViewers)
	s.fate.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, n := range all[:s.fate.IntN(max(len(all)-simLeast, 0)+1)] {
		n.dark = true
		n.end(false)
		s.after(lasts, func() {
			if s.at[n.addr] == n {
				s.boot(n.role, n.addr)
			}
		})
	}
}

// restart is of any node; a name server so forgets what it knew.
func (s *simulation) restart(time.Duration) {
	n := s.anyOf()
	if n == nil || isRelay(n) && len(s.alive(takesViewers)) <= simLeast {
		return
	}
	n.end(false)
	s.after(drawTime(s.fate, 200*time.Millisecond, 3*time.Second), func() {
		if s.at[n.addr] == n {
			s.boot(n.role, n.addr)
		}
	})
}

func (s *simulation) hang(lasts time.Duration) {
	n := s.anyOf()
	if n == nil || isRelay(n) && s.spare() == nil {
		return
	}
	n.hung = true
	s.log("%s hangs for %v", n, lasts)
	s.after(lasts, func() {
		if n.up {
			s.log("%s goes on", n)
			n.wake()
		}
	})
}

// drain is taken back, or ends with the process.
func (s *simulation) drain(lasts time.Duration) {
	n := s.spare()
	if n == nil {
		return
	}
	back := s.fate.IntN(2) == 0
	n.do(n.drain)
	s.after(lasts, func() {
		n.do(func() {
			if back {
				n.undrain()
			} else {
				n.end(true)
			}
		})
	})
}

// partition cuts some nodes off from the others. There is one at a time.
func (s *simulation) partition(lasts time.Duration) {
	if s.split {
		return
	}
	s.split = true
	s.log("the network splits for %v", lasts)
	share := 0.1 + 0.5*s.fate.Float64()
	for _, n := range s.at.sorted() {
		if s.fate.Float64() < share {
			n.part = 1
			s.log("%s is on the other side", n)
		}
		n.missed = s.now() + lasts + simByGossip // of what the probers of the other side say
	}
	s.after(lasts, func() {
		s.split = false
		s.log("the network is whole")
		for _, n := range s.born {
			n.part = 0
		}
	})
}

// cut takes one node's way to some relays, for probes alone.
func (s *simulation) cut(lasts time.Duration) {
	n := s.anyOf()
	if n == nil {
		return
	}
	share := s.fate.Float64()
	var ways [][2]netip.Addr
	for _, o := range s.alive(isRelay) {
		if way := [2]netip.Addr{n.addr.Addr(), o.addr.Addr()}; o != n && s.fate.Float64() < share && !s.cuts[way] {
			ways = append(ways, way)
			s.cuts[way] = true
			s.log("%s has no way to %s for %v", n, o, lasts)
		}
	}
	s.after(lasts, func() {
		for _, way := range ways {
			delete(s.cuts, way)
		}
		s.log("%s has its ways back", n)
	})
}

func (s *simulation) lose(lasts time.Duration) {
	if s.loss > 0 {
		return
	}
	s.loss = 0.3 * s.fate.Float64()
	s.log("%.0f %% of packets are lost for %v", 100*s.loss, lasts)
	s.after(lasts, func() { s.loss = 0; s.log("no packets are lost") })
}

// slander makes a node believe that another is dead.
func (s *simulation) slander(time.Duration) {
	n, o := s.anyOf(), s.anyOf()
	if n == nil || o == n {
		return
	}
	if e := n.list[o.node.Name()]; e != nil && !e.dead {
		s.log("%s takes %s for dead", n, o)
		n.do(func() { n.bury(e) })
	}
}

// stall makes a relay fall behind.
func (s *simulation) stall(lasts time.Duration) {
	n := s.spare()
	if n == nil {
		return
	}
	s.log("media of %s stand still for %v", n, lasts)
	began := s.now()
	var older func()
	older = func() {
		if n.lag = s.now() - began; n.lag >= lasts {
			n.lag = 0
			s.log("media of %s go on", n)
			return
		}
		s.after(100*time.Millisecond, older)
	}
	older()
}

// twin starts a copy of a running process at another address, with its name.
func (s *simulation) twin(time.Duration) {
	if n := s.anyOf(isRelay); n != nil {
		s.log("%s is copied while it runs", n)
		s.bootAs(RoleRelay, s.address(), n.node.Name())
	}
}

func (s *simulation) fill(lasts time.Duration) {
	n := s.spare()
	if n == nil {
		return
	}
	n.do(func() { n.carry(90) })
	s.after(lasts, func() { n.do(func() { n.carry(40) }) })
}

// deafen takes the gossip from a name server, and leaves it the rest.
func (s *simulation) deafen(lasts time.Duration) {
	n := s.anyOf(isServer)
	if n == nil || !s.isolate {
		return
	}
	n.deaf, n.missed = n.id+1, s.now()+lasts+simByGossip
	s.log("%s is without gossip for %v", n, lasts)
	s.after(lasts, func() { s.at[n.addr].deaf = 0; s.log("%s has the gossip back", n) })
}

// crowd changes loads as viewers come and go.
func (s *simulation) crowd() {
	for _, n := range s.alive(isRelay) {
		if s.fate.IntN(30) == 0 && n.node.self().State.Load < 85 {
			n.do(func() { n.carry(10 * s.fate.IntN(8)) })
		}
	}
}

// simHosts are the last processes of all addresses.
type simHosts map[netip.AddrPort]*simNode

// sorted is by age, as a map has no order.
func (h simHosts) sorted() []*simNode {
	var all []*simNode
	for _, n := range h {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *simNode) int { return a.id - b.id })
	return all
}
