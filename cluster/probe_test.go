package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// ward is a pool without gossip or media: probers of the real kind, relays that
// answer as the test says, and verdicts that reach everybody 10 ms later.
type ward struct {
	t *testing.T

	mu      sync.Mutex
	members []Member
	change  chan struct{}
	relays  map[string]*patient
	cuts    map[[2]string]bool // prober, relay, or NAME:2 for its second address
	asked   map[string]int     // by prober and relay
	probers map[string]*Prober
	stalled bool // the source stands still

	stranded bool // no prober has a way to second addresses

	stop    context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup
}

// patient is a relay as its probers find it.
type patient struct {
	refuses, hangs bool
	behind         time.Duration
}

const wardDelay = 10 * time.Millisecond

// newWard starts name servers n1, n2 … and serving relays r1, r2 ….
func newWard(t *testing.T, servers, relays int) *ward {
	w := &ward{
		t: t, change: make(chan struct{}), relays: map[string]*patient{}, cuts: map[[2]string]bool{},
		asked: map[string]int{}, probers: map[string]*Prober{},
	}
	w.ctx, w.stop = context.WithCancel(t.Context())
	t.Cleanup(func() { w.stop(); w.running.Wait() })
	for i := 1; i <= servers; i++ {
		w.add(Member{Name: fmt.Sprintf("n%d", i), State: State{Role: RoleNameServer, Status: StatusServing}})
	}
	for i := 1; i <= relays; i++ {
		w.add(relayMember(i, StatusServing))
	}
	return w
}

func relayMember(i int, s Status) Member {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 7946)
	return Member{
		Name: fmt.Sprintf("r%d", i), Address: at,
		State: State{Role: RoleRelay, Status: s, Media: netip.AddrPortFrom(at.Addr(), 8080).String()},
	}
}

// add brings a member in, and runs its prober.
func (w *ward) add(m Member) {
	verdicts := newVerdicts(func() string { return m.Name }, func() []Member { return w.seenBy(m.Name) },
		func(v Verdict) { w.spread(m.Name, v) }, slog.New(slog.DiscardHandler))
	p := NewProber(ProberConfig{
		Self:     func() string { return m.Name },
		Members:  func() []Member { return w.seenBy(m.Name) },
		Changed:  w.changed,
		Verdicts: verdicts,
		Ask:      func(ctx context.Context, to Member) (ProbeAnswer, error) { return w.answer(ctx, m.Name, to) },
		Routes: func(netip.Addr) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !w.stranded
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	w.edit(func() {
		w.members = append(slices.Clone(w.members), m)
		w.relays[m.Name] = &patient{}
		w.probers[m.Name] = p
	})
	w.running.Go(func() { _ = p.Run(w.ctx) })
}

// edit changes the ward, and tells the probers.
func (w *ward) edit(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.change)
	w.change = make(chan struct{})
}

// is sets how some relays are.
func (w *ward) is(p patient, names ...string) {
	w.edit(func() {
		for _, name := range names {
			w.relays[name] = &p
		}
	})
}

func (w *ward) cut(prober string, relays ...string) {
	w.edit(func() {
		for _, r := range relays {
			w.cuts[[2]string{prober, r}] = true
		}
	})
}

func (w *ward) remove(name string) {
	w.edit(func() {
		w.members = slices.DeleteFunc(slices.Clone(w.members), func(m Member) bool { return m.Name == name })
	})
}

func (w *ward) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

func (w *ward) seenBy(name string) []Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	members := slices.Clone(w.members)
	for i := range members {
		members[i].Self = members[i].Name == name
	}
	return members
}

// spread delivers a verdict; a relay that is dead or hangs hears and says
// nothing.
func (w *ward) spread(from string, v Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.relays[from]; p.refuses || p.hangs || v.Prober != from {
		return
	}
	for name, p := range w.probers {
		if to := w.relays[name]; name != from && !to.refuses && !to.hangs {
			time.AfterFunc(wardDelay, func() { p.cfg.Verdicts.hear(v) })
		}
	}
}

// answer is what a relay says to a prober; a prober that hangs gets nothing.
func (w *ward) answer(ctx context.Context, prober string, m Member) (ProbeAnswer, error) {
	w.mu.Lock()
	w.asked[prober+" "+m.Name]++
	name := ownerOf(m.Name)
	relay, asker, cut := *w.relays[name], *w.relays[prober], w.cuts[[2]string{prober, m.Name}]
	stalled := w.stalled
	w.mu.Unlock()
	switch {
	case asker.refuses || asker.hangs || relay.hangs || cut:
		<-ctx.Done()
		return ProbeAnswer{}, ctx.Err()
	case relay.refuses:
		return ProbeAnswer{}, syscall.ECONNREFUSED
	}
	end := time.Now().Add(-relay.behind).Truncate(time.Millisecond)
	if stalled {
		end = time.Unix(946684800, 0)
	}
	return ProbeAnswer{Name: name, Streams: Positions{"theatre": {End: end, Step: 225 * time.Millisecond}}}, nil
}

// healthy is what a member thinks of a relay.
func (w *ward) healthy(member, relay string) bool {
	return w.probers[member].cfg.Verdicts.Healthy(relay)
}

// until waits for a verdict of a member on a relay.
func (w *ward) until(member, relay string, healthy bool, bound time.Duration) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		said := w.probers[member].cfg.Verdicts.Changed()
		if w.healthy(member, relay) == healthy {
			return time.Since(began)
		}
		select {
		case <-said:
		case <-time.After(time.Until(began.Add(bound))):
			w.t.Fatalf("%s finds %s healthy: %v, after %v", member, relay, !healthy, bound)
		}
	}
}

// inWard runs a test in a bubble, 10 s after the start of a ward, a moment after
// a tick: the worst one for what happens then.
func inWard(t *testing.T, servers, relays int, test func(w *ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, servers, relays)
		time.Sleep(10*time.Second + time.Millisecond)
		test(w)
	})
}

func TestDeadRelayIsWithdrawn(t *testing.T) {
	tests := map[string]struct {
		is      patient
		failure Failure
		within  time.Duration
	}{
		"killed":    {patient{refuses: true}, FailureRefused, 3 * time.Second},
		"hanging":   {patient{hangs: true}, FailureTimeout, 3700 * time.Millisecond},
		"not fresh": {patient{behind: time.Minute}, FailureStale, 3 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inWard(t, 1, 5, func(w *ward) {
				w.is(test.is, "r3")
				took := w.until("n1", "r3", false, 5*time.Second)
				t.Logf("withdrawn after %v", took)
				// Others' verdicts are needed, and 10 ms away.
				if took < 2*time.Second || took > test.within+wardDelay {
					t.Errorf("withdrawn after %v, want at most %v", took, test.within+wardDelay)
				}
				time.Sleep(time.Second)
				for _, other := range []string{"n1", "r1", "r5"} {
					if got := w.probers[other].cfg.Verdicts.Failure("r3"); got != test.failure {
						t.Errorf("%s gives %q as the reason, want %q", other, got, test.failure)
					}
					if !w.healthy(other, "r1") {
						t.Errorf("%s finds another relay unhealthy", other)
					}
				}
				w.is(patient{}, "r3")
				if took := w.until("n1", "r3", true, 5*time.Second); took <= time.Second || took > 2*time.Second+wardDelay {
					t.Errorf("back after %v, want two probes", took)
				}
			})
		})
	}
}

// A relay whose last media are 1.9 s behind is late, not stale.
func TestLateRelayStays(t *testing.T) {
	inWard(t, 1, 5, func(w *ward) {
		w.is(patient{behind: 1900 * time.Millisecond}, "r3")
		time.Sleep(20 * time.Second)
		if !w.healthy("n1", "r3") {
			t.Errorf("withdrawn: %s", w.probers["n1"].cfg.Verdicts.Failure("r3"))
		}
	})
}

// When the source stands still, no relay is to blame.
func TestStallOfTheSourceWithdrawsNobody(t *testing.T) {
	inWard(t, 1, 5, func(w *ward) {
		w.edit(func() { w.stalled = true })
		time.Sleep(time.Minute)
		for i := 1; i <= 5; i++ {
			if name := fmt.Sprintf("r%d", i); !w.healthy("n1", name) {
				t.Errorf("%s withdrawn: %s", name, w.probers["n1"].cfg.Verdicts.Failure(name))
			}
		}
	})
}

// A prober that alone can't reach a relay is outvoted: in a large pool, and in
// the smallest that has two opinions.
func TestCutFromOneProberStaysListed(t *testing.T) {
	for _, relays := range []int{2, 5} {
		inWard(t, 1, relays, func(w *ward) {
			w.cut("n1", "r1")
			for range 60 {
				time.Sleep(time.Second)
				if !w.healthy("n1", "r1") {
					t.Fatalf("withdrawn in a pool of %d", relays)
				}
			}
			if s := w.probers["n1"].Snapshot(); s.Down != 1 {
				t.Errorf("the prober itself: %+v", s)
			}
		})
	}
}

// A name server that loses all of them is wrong about each, and says so.
func TestCutOffProberDoubtsItself(t *testing.T) {
	inWard(t, 1, 10, func(w *ward) {
		lost := []string{"r1", "r2", "r3", "r4"} // 40 %
		w.cut("n1", lost...)
		for range 30 {
			time.Sleep(time.Second)
			for _, r := range lost {
				if !w.healthy("n1", r) || !w.healthy("r9", r) {
					t.Fatalf("%s withdrawn", r)
				}
			}
		}
		if s := w.probers["n1"].Snapshot(); !s.Doubt || s.Down != 4 {
			t.Errorf("the prober: %+v", s)
		}
		w.edit(func() { clear(w.cuts) })
		time.Sleep(3 * time.Second)
		if s := w.probers["n1"].Snapshot(); s.Doubt || s.Down != 0 {
			t.Errorf("the prober when all is well again: %+v", s)
		}
	})
}

// Half a pool that dies at once makes each prober doubt itself; together they
// know.
func TestHalfThePoolDies(t *testing.T) {
	inWard(t, 2, 10, func(w *ward) {
		dead := []string{"r1", "r2", "r3", "r4", "r5"}
		w.is(patient{refuses: true}, dead...)
		var took time.Duration
		for _, r := range dead {
			took += w.until("n1", r, false, 4*time.Second)
		}
		if took > 3700*time.Millisecond+2*wardDelay {
			t.Errorf("withdrawn after %v", took)
		}
		for i := 6; i <= 10; i++ {
			if !w.healthy("n1", fmt.Sprintf("r%d", i)) {
				t.Errorf("r%d withdrawn", i)
			}
		}
	})
}

// Of three relays two die one after the other: what the first said of the
// second must not hold it in the list.
func TestDeadRelaysHaveNoVote(t *testing.T) {
	inWard(t, 1, 3, func(w *ward) {
		w.is(patient{refuses: true}, "r1")
		w.until("n1", "r1", false, 4*time.Second)
		w.is(patient{hangs: true}, "r2")
		if took := w.until("n1", "r2", false, 5*time.Second); took > 3800*time.Millisecond {
			t.Errorf("the second is withdrawn after %v", took)
		}
	})
}

func TestFlappingRelayMustHoldOut(t *testing.T) {
	inWard(t, 1, 0, func(w *ward) {
		w.add(relayMember(1, StatusServing))
		time.Sleep(2 * time.Second)
		var waits []time.Duration
		for range 12 {
			w.is(patient{refuses: true}, "r1")
			w.until("n1", "r1", false, 5*time.Second)
			w.is(patient{}, "r1")
			waits = append(waits, w.until("n1", "r1", true, 3*time.Minute).Round(time.Second))
		}
		want := []time.Duration{2, 2, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120}
		for i := range want {
			if waits[i] != want[i]*time.Second {
				t.Fatalf("came back after %v, want %v s", waits, want)
			}
		}
		time.Sleep(flapMemory) // it holds out
		w.is(patient{refuses: true}, "r1")
		w.until("n1", "r1", false, 5*time.Second)
		w.is(patient{}, "r1")
		if took := w.until("n1", "r1", true, time.Minute).Round(time.Second); took != 2*time.Second {
			t.Errorf("after it held out it came back after %v", took)
		}
	})
}

// A relay that warms up is asked at once, not at the next tick, and needs one
// good answer of each of two.
func TestNewcomerIsProvedAtOnce(t *testing.T) {
	inWard(t, 1, 4, func(w *ward) {
		began := time.Now()
		w.add(relayMember(9, StatusWarming))
		for !w.probers["r9"].cfg.Verdicts.Proved("r9") {
			if time.Since(began) > time.Second {
				t.Fatal("not proved after a second")
			}
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 2*wardDelay {
			t.Errorf("proved after %v", took)
		}
	})
}

// One that can't be reached from outside is never proved, and nobody calls it
// lost: it was never there.
func TestNewcomerThatNobodyReaches(t *testing.T) {
	inWard(t, 1, 4, func(w *ward) {
		for prober := range w.probers {
			w.cut(prober, "r9")
		}
		w.add(relayMember(9, StatusWarming))
		time.Sleep(time.Minute)
		if w.probers["r9"].cfg.Verdicts.Proved("r9") {
			t.Error("proved")
		}
		if s := w.probers["n1"].Snapshot(); s.Up != 4 || s.Down != 0 {
			t.Errorf("the name server: %+v", s)
		}
	})
}

func TestProofNeedsAsManyAsThereAre(t *testing.T) {
	inWard(t, 0, 0, func(w *ward) {
		w.add(relayMember(1, StatusWarming))
		time.Sleep(time.Second)
		if !w.probers["r1"].cfg.Verdicts.Proved("r1") {
			t.Error("where nobody probes, the own proof must be enough")
		}
		w.add(Member{Name: "o", State: State{Role: RoleOrigin, Status: StatusServing}})
		if w.probers["r1"].cfg.Verdicts.Proved("r1") {
			t.Error("proved before anybody asked")
		}
		time.Sleep(time.Second)
		if !w.probers["r1"].cfg.Verdicts.Proved("r1") {
			t.Error("not proved by the only one who probes")
		}
	})
}

// Each relay is seen by all name servers and three relays, each second.
func TestEachRelayIsSeenByAFew(t *testing.T) {
	inWard(t, 2, 20, func(w *ward) {
		w.edit(func() { clear(w.asked) })
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := 1; i <= 20; i++ {
			probers := 0
			for prober := range w.probers {
				switch w.asked[fmt.Sprintf("%s r%d", prober, i)] {
				case 0:
				case 10:
					probers++
				default:
					t.Errorf("%s asked r%d %d times in 10 s", prober, i, w.asked[fmt.Sprintf("%s r%d", prober, i)])
				}
			}
			if probers != 2+turnProbers {
				t.Errorf("r%d has %d probers", i, probers)
			}
		}
	})
}

// Verdicts of a prober that is gone do not count.
func TestVerdictsOfTheGoneAreDropped(t *testing.T) {
	inWard(t, 1, 1, func(w *ward) {
		verdicts := w.probers["r1"].cfg.Verdicts
		for _, gone := range []string{"x", "y"} {
			verdicts.hear(Verdict{Prober: gone, Target: "r1", Opinion: OpinionDown, Failure: FailureTimeout, Sequence: 1})
		}
		if !verdicts.Healthy("r1") {
			t.Error("those who are no members have a vote")
		}
		if got := len(verdicts.snapshot()); got != 1 {
			t.Errorf("%d verdicts are told on", got)
		}
		verdicts.hear(Verdict{Prober: "n1", Target: "r1", Opinion: OpinionDown, Failure: FailureTimeout, Sequence: 99})
		if verdicts.Healthy("r1") || verdicts.Failure("r1") != FailureTimeout {
			t.Error("the only prober has no vote")
		}
		w.remove("n1")
		if !verdicts.Healthy("r1") {
			t.Error("a prober that is gone has a vote")
		}
	})
}

func TestVerdictsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerdicts(func() string { return "me" }, func() []Member { return nil }, func(Verdict) {}, slog.New(slog.DiscardHandler))
		for i := range 2 * maxVerdicts {
			v.hear(Verdict{Prober: fmt.Sprint("p", i), Target: fmt.Sprint("t", i), Opinion: OpinionDown, Sequence: 1})
		}
		if v.count != maxVerdicts || len(slices.Collect(maps.Keys(v.given))) != maxVerdicts {
			t.Errorf("%d verdicts", v.count)
		}
		if left := v.snapshot(); len(left) != 0 || v.count != 0 {
			t.Errorf("%d verdicts of nobody are told on, %d kept", len(left), v.count)
		}
	})
}
