package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"surgecast/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSecret = []byte("a secret of the pool, long enough")

// pool runs nodes over one network in memory.
type pool struct {
	t   *testing.T
	net *simnet.Network
	wg  sync.WaitGroup
}

func newPool(t *testing.T) *pool {
	p := &pool{t: t, net: simnet.New(simnet.Config{Seed: 7, Delay: 2 * time.Millisecond})}
	// Probes of memberlist that were under way end by themselves.
	t.Cleanup(func() { p.wg.Wait(); time.Sleep(20 * time.Second) })
	return p
}

func address(i int) string { return fmt.Sprintf("10.0.0.%d", i) }

func config(i int) Config {
	return Config{
		Bind:   address(i) + ":7946",
		Secret: testSecret,
		PoolID: "test",
		Seeds:  []string{address(1) + ":7946"},
		State:  State{Role: RoleRelay, Status: StatusJoining, Media: address(i) + ":8080"},
	}
}

// start runs a node until the test ends or stop is called, which waits for it.
func (p *pool) start(i int, change ...func(*Config)) (n *Node, stop func()) {
	p.t.Helper()
	cfg := config(i)
	cfg.Transport = p.transport(i)
	for _, c := range change {
		c(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan struct{})
	p.wg.Go(func() {
		defer close(ended)
		if err := n.Run(ctx); err != nil {
			p.t.Errorf("node %d: %v", i, err)
		}
	})
	return n, func() { cancel(); <-ended }
}

// transport opens the gossip of a host, as often as it is asked to.
func (p *pool) transport(i int) func(string) (memberlist.Transport, error) {
	return func(string) (memberlist.Transport, error) { return p.net.Host(address(i)).Transport(7946), nil }
}

func (p *pool) startMany(count int) (nodes []*Node) {
	for i := 1; i <= count; i++ {
		n, _ := p.start(i)
		nodes = append(nodes, n)
	}
	return nodes
}

// await waits until a node's view satisfies ok and returns how long it took.
func (p *pool) await(n *Node, bound time.Duration, ok func([]Member) bool) time.Duration {
	p.t.Helper()
	start := time.Now()
	deadline := time.After(bound)
	for {
		changed := n.Changed()
		if ok(n.Members()) {
			return time.Since(start)
		}
		select {
		case <-changed:
		case <-deadline:
			p.t.Fatalf("node %s: not within %v; it sees %d members", n.advertise, bound, len(n.Members()))
		}
	}
}

func count(want int) func([]Member) bool {
	return func(members []Member) bool { return len(members) == want }
}

func TestNineNodesJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(9)
		for _, n := range nodes {
			took := p.await(n, 5*time.Second, count(9))
			t.Logf("%s sees all after %d ms more", n.advertise, took.Milliseconds())
			if n.Isolated() {
				t.Errorf("%s says it is isolated", n.advertise)
			}
		}
		for _, m := range nodes[3].Members() {
			if m.State.Role != RoleRelay || m.State.Media == "" || m.Self != (m.Name == nodes[3].Name()) {
				t.Errorf("odd member %+v", m)
			}
		}
	})
}

// A start of many nodes at once is where gossip forgets: see settle.
func TestEveryStartConvergesSoon(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t)
			start := time.Now()
			for _, n := range p.startMany(9) {
				p.await(n, 10*time.Second, count(9))
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestKilledNodeLeavesTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(9)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(9))
		}
		p.net.Host(address(9)).Kill()
		start := time.Now()
		for _, n := range nodes[:8] {
			p.await(n, 15*time.Second, count(8))
		}
		t.Logf("a killed node has left all views after %d ms", time.Since(start).Milliseconds())
	})
}

func TestRestartReplacesTheEarlierLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(5)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(5))
		}
		p.net.Host(address(5)).Kill()
		time.Sleep(time.Second)
		again, _ := p.start(5)
		for _, n := range nodes[:4] {
			took := p.await(n, time.Second, func(members []Member) bool {
				return len(members) == 5 && slices.ContainsFunc(members, func(m Member) bool { return m.Name == again.Name() })
			})
			t.Logf("%s sees the new life after %d ms more", n.advertise, took.Milliseconds())
		}
		time.Sleep(30 * time.Second) // until the old name is dead
		for _, n := range append(nodes[:4:4], again) {
			p.await(n, time.Second, count(5))
		}
	})
}

func TestLeavingNodeIsGoneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		a, _ := p.start(1)
		_, _ = p.start(2)
		c, stop := p.start(3)
		p.await(a, 5*time.Second, count(3))
		p.await(c, 5*time.Second, count(3))
		start := time.Now()
		stop()
		took := time.Since(start)
		p.await(a, time.Second, count(2))
		t.Logf("leaving took %d ms", took.Milliseconds())
		if took > leaveTimeout+streamTimeout {
			t.Errorf("leaving took %v", took)
		}
	})
}

func TestStateReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(9)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(9))
		}
		start := time.Now()
		nodes[4].SetState(State{Role: RoleRelay, Status: StatusWarming})
		want := State{Role: RoleRelay, Status: StatusServing, Media: "10.0.0.5:8080", Load: 40, Capacity: 1e8, Version: "1.0"}
		nodes[4].SetState(want)
		for _, n := range nodes {
			p.await(n, 3*time.Second, func(members []Member) bool {
				for _, m := range members {
					if m.Name == nodes[4].Name() {
						return m.State == want
					}
				}
				return false
			})
		}
		t.Logf("a new state is everywhere after %d ms", time.Since(start).Milliseconds())
	})
}

func TestWrongSecretNeverJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(3)
		stranger, _ := p.start(4, func(c *Config) { c.Secret = []byte("another secret, also long enough") })
		other, _ := p.start(5, func(c *Config) { c.PoolID = "other" })
		time.Sleep(3 * time.Minute)
		for _, n := range nodes {
			if got := len(n.Members()); got != 3 {
				t.Errorf("%s sees %d members", n.advertise, got)
			}
		}
		for _, n := range []*Node{stranger, other} {
			if len(n.Members()) != 1 || !n.Isolated() {
				t.Errorf("%s sees %d members", n.advertise, len(n.Members()))
			}
		}
	})
}

func TestJoinPastBlackHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		p.start(1)
		start := time.Now()
		n, _ := p.start(2, func(c *Config) {
			c.Seeds = nil
			for i := range 20 {
				c.Seeds = append(c.Seeds, fmt.Sprintf("10.9.9.%d:7946", i+1))
			}
			c.Seeds = append(c.Seeds, "10.0.0.1:7946")
		})
		p.await(n, 3*time.Second, count(2))
		t.Logf("joined after %d ms", time.Since(start).Milliseconds())
	})
}

func TestSeedThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		n, _ := p.start(2)
		time.Sleep(2 * time.Minute)
		if !n.Isolated() {
			t.Error("a node without its seed does not say that it is isolated")
		}
		p.start(1)
		p.await(n, joinInterval, count(2))
	})
}

func TestSplitPoolComesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(6)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(6))
		}
		each := func(f func(a, b string)) {
			for a := 1; a <= 3; a++ {
				for b := 4; b <= 6; b++ {
					f(address(a), address(b))
				}
			}
		}
		each(p.net.Cut)
		for _, n := range nodes {
			p.await(n, time.Minute, count(3))
		}
		time.Sleep(2 * time.Minute)
		each(p.net.Heal)
		start := time.Now()
		for _, n := range nodes {
			p.await(n, 20*time.Second, count(6))
		}
		t.Logf("one pool again after %d ms", time.Since(start).Milliseconds())
	})
}

func TestNewRefusesWhatCanNotWork(t *testing.T) {
	tests := map[string]func(*Config){
		"pool secret": func(c *Config) { c.Secret = []byte("short") },
		"bind":        func(c *Config) { c.Bind = "localhost:7946" },
		"seed":        func(c *Config) { c.Seeds = []string{"origin.example.org:7946"} },
		"advertise":   func(c *Config) { c.Bind = "0.0.0.0:7946" },
		"pool id":     func(c *Config) { c.PoolID = strings.Repeat("x", 65) },
	}
	for want, change := range tests {
		cfg := config(1)
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func hasAddress(members []Member, a netip.AddrPort) bool {
	for _, m := range members {
		if m.Address == a {
			return true
		}
	}
	return false
}

func TestMemberWithUnreadableMetadataIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(3)
		cfg := config(4)
		odd, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		raw := odd.gossipConfig(newDelegate(odd))
		raw.Transport = p.net.Host(address(4)).Transport(7946)
		raw.Delegate = nil // no metadata at all
		list, err := memberlist.Create(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := list.Join([]string{"10.0.0.1:7946"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for _, n := range nodes {
			if got := len(n.Members()); got != 3 {
				t.Errorf("%s sees %d members", n.advertise, got)
			}
		}
		if got := list.NumMembers(); got != 4 {
			t.Errorf("the gossip itself has %d nodes", got)
		}
		list.Shutdown()
	})
}
