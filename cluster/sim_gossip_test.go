package cluster

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// The member list of the simulation: what memberlist does, on the level of who
// hears what when. States are numbered by their nodes, news are passed on by
// whoever hears them, who does not answer is dead some seconds later, and who
// hears of its own death says that it lives.

// rumor is the state of a node as the gossip passes it on.
type rumor struct {
	name string
	at   netip.AddrPort
	meta []byte
	turn int // grows with each state, and when a death is denied
	dead bool
}

// heardRumor is what a node's list says of another.
type heardRumor struct {
	rumor
	died    time.Duration
	suspect bool
}

const (
	// simGrave is how long the dead are told what they missed, as memberlist does.
	simGrave    = 30 * time.Second
	simPing     = time.Second
	simExchange = 5 * time.Second
	simGossip   = 200 * time.Millisecond
	simFanout   = 3
	simPacket   = 1400
	// simLate is how much of the news comes late: what the usual repetitions
	// don't bring, an exchange of all knowledge does.
	simLate = 0.02
)

// hears tells whether gossip goes to and fro between n and o.
func (n *simNode) hears(o *simNode) bool { return n.up && n.feeds(o) }

// feeds tells whether a packet from n, who may be gone by now, arrives at o.
func (n *simNode) feeds(o *simNode) bool {
	return o.up && !o.hung && n.part == o.part && n.deaf == o.deaf
}

// spread sends news to all that n knows, except those who were told.
func (n *simNode) spread(r rumor, told map[netip.AddrPort]bool) {
	s := n.sim
	told[n.addr] = true
	for _, name := range n.order {
		e := n.list[name]
		if told[e.at] || e.dead && s.now()-e.died > simGrave {
			continue
		}
		told[e.at] = true
		delay := drawTime(s.wire, 20*time.Millisecond, 500*time.Millisecond)
		if s.wire.Float64() < simLate+s.loss*s.loss {
			delay = drawTime(s.wire, time.Second, 3*time.Second)
		}
		s.after(delay, func() {
			if to := s.at[e.at]; n.feeds(to) {
				to.do(func() { to.hear(r, told) })
			}
		})
	}
}

// hear takes in a rumor, and passes on what is news.
func (n *simNode) hear(r rumor, told map[netip.AddrPort]bool) {
	if r.name == n.node.Name() {
		n.hearOfSelf(r)
		return
	}
	e := n.list[r.name]
	switch {
	case e == nil && r.dead:
		return
	case e == nil:
		e = &heardRumor{rumor: r}
		n.list[r.name] = e
		i, _ := slices.BinarySearch(n.order, r.name)
		n.order = slices.Insert(n.order, i, r.name)
		n.d.NotifyJoin(r.node())
	case e.at != r.at:
		n.d.NotifyConflict(e.node(), r.node())
		return
	case r.dead && (e.dead || r.turn < e.turn), !r.dead && r.turn <= e.turn:
		return
	case r.dead:
		e.rumor, e.died = r, n.sim.now()
		n.d.NotifyLeave(r.node())
	case e.dead:
		e.rumor = r
		n.d.NotifyJoin(r.node())
	default:
		e.rumor = r
		n.d.NotifyUpdate(r.node())
	}
	n.spread(r, told)
}

// hearOfSelf denies our death, and finds out that another has our name.
func (n *simNode) hearOfSelf(r rumor) {
	switch {
	case r.at != n.addr:
		if !n.sim.broken.keepName {
			n.d.NotifyConflict(n.state().node(), r.node())
		}
	case r.dead && r.turn >= n.turn && !n.leaving && !n.sim.broken.noRefute:
		n.turn = r.turn
		n.publish()
	}
}

// state is our own rumor.
func (n *simNode) state() rumor {
	return rumor{name: n.node.Name(), at: n.addr, meta: n.d.NodeMeta(memberlist.MetaMaxSize), turn: n.turn}
}

// publish spreads our state.
func (n *simNode) publish() {
	n.turn++
	n.spread(n.state(), map[netip.AddrPort]bool{})
}

func (r rumor) node() *memberlist.Node {
	return &memberlist.Node{Name: r.name, Addr: net.IP(r.at.Addr().AsSlice()), Port: r.at.Port(), Meta: r.meta}
}

// ping asks the next member whether it is there; one that does not answer is
// dead when it did not some seconds later either. One who is taken for dead
// hears that, for a while.
func (n *simNode) ping() {
	n.inLife(simPing, n.ping)
	s := n.sim
	for range n.order {
		e := n.nextToPing()
		switch {
		case e.dead && s.now()-e.died < simGrave:
			n.accuse(e)
		case e.dead:
		case !e.suspect && !n.answers(e):
			n.suspect(e)
			return
		default:
			return
		}
	}
}

// nextToPing goes round the list in an order of its own, a new one each time: if
// all had one order, all would ping the same member, and the next one a minute
// later.
func (n *simNode) nextToPing() *heardRumor {
	if len(n.toPing) == 0 {
		n.toPing = slices.Clone(n.order)
		n.sim.wire.Shuffle(len(n.toPing), func(i, j int) { n.toPing[i], n.toPing[j] = n.toPing[j], n.toPing[i] })
	}
	next := n.toPing[0]
	n.toPing = n.toPing[1:]
	return n.list[next]
}

// answers tells whether a member would answer us now.
func (n *simNode) answers(e *heardRumor) bool {
	o := n.sim.at[e.at]
	return n.hears(o) && o.node.Name() == e.name
}

// accuse tells a node that it is dead.
func (n *simNode) accuse(e *heardRumor) {
	if n.answers(e) {
		r, to := e.rumor, n.sim.at[e.at]
		r.dead = true
		n.sim.after(drawTime(n.sim.wire, 5*time.Millisecond, 300*time.Millisecond), func() {
			if n.feeds(to) {
				to.do(func() { to.hear(r, map[netip.AddrPort]bool{}) })
			}
		})
	}
}

// suspect waits for a sign of life: who lives hears of the suspicion, and denies it.
func (n *simNode) suspect(e *heardRumor) {
	e.suspect = true
	turn := e.turn
	n.inLife(drawTime(n.sim.wire, 3*time.Second, 6*time.Second), func() {
		e.suspect = false
		switch {
		case e.turn != turn || e.dead:
		case n.answers(e):
			n.accuse(e)
		default:
			n.bury(e)
		}
	})
}

// bury takes a member for dead.
func (n *simNode) bury(e *heardRumor) {
	r := e.rumor
	r.dead = true
	n.hear(r, map[netip.AddrPort]bool{})
}

// exchangeSome exchanges all knowledge with a member by chance, now and then.
func (n *simNode) exchangeSome() {
	pause := simExchange
	for size := len(n.order); size > 32; size /= 2 { // as memberlist scales it
		pause += simExchange
	}
	n.inLife(drawTime(n.sim.wire, pause-time.Second, pause+time.Second), n.exchangeSome)
	if living := n.living(); len(living) > 0 {
		n.exchange(living[n.sim.wire.IntN(len(living))].at)
	}
}

// living are the members that we take for alive, by name.
func (n *simNode) living() []*heardRumor {
	var living []*heardRumor
	for _, name := range n.order {
		if e := n.list[name]; !e.dead {
			living = append(living, e)
		}
	}
	return living
}

// exchange is a stream to another node, over which both tell all that they know.
func (n *simNode) exchange(at netip.AddrPort) {
	s := n.sim
	life := n.life
	s.after(drawTime(s.wire, 2*time.Millisecond, 30*time.Millisecond), func() {
		to := s.at[at]
		if to == nil || to == n || !n.hears(to) || n.hung || n.life != life || to.leaving {
			return
		}
		ours, theirs := n.knowledge(), to.knowledge()
		to.do(func() { to.merge(ours) })
		n.do(func() { n.merge(theirs) })
	})
}

// knownToSim is all that a node tells another.
type knownToSim struct {
	rumors   []rumor
	verdicts []Verdict
}

func (n *simNode) knowledge() knownToSim {
	k := knownToSim{rumors: []rumor{n.state()}, verdicts: n.node.verdicts.snapshot()}
	for _, name := range n.order {
		k.rumors = append(k.rumors, n.list[name].rumor)
	}
	return k
}

// merge takes in what another node knows. Its dead are not dead for us, but who
// we can ask is asked.
func (n *simNode) merge(k knownToSim) {
	for _, r := range k.rumors {
		switch e := n.list[r.name]; {
		case !r.dead || r.name == n.node.Name():
			n.hear(r, map[netip.AddrPort]bool{})
		case e != nil && !e.dead && r.turn >= e.turn && !e.suspect:
			if n.answers(e) {
				n.accuse(&heardRumor{rumor: r})
			} else {
				n.suspect(e)
			}
		}
	}
	for _, v := range k.verdicts {
		n.hearVerdict(v)
	}
}

// gossip sends some members the verdicts that are queued.
func (n *simNode) gossip() {
	n.inLife(simGossip, n.gossip)
	if n.node.queue.len() == 0 {
		return
	}
	s := n.sim
	living := n.living()
	for range min(simFanout, len(living)) {
		i := s.wire.IntN(len(living))
		to := living[i].at
		living = slices.Delete(living, i, i+1)
		messages := n.d.GetBroadcasts(2, simPacket)
		if s.wire.Float64() >= s.loss {
			n.packet(to, messages...)
		}
	}
}

// packet brings messages to another node.
func (n *simNode) packet(at netip.AddrPort, messages ...[]byte) {
	s := n.sim
	s.after(drawTime(s.wire, time.Millisecond, 20*time.Millisecond), func() {
		if to := s.at[at]; n.feeds(to) {
			to.do(func() {
				for _, m := range messages {
					for _, v := range s.readVerdicts(m) {
						to.hearVerdict(v)
					}
				}
			})
		}
	})
}

// readVerdicts reads a message once for all who hear it.
func (s *simulation) readVerdicts(b []byte) []Verdict {
	v, known := s.read[string(b)]
	if !known {
		var err error
		if v, err = decodeVerdicts(b); err != nil {
			s.fail("verdict %q: %v", b, err)
		}
		s.read[string(b)] = v
	}
	return v
}

func (n *simNode) hearVerdict(v Verdict) {
	if deaf := n.sim.broken.deaf; deaf == nil || !deaf(v) {
		n.node.verdicts.hear(v)
	}
}

// tellVerdict is what Node.tellVerdict does over memberlist.
func (n *simNode) tellVerdict(v Verdict) {
	n.node.tellVerdict(v)
	if v.Prober != n.node.Name() {
		return
	}
	n.sim.log("%s says %s of %s %s", n, v.Opinion, n.sim.whose(v.Target), v.Failure)
	waiting, message := n.node.waitingFor(v), encodeVerdicts(v)[0]
	for _, e := range n.living() {
		if slices.ContainsFunc(waiting, func(a memberlist.Address) bool { return a.Name == e.name }) && n.sim.wire.Float64() >= n.sim.loss {
			n.packet(e.at, message)
		}
	}
}

// joinAll is Node.keepJoined: it tries whoever is missing.
func (n *simNode) joinAll() {
	for _, target := range n.node.missing(n.d) {
		n.exchange(target)
	}
	n.inLife(100*time.Millisecond, func() { // the exchanges are done
		pause := joinInterval
		switch {
		case len(n.d.known()) == 0 && len(n.node.Targets()) > 0:
			pause, n.alone = n.retry, true
			n.retry = min(2*n.retry, joinInterval)
		case n.alone:
			n.inLife(settle, n.settle)
			n.retry, n.alone = firstRetry, false
		}
		n.inLife(pause, n.joinAll)
	})
}

func (n *simNode) settle() {
	peers := n.node.knownPeers()
	n.sim.wire.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	for _, p := range peers[:min(len(peers), settlePeers)] {
		n.exchange(p)
	}
}

// forgetList forgets the list of an earlier life.
func (n *simNode) forgetList() {
	n.list, n.order = make(map[string]*heardRumor), nil
	n.turn, n.toPing = 0, nil
	n.retry, n.alone = firstRetry, true
}
