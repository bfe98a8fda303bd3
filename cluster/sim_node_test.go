package cluster

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"
)

// simNode is one process: the real Node, Prober and DNS, without their
// goroutines and sockets.
type simNode struct {
	sim   *simulation
	id    int
	role  Role
	addr  netip.AddrPort // of the gossip
	node  *Node
	d     *delegate // of this life
	probe *Prober
	dns   *DNS // of name servers
	birth time.Duration

	up, hung bool
	dark     bool // its machine is gone as well: nobody refuses
	died     time.Duration
	frozen   []func() // what came due while it hung
	part     int      // of the network; those in different parts don't reach each other
	deaf     int      // the same, for gossip alone
	// Until missed it may not know what others said while it did not hear them.
	missed time.Duration

	// Of the list, see sim_gossip_test.go.
	life    int
	list    map[string]*heardRumor
	order   []string // names, sorted
	toPing  []string // names, in the order of their turns
	turn    int
	retry   time.Duration
	alone   bool
	leaving bool

	viewed, judged   <-chan struct{}
	greeting, noting bool
	stage            int
	lag              time.Duration // of its media
	drains           bool
}

var simSecret = []byte("the pool secret of a simulation")

func (n *simNode) String() string {
	return fmt.Sprintf("%s%d", map[Role]string{RoleOrigin: "o", RoleRelay: "r", RoleNameServer: "n"}[n.role], n.id)
}

// whose returns the nodes that have, or last had, a name.
func (s *simulation) whose(name string) (holders []*simNode) {
	for _, n := range s.born {
		if n.node.Name() == name {
			holders = append(holders, n)
		}
	}
	return holders
}

// address gives out the next one.
func (s *simulation) address() netip.AddrPort {
	s.hosts++
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(s.hosts >> 4), byte(s.hosts<<4 | 1)}), 7946)
}

func (s *simulation) drawName() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(s.names.Uint32())
	}
	return hex.EncodeToString(b)
}

// seeds are where the stable nodes are.
func (s *simulation) seeds() (seeds []string) {
	for _, n := range s.born {
		if n.role != RoleRelay && s.at[n.addr] == n {
			seeds = append(seeds, n.addr.String())
		}
	}
	return seeds
}

// boot starts a process.
func (s *simulation) boot(role Role, at netip.AddrPort) *simNode {
	return s.bootAs(role, at, s.drawName())
}

func (s *simulation) bootAs(role Role, at netip.AddrPort, name string) *simNode {
	node, err := New(Config{Bind: at.String(), Secret: simSecret, Seeds: s.seeds(), State: State{
		Role: role, Status: StatusJoining, Capacity: 1e8, Media: netip.AddrPortFrom(at.Addr(), 8080).String(),
	}})
	if err != nil {
		panic(err)
	}
	n := &simNode{sim: s, id: len(s.born), role: role, addr: at, node: node, up: true, birth: s.now()}
	if before := s.at[at]; before != nil {
		n.part, n.deaf, n.missed = before.part, before.deaf, before.missed
	}
	node.mu.Lock()
	old := node.name
	node.name, node.draw = name, s.drawName
	node.view.replace(old, node.selfLocked())
	node.mu.Unlock()
	node.verdicts.spread = n.tellVerdict
	n.probe = NewProber(ProberConfig{
		Self: node.Name, Members: node.Members, Changed: node.Changed, Verdicts: node.verdicts, Logger: node.log,
		Own: n.positions, Lost: node.lost,
	})
	if role == RoleNameServer {
		n.dns = s.newDNS(n)
	}
	s.born = append(s.born, n)
	s.at[at] = n
	s.log("%s starts at %v as %.8s", n, at.Addr(), name)
	n.viewed, n.judged = node.Changed(), node.verdicts.Changed()
	n.newLife()
	n.after(drawTime(s.wire, time.Millisecond, probeTick), n.round)
	n.after(probeTick, n.watch)
	if role != RoleRelay {
		n.become(StatusServing)
	}
	return n
}

func (s *simulation) newDNS(n *simNode) *DNS {
	d, err := NewDNS(DNSConfig{
		Zone: testZone, NS: []NameServer{{Name: "ns1", Addrs: []netip.Addr{n.addr.Addr()}}},
		View: n.node.Members,
		Healthy: func(m Member) bool {
			if healthy := s.broken.healthy; healthy != nil {
				return healthy(m)
			}
			return n.node.verdicts.Healthy(m.Name)
		},
		Lost: n.node.lost.Members, Reached: n.probe.Reaches,
		OriginMayServe: true,
	})
	if err != nil {
		panic(err)
	}
	d.roster.rng = rand.New(rand.NewPCG(s.seed, uint64(n.id)<<8))
	return d
}

// newLife is the begin of Node.live.
func (n *simNode) newLife() {
	n.life++
	n.d = newDelegate(n.node)
	n.forgetList()
	n.joinAll()
	n.inLife(simPing, n.ping)
	n.inLife(simGossip, n.gossip)
	n.inLife(drawTime(n.sim.wire, time.Second, simExchange), n.exchangeSome)
}

// rename is what Node.Run does when another has our name.
func (n *simNode) rename() {
	n.d.ended.Store(true)
	n.node.rename()
	n.sim.log("%s is now %.8s", n, n.node.Name())
	n.newLife()
	d := n.d
	n.inLife(forgetAfter, func() { n.node.forgetGone(d) })
}

// after plans what the process does; it does not when it has ended by then, and
// does it later when it hangs.
func (n *simNode) after(d time.Duration, f func()) {
	n.sim.after(d, func() { n.do(f) })
}

// inLife is after, unless the node has another name by then.
func (n *simNode) inLife(d time.Duration, f func()) {
	life := n.life
	n.after(d, func() {
		if n.life == life {
			f()
		}
	})
}

func (n *simNode) do(f func()) {
	switch {
	case !n.up:
	case n.hung:
		n.frozen = append(n.frozen, f)
	default:
		f()
		n.notice()
	}
}

// notice does what the goroutines of a node do that wait for a change.
func (n *simNode) notice() {
	if n.noting || !n.up {
		return
	}
	n.noting = true
	defer func() { n.noting = false }()
	// One look after the other: a select would choose by chance.
	for {
		switch {
		case ready(n.d.contested):
			n.rename()
			continue
		case ready(n.node.dirty):
			n.publish()
			continue
		case ready(n.viewed):
			n.viewed = n.node.Changed()
			n.greet()
		case ready(n.judged):
			n.judged = n.node.verdicts.Changed()
		default:
			return
		}
		n.rise()
	}
}

func ready(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// greet is Prober.welcome and Node.keepPeers.
func (n *simNode) greet() {
	if n.greeting {
		return
	}
	n.greeting = true
	n.after(time.Millisecond, func() {
		n.greeting = false
		for _, m := range n.probe.newcomers() {
			n.meet(m, firstPause)
		}
	})
	n.inLife(peersSettle, func() {
		if peers := n.node.knownPeers(); len(peers) > 0 {
			n.node.setPeers(peers)
		}
	})
}

// meet is Prober.prove.
func (n *simNode) meet(m Member, wait time.Duration) {
	n.ask(m, func(p Positions, f Failure) {
		if n.probe.meet(m, p, f) {
			n.tellNews()
		} else if 2*wait < probeTick {
			n.after(wait, func() { n.meet(m, 2*wait) })
		}
	})
}

// round is Prober.round.
func (n *simNode) round() {
	n.after(probeTick, n.round)
	due := n.probe.due()
	positions, failures, open := make([]Positions, len(due)), make([]Failure, len(due)), len(due)
	done := func() {
		n.probe.conclude(due, positions, failures)
		n.tellNews()
	}
	if open == 0 {
		done()
	}
	for i, m := range due {
		n.ask(m, func(p Positions, f Failure) {
			positions[i], failures[i] = p, f
			if open--; open == 0 {
				done()
			}
		})
	}
}

// tellNews is Prober.tellNews.
func (n *simNode) tellNews() {
	for _, v := range n.probe.untold() {
		n.node.verdicts.give(v.Target, v.Opinion, v.Failure)
	}
}

// ask is Prober.ask over the network of the simulation.
func (n *simNode) ask(m Member, done func(Positions, Failure)) {
	s := n.sim
	way, sent := drawTime(s.wire, time.Millisecond, 20*time.Millisecond), s.now()
	lost := s.wire.Float64() < s.loss*s.loss // TCP sends once more in that time
	end := func(wait time.Duration, a ProbeAnswer, err error) {
		n.after(wait, func() {
			if s.now()-sent > probeTimeout { // it hung itself
				a, err = ProbeAnswer{}, context.DeadlineExceeded
			}
			p, f := n.probe.readAnswer(m, a, err)
			s.mix([]byte(f)...)
			done(p, f)
		})
	}
	s.after(way, func() {
		to := s.at[netip.AddrPortFrom(m.PublicAddr(), m.Address.Port())]
		switch {
		case lost || to == nil || !n.reaches(to) || to.hung || to.dark:
			end(probeTimeout-way, ProbeAnswer{}, context.DeadlineExceeded)
		case !to.up:
			end(way, ProbeAnswer{}, syscall.ECONNREFUSED)
		default:
			end(way, ProbeAnswer{Name: to.node.Name(), Status: to.status(), Streams: to.positions()}, nil)
		}
	})
}

// reaches tells whether n has a way to o, by HTTP.
func (n *simNode) reaches(o *simNode) bool {
	return n.part == o.part && !n.sim.cuts[[2]netip.Addr{n.addr.Addr(), o.addr.Addr()}]
}

// positions are how far it has the one stream that there is.
func (n *simNode) positions() Positions {
	if n.role == RoleNameServer || n.role == RoleRelay && n.stage <= simFetching {
		return Positions{}
	}
	return Positions{"theatre": {End: time.Now().Add(-n.lag).Truncate(time.Millisecond), Step: 225 * time.Millisecond}}
}

func (n *simNode) status() Status { return n.node.self().State.Status }

// end is the process's end, after a word to the others or without.
func (n *simNode) end(leave bool) {
	s := n.sim
	if leave {
		n.leaving = true
		r := n.state()
		r.dead = true
		n.spread(r, map[netip.AddrPort]bool{})
		s.after(200*time.Millisecond, func() { n.end(false) })
		return
	}
	if n.up {
		n.up, n.died, n.frozen = false, s.now(), nil
		s.log("%s ends", n)
	}
}

// wake ends a SIGSTOP.
func (n *simNode) wake() {
	n.hung = false
	late := n.frozen
	n.frozen = nil
	for _, f := range late {
		n.do(f)
	}
}
