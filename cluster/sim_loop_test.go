package cluster

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"
)

// simConfig is all that a simulation follows from, to the last byte of its trace.
type simConfig struct {
	seed     uint64
	nodes    int
	isolate  bool              // a name server may lose the gossip, while its probes go on
	only     []string          // kinds of faults; none: all
	sabotage func(*simulation) // breaks the code of the nodes, to see whether it is found; may be nil
}

// simulation is a pool on fake time in one goroutine: the nodes run this
// package's own code, on a member list and a network of the test, and all that
// happens by chance is drawn from one seed. So a seed repeats exactly.
//
//	faults ──▶ processes, network ──▶ fake member list ──▶ delegate, view, verdicts
//	                   └──▶ answers ──▶ Prober ──▶ verdicts ──▶ DNS, steering ──▶ checks
//
// It runs in a bubble of testing/synctest, alone there: the time goes on where
// the loop sleeps, and nowhere else.
type simulation struct {
	simConfig
	fate, wire, names *rand.Rand // of faults, of delays and losses, of the nodes' names

	began  time.Time
	queue  simQueue
	born   []*simNode             // all that ever were
	at     simHosts               // whose process is, or was last, at an address
	hosts  int                    // addresses given out
	split  bool                   // the network is in two parts
	cuts   map[[2]netip.Addr]bool // no HTTP from the first to the second
	loss   float64                // of packets
	read   map[string][]Verdict   // messages that were read: one reading for all who hear it
	checks simChecks

	trace   []byte
	sum     uint64 // of what is not worth a line in the trace
	failure string // the first
	broken  simSabotage
}

// simSabotage is where the code of the nodes can be broken on purpose.
type simSabotage struct {
	deaf       func(Verdict) bool // verdicts that no node hears
	healthy    func(Member) bool  // what name servers take for healthy
	keepName   bool               // nobody hears that another has its name
	noRefute   bool               // nobody says that it is not dead
	forgetLast bool               // a name server forgets whom it named
	forgetLost bool               // a name server forgets whom the gossip has lost
}

// simEvent is one thing to do.
type simEvent struct {
	at    time.Duration
	order uint64 // of two at one time, the one planned first
	run   func()
}

// simQueue is a heap of events.
type simQueue struct {
	events  []simEvent
	planned uint64
}

func (e *simEvent) before(o *simEvent) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

func (q *simQueue) push(at time.Duration, run func()) {
	q.planned++
	q.events = append(q.events, simEvent{at, q.planned, run})
	for i := len(q.events) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.events[i].before(&q.events[up]) {
			break
		}
		q.events[i], q.events[up] = q.events[up], q.events[i]
		i = up
	}
}

func (q *simQueue) pop() simEvent {
	e, last := q.events[0], len(q.events)-1
	q.events[0], q.events[last] = q.events[last], simEvent{}
	q.events = q.events[:last]
	for i := 0; ; {
		next := i
		for _, down := range []int{2*i + 1, 2*i + 2} {
			if down < last && q.events[down].before(&q.events[next]) {
				next = down
			}
		}
		if next == i {
			return e
		}
		q.events[i], q.events[next] = q.events[next], q.events[i]
		i = next
	}
}

func newSimulation(c simConfig) *simulation {
	draw := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(c.seed, stream)) }
	s := &simulation{
		simConfig: c,
		fate:      draw(1), wire: draw(2), names: draw(3),
		at:    make(simHosts),
		cuts:  make(map[[2]netip.Addr]bool),
		read:  make(map[string][]Verdict),
		began: time.Now(),
	}
	s.checks = newSimChecks(s)
	return s
}

func (s *simulation) now() time.Duration { return time.Since(s.began) }

// after plans what happens d later.
func (s *simulation) after(d time.Duration, run func()) { s.queue.push(s.now()+d, run) }

// run lets the time go on until the end, or until a check fails.
func (s *simulation) run(end time.Duration) {
	for len(s.queue.events) > 0 && s.queue.events[0].at <= end && s.failure == "" {
		e := s.queue.pop()
		if wait := e.at - s.now(); wait > 0 {
			time.Sleep(wait)
		}
		e.run()
	}
}

// drawTime draws a time.
func drawTime(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)/int64(time.Millisecond)+1))*time.Millisecond
}

// log adds a line to the trace.
func (s *simulation) log(format string, values ...any) {
	s.trace = fmt.Appendf(s.trace, "%7.3f ", s.now().Seconds())
	s.trace = fmt.Appendf(s.trace, format, values...)
	s.trace = append(s.trace, '\n')
}

// mix takes into the trace's sum what is too frequent for lines.
func (s *simulation) mix(b ...byte) {
	h := fnv.New64a()
	h.Write([]byte{byte(s.sum), byte(s.sum >> 8), byte(s.sum >> 16), byte(s.sum >> 24), byte(s.sum >> 32), byte(s.sum >> 40), byte(s.sum >> 48), byte(s.sum >> 56)})
	h.Write(b)
	s.sum = h.Sum64()
}

// fail ends the simulation.
func (s *simulation) fail(format string, values ...any) {
	if s.failure == "" {
		s.failure = fmt.Sprintf(format, values...)
		s.log("FAIL %s", s.failure)
	}
}

// alive are the nodes whose process runs, in the order of their births.
func (s *simulation) alive(which ...func(*simNode) bool) []*simNode {
	var alive []*simNode
nodes:
	for _, n := range s.born {
		if !n.up {
			continue
		}
		for _, is := range which {
			if !is(n) {
				continue nodes
			}
		}
		alive = append(alive, n)
	}
	return alive
}
