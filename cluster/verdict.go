package cluster

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// Opinion is what one prober says of one relay.
type Opinion string

// The opinions.
const (
	OpinionNone  Opinion = "none" // it does not ask that relay, or has no answer yet
	OpinionUp    Opinion = "up"
	OpinionDown  Opinion = "down"
	OpinionDoubt Opinion = "doubt" // lost, but with so many others that the prober may be cut off itself
)

// Failure is in which way a relay fails its probes; "" is none.
type Failure string

// The failures.
const (
	FailureRefused Failure = "refused" // nobody takes the connection
	FailureTimeout Failure = "timeout" // no answer in time
	FailureStale   Failure = "stale"   // its newest media are older than those of the others
	FailureWrong   Failure = "wrong"   // an answer, but not one of this relay in good order
)

// Failures are all of them.
var Failures = []Failure{FailureRefused, FailureTimeout, FailureStale, FailureWrong}

// Verdict is the opinion of one prober on one relay. Of two, the one with the
// greater sequence holds.
type Verdict struct {
	Prober   string // name of a member
	Target   string
	Opinion  Opinion
	Failure  Failure // of OpinionDown and OpinionDoubt
	Sequence uint64  // grows with each verdict that the prober gives
}

// maxVerdicts bounds what a node remembers: of two hundred relays that started
// at once, each seen by ten probers, and taken back by thirty that had their
// turn while fewer were there. Beyond it those taken back are forgotten, then new
// ones ignored, and gossip's own finding that a relay is dead is what is left.
const maxVerdicts = 8192

// Verdicts is what the probers of the pool say of its relays, and what follows
// from it. It is safe for concurrent use.
type Verdicts struct {
	self    func() string
	members func() []Member
	spread  func(Verdict) // passes a verdict on to the pool; must not block
	log     *slog.Logger

	mu       sync.Mutex
	sequence uint64                        // of our own last verdict
	given    map[string]map[string]Verdict // by relay, then by prober
	count    int                           // of given
	firm     bool                          // none of given is taken back, as the last look found
	change   chan struct{}                 // closed and replaced at each change of given
	judged   map[string]judgement          // by relay; nil when it has to be made anew
	of       []Member                      // for which it was made
	// withdrawn are the relays that were judged down the last time.
	withdrawn map[string]bool
}

func newVerdicts(self func() string, members func() []Member, spread func(Verdict), log *slog.Logger) *Verdicts {
	return &Verdicts{
		self: self, members: members, spread: spread, log: log,
		given:  make(map[string]map[string]Verdict),
		change: make(chan struct{}),
	}
}

// Healthy tells whether a relay may be named to viewers: not when more of those
// who probe it say down than say up. A relay of which nobody says anything is
// healthy, so that a pool without probers goes on.
func (v *Verdicts) Healthy(name string) bool { return !v.judgement(name).down }

// Failure tells in which way a relay that is not healthy fails; "" of others.
func (v *Verdicts) Failure(name string) Failure {
	if j := v.judgement(name); j.down {
		return j.failure
	}
	return ""
}

// Proved tells whether enough of the pool have seen a relay from outside to
// list it: two probers, or all if there are fewer.
func (v *Verdicts) Proved(name string) bool {
	members := v.members()
	judged := v.judge(members)
	probers := 0
	for _, m := range members {
		if m.Name != name && m.probes() && !judged[m.Name].doubted {
			probers++
		}
	}
	return judged[name].up >= min(2, probers)
}

// Changed returns a channel that is closed at the next change of a verdict. A
// change of the members can change the answers too.
func (v *Verdicts) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.change
}

// give is our own verdict, which is told to the pool.
func (v *Verdicts) give(target string, o Opinion, f Failure) {
	v.mu.Lock()
	v.sequence++
	own := Verdict{Prober: v.self(), Target: target, Opinion: o, Failure: f, Sequence: v.sequence}
	taken := v.put(own)
	v.mu.Unlock()
	if taken {
		v.spread(own)
	}
}

// hear takes in what another prober says, and passes on what is news.
func (v *Verdicts) hear(heard Verdict) {
	if heard.Prober == v.self() {
		return // an echo
	}
	v.mu.Lock()
	taken := v.put(heard)
	v.mu.Unlock()
	if taken {
		v.spread(heard)
	}
}

// put needs v.mu, and tells whether the verdict was news.
func (v *Verdicts) put(n Verdict) bool {
	old, known := v.given[n.Target][n.Prober]
	switch {
	case n.Prober == n.Target: // nobody is a witness for himself
		return false
	case known && old.Sequence >= n.Sequence:
		return false
	case !known && v.count >= maxVerdicts && !v.forgetTakenBack():
		return false
	case !known:
		v.count++
		if v.given[n.Target] == nil {
			v.given[n.Target] = make(map[string]Verdict)
		}
	}
	v.given[n.Target][n.Prober] = n
	v.firm = v.firm && n.Opinion != OpinionNone
	v.judged = nil
	close(v.change)
	v.change = make(chan struct{})
	return true
}

// forgetTakenBack makes room, and tells whether there was any to make. What was
// taken back is kept else, so that nobody who has not heard of it brings it again.
// It needs v.mu.
func (v *Verdicts) forgetTakenBack() bool {
	if v.firm {
		return false // a flood does not make us look again for each
	}
	before := v.count
	for _, byProber := range v.given {
		for prober, one := range byProber {
			if one.Opinion == OpinionNone {
				delete(byProber, prober)
				v.count--
			}
		}
	}
	v.firm = v.count == before
	return !v.firm
}

// holds tells whether a verdict is the newest of its prober on its relay.
func (v *Verdicts) holds(one Verdict) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.given[one.Target][one.Prober].Sequence == one.Sequence
}

// snapshot returns all verdicts of and on members, in the order of their names,
// and forgets the others.
func (v *Verdicts) snapshot() []Verdict {
	alive := namesOf(v.members())
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]Verdict, 0, v.count)
	for target, byProber := range v.given {
		for prober, one := range byProber {
			if alive[ownerOf(target)] && alive[prober] {
				all = append(all, one)
				continue
			}
			delete(byProber, prober)
			v.count--
		}
		if len(byProber) == 0 {
			delete(v.given, target)
		}
	}
	slices.SortFunc(all, func(a, b Verdict) int {
		return cmp.Or(strings.Compare(a.Target, b.Target), strings.Compare(a.Prober, b.Prober))
	})
	return all
}

func namesOf(members []Member) map[string]bool {
	names := make(map[string]bool, len(members))
	for _, m := range members {
		names[m.Name] = true
	}
	return names
}
