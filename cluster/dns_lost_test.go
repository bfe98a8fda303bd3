package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// hamlet is a name server that probes, and relays that are a gossip and an
// answer to probes. Its links are those of the gossip alone: what is cut there
// does not touch the probes.
type hamlet struct {
	*pool
	server *Node
	dns    *DNS
	relays map[string]*Node // by gossip address
	stop   map[string]func()

	mu    sync.Mutex
	ill   map[string]patient // by gossip address
	names map[string]string  // whom the probes find there
}

// inHamlet runs a test with five relays, 10.0.0.2 to 10.0.0.6, of 100 to 500
// Mbit/s, when all of them have been named for a while.
func inHamlet(t *testing.T, test func(h *hamlet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hamlet{
			pool: newPool(t), relays: map[string]*Node{}, stop: map[string]func(){},
			ill: map[string]patient{}, names: map[string]string{},
		}
		h.server, _ = h.start(1, func(c *Config) { c.State = State{Role: RoleNameServer, Status: StatusServing} })
		prober := NewProber(ProberConfig{
			Self: h.server.Name, Members: h.server.Members, Changed: h.server.Changed,
			Verdicts: h.server.Verdicts(), Lost: h.server.Lost(), Ask: h.answer, Logger: h.server.Logger(),
		})
		h.wg.Go(func() { _ = prober.Run(t.Context()) })
		for i := 2; i <= 6; i++ {
			h.startRelay(i)
		}
		h.dns, _ = silentDNS(t, nil, func(c *DNSConfig) {
			c.View = h.server.Members
			c.Healthy = func(m Member) bool { return h.server.Verdicts().Healthy(m.Name) }
			c.Lost, c.Reached = h.server.Lost().Members, prober.Reaches
		})
		time.Sleep(20*time.Second + time.Millisecond)
		h.expect("23456")
		test(h)
	})
}

func (h *hamlet) startRelay(i int) {
	n, stop := h.start(i, func(c *Config) {
		c.State.Status, c.State.Capacity = StatusServing, int64(i-1)*1e8
	})
	h.relays[address(i)], h.stop[address(i)] = n, stop
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[address(i)] = n.Name()
}

// answer is what a probe gets.
func (h *hamlet) answer(ctx context.Context, m Member) (ProbeAnswer, error) {
	h.mu.Lock()
	at := m.Address.Addr().String()
	ill, name := h.ill[at], h.names[at]
	h.mu.Unlock()
	switch {
	case ill.hangs:
		<-ctx.Done()
		return ProbeAnswer{}, ctx.Err()
	case ill.refuses:
		return ProbeAnswer{}, syscall.ECONNREFUSED
	}
	end := time.Now().Add(-ill.behind).Truncate(time.Millisecond)
	return ProbeAnswer{
		Name: name, Status: h.relays[at].self().State.Status,
		Streams: Positions{"theatre": {End: end, Step: 225 * time.Millisecond}},
	}, nil
}

func (h *hamlet) is(p patient, relays ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range relays {
		h.ill[address(i)] = p
	}
}

// deafen cuts the name server from all gossip.
func (h *hamlet) deafen() {
	for i := range 9 {
		h.net.Cut(address(1), address(2+i))
	}
}

func (h *hamlet) heal() {
	for i := range 9 {
		h.net.Heal(address(1), address(2+i))
	}
}

func (h *hamlet) expect(want string) {
	h.t.Helper()
	if got := everNamed(h.t, h.dns); got != want {
		h.t.Fatalf("%s are named, want %s; the gossip has %d members", got, want, len(h.server.Members()))
	}
}

// until waits until exactly these are named.
func (h *hamlet) until(want string, bound time.Duration) time.Duration {
	h.t.Helper()
	began := time.Now()
	for everNamed(h.t, h.dns) != want {
		if time.Since(began) > bound {
			h.expect(want)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}

// weighed is what each address weighs in the answers.
func (h *hamlet) weighed() map[netip.Addr]float64 {
	h.dns.roster.mu.Lock()
	defer h.dns.roster.mu.Unlock()
	all := make(map[netip.Addr]float64)
	for i, addr := range h.dns.roster.v4.addrs {
		all[addr] = h.dns.roster.v4.weights[i]
	}
	return all
}

// A name server that hears no gossip for half an hour names the relays that it
// reaches, with their weights; when it hears again all is as it was.
func TestDeafNameServerKeepsTheRelays(t *testing.T) {
	inHamlet(t, func(h *hamlet) {
		before := h.weighed()
		h.deafen()
		for i := range 30 * 60 {
			time.Sleep(time.Second)
			if i%5 == 0 && i < 120 || i%60 == 0 {
				h.expect("23456")
			}
		}
		if got := len(h.server.Members()); got != 1 {
			t.Fatalf("the gossip has not lost the relays: %d members", got)
		}
		if got := h.dns.Remembered(); got != 5 || h.dns.Panicking() {
			t.Errorf("%d relays are remembered, panic: %t", got, h.dns.Panicking())
		}
		if got := h.weighed(); !maps.Equal(got, before) {
			t.Errorf("weights %v, before %v", got, before)
		}
		if got := reply(t, h.dns, testZone, dns.TypeA).Answer[0].Header().Ttl; got != 15 {
			t.Errorf("ttl %d", got)
		}
		if got := reply(t, h.dns, "e-0a000003."+testZone, dns.TypeA).Answer; len(got) != 1 {
			t.Errorf("a relay's own name: %v", got)
		}
		h.heal()
		for range 30 {
			time.Sleep(time.Second)
			h.expect("23456")
		}
		if got := h.dns.Remembered(); got != 0 || len(h.server.Lost().Members()) != 0 {
			t.Errorf("%d relays are remembered when the gossip has them again", got)
		}
		for _, m := range h.server.Members() {
			if m.State.Role == RoleRelay && h.server.verdicts.judgement(m.Name).up != 1 {
				t.Errorf("%s: the pool does not hear that the name server reaches it", m.Name)
			}
		}
	})
}

// What a deaf name server finds out by its own probes counts.
func TestDeafNameServerProbesOn(t *testing.T) {
	inHamlet(t, func(h *hamlet) {
		h.deafen()
		time.Sleep(time.Minute)
		for what, p := range map[string]patient{
			"killed": {refuses: true}, "hanging": {hangs: true}, "not fresh": {behind: time.Minute},
		} {
			h.is(p, 4)
			took := h.until("2356", 4*time.Second)
			h.is(patient{}, 4)
			t.Logf("%s: not named after %v, again after %v", what, took, h.until("23456", 4*time.Second))
			time.Sleep(3 * time.Minute)
		}
		h.relays[address(3)].SetState(State{Role: RoleRelay, Status: StatusDraining})
		t.Logf("draining: not named after %v", h.until("2456", 1100*time.Millisecond))
		h.relays[address(3)].SetState(State{Role: RoleRelay, Status: StatusServing})
		h.until("23456", 1100*time.Millisecond)
		// Killed, and another life begins at its address.
		h.mu.Lock()
		h.names[address(5)] = "another"
		h.mu.Unlock()
		h.until("2346", 4*time.Second)
	})
}

// Cut off from gossip and relays a name server goes on with its last answer,
// where it would else name fewer and fewer.
func TestNameServerThatReachesNobody(t *testing.T) {
	inHamlet(t, func(h *hamlet) {
		h.deafen()
		h.is(patient{hangs: true}, 2, 3, 4, 5, 6)
		for range 15 * 6 {
			time.Sleep(10 * time.Second)
			h.expect("23456")
		}
		h.is(patient{}, 2, 3)
		h.heal()
		t.Logf("two are reached again, and alone named, after %v", h.until("23", 30*time.Second))
	})
}

// Relays that are dead for gossip and probes are out, though the probes of the
// name server were in doubt.
func TestDeadRelaysAreNotRemembered(t *testing.T) {
	inHamlet(t, func(h *hamlet) {
		for _, i := range []int{2, 3, 4} { // of 600 Mbit/s, the others have 900
			h.net.Host(address(i)).Kill()
		}
		h.is(patient{refuses: true}, 2, 3, 4)
		h.until("56", 15*time.Second)
		for range 60 {
			time.Sleep(time.Second)
			h.expect("56")
		}
		if got := h.dns.Remembered(); got != 0 {
			t.Errorf("%d remembered", got)
		}
	})
}

// A relay that leaves is out at once, also if something goes on answering for it.
func TestRelayThatLeavesIsNotRemembered(t *testing.T) {
	inHamlet(t, func(h *hamlet) {
		h.wg.Go(h.stop[address(3)])
		t.Logf("not named after %v", h.until("2456", time.Second))
		for range 60 {
			time.Sleep(time.Second)
			h.expect("2456")
		}
		if got := h.server.Lost().Members(); len(got) != 0 {
			t.Errorf("remembered: %v", got)
		}
	})
}

// A relay that is killed and started again is one relay.
func TestRestartedRelayIsNotRemembered(t *testing.T) {
	inHamlet(t, func(h *hamlet) {
		h.net.Host(address(3)).Kill()
		h.is(patient{refuses: true}, 3)
		time.Sleep(time.Second)
		h.is(patient{}, 3)
		h.startRelay(3)
		for range 60 {
			time.Sleep(time.Second)
			if got := h.server.Lost().Members(); len(got) != 0 {
				t.Fatalf("remembered: %v", got)
			}
		}
		h.expect("23456")
	})
}

// A relay that the gossip loses is remembered before it is no member any more: DNS
// looks at both from other goroutines, at any time.
func TestLostRelayIsKnownThroughout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		var server atomic.Pointer[Node]
		var name atomic.Value
		var looks atomic.Int64
		log := slog.New(onRecord(func(message string) {
			if message != "member gone" {
				return
			}
			looks.Add(1)
			if got := server.Load().Lost().Members(); len(got) != 1 || got[0].Name != name.Load() {
				t.Errorf("of %v that is gone these are remembered: %v", name.Load(), got)
			}
		}))
		n, _ := p.start(1, func(c *Config) { c.Logger = log })
		server.Store(n)
		relay, _ := p.start(2, func(c *Config) { c.State.Status = StatusServing })
		p.await(n, 5*time.Second, count(2))
		name.Store(relay.Name())
		p.net.Host(address(2)).Kill()
		time.Sleep(30 * time.Second)
		if got := looks.Load(); got != 1 {
			t.Errorf("looked %d times", got)
		}
	})
}

// onRecord is called with the message of each record from Info on.
type onRecord func(message string)

func (onRecord) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (f onRecord) Handle(_ context.Context, r slog.Record) error { f(r.Message); return nil }

func (f onRecord) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f onRecord) WithGroup(string) slog.Handler { return f }

func TestLostIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLost()
		for i := range maxLost + 10 {
			l.add(relayMember(i, StatusServing))
		}
		for _, s := range []Status{StatusJoining, StatusWarming, StatusDraining, StatusLeft} {
			l.add(relayMember(1000, s))
		}
		if got := len(l.Members()); got != maxLost {
			t.Errorf("%d are remembered", got)
		}
		time.Sleep(2 * lostMemory)
		if got := len(l.Members()); got != maxLost {
			t.Errorf("%d are remembered while nobody answers at all", got)
		}
		l.answered("r7", "")
		l.answered("r1000", "") // no lost one
		if got := l.Members(); len(got) != 1 || got[0].Name != "r7" {
			t.Errorf("after %v without an answer: %v", lostMemory, got)
		}
		for range lostLife / time.Minute {
			time.Sleep(time.Minute)
			l.answered("r7", StatusServing)
		}
		if got := l.Members(); len(got) != 0 {
			t.Errorf("after %v: %v", lostLife, got)
		}
		l.add(relayMember(1, StatusServing))
		l.add(relayMember(2, StatusServing))
		successor := relayMember(2, StatusWarming)
		successor.Name = fmt.Sprint("another at ", successor.Address)
		l.found(successor)
		if got := l.Members(); len(got) != 1 || got[0].Name != "r1" {
			t.Errorf("when another is at the address: %v", got)
		}
	})
}
