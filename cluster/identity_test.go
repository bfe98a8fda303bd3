package cluster

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// startTwin starts node i under another one's name.
func (p *pool) startTwin(i int, of *Node, change ...func(*Node)) *Node {
	p.t.Helper()
	cfg := config(i)
	cfg.Transport = p.transport(i)
	twin, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range change {
		c(twin)
	}
	old := twin.name
	twin.name = of.Name()
	twin.view.replace(old, twin.self())
	p.wg.Go(func() {
		if err := twin.Run(p.t.Context()); err != nil {
			p.t.Errorf("twin: %v", err)
		}
	})
	return twin
}

// keepsListed looks at a node's view every 10 ms, and fails when an address
// is not among those that DNS draws from.
func (p *pool) keepsListed(ctx context.Context, viewer *Node, i int) {
	p.wg.Go(func() {
		for sleep(ctx, 10*time.Millisecond) {
			serving := Serving(viewer.Members())
			if !slices.ContainsFunc(serving, func(m Member) bool { return m.Address.Addr().String() == address(i) }) {
				p.t.Errorf("%s is out of %s's answers", address(i), viewer.advertise)
				return
			}
		}
	})
}

// Two processes with one name, FAULTS row 1: the second takes another name
// within 2 s and leaves quietly; the first stays in each answer.
func TestTwinTakesAnotherName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(5)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(5))
			n.SetState(State{Role: RoleRelay, Status: StatusServing})
		}
		for _, n := range nodes {
			p.await(n, 5*time.Second, func(members []Member) bool { return len(Serving(members)) == 5 })
		}
		name := nodes[3].Name()
		watching, stop := context.WithCancel(t.Context())
		defer stop()
		for _, n := range nodes {
			p.keepsListed(watching, n, 4)
		}
		twin := p.startTwin(6, nodes[3])
		start := time.Now()
		for _, n := range append(nodes, twin) {
			p.await(n, 2*time.Second, count(6))
		}
		t.Logf("all see six nodes after %d ms", time.Since(start).Milliseconds())
		if twin.Name() == name || twin.Renames() != 1 {
			t.Errorf("the twin changed its name %d times", twin.Renames())
		}
		time.Sleep(3 * time.Minute)
		for _, n := range append(nodes, twin) {
			if got := len(n.Members()); got != 6 {
				t.Errorf("%s sees %d members", n.advertise, got)
			}
		}
		if nodes[3].Name() != name || nodes[3].Renames() != 0 {
			t.Error("the original changed its name")
		}
	})
}

// A holder of a name who hears of another yields as well. It goes on seeing the
// others, but not one that died while it changed its name.
func TestHolderYieldsAndForgetsWhoDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(4)
		for _, n := range nodes {
			p.await(n, 5*time.Second, count(4))
		}
		held, name := nodes[1], nodes[1].Name()
		watching, stop := context.WithCancel(t.Context())
		p.wg.Go(func() {
			for sleep(watching, 10*time.Millisecond) {
				if got := len(held.Members()); got < 3 {
					t.Errorf("who changes its name sees %d members", got)
				}
			}
		})
		p.startTwin(5, held, func(twin *Node) { twin.seeds = []netip.AddrPort{held.advertise} })
		p.net.Host(address(4)).Kill()
		time.Sleep(2 * time.Second)
		if held.Name() == name {
			t.Error("it has not yielded within 2 s")
		}
		time.Sleep(30 * time.Second)
		stop()
		for _, n := range []*Node{nodes[0], held, nodes[2]} {
			if got := len(n.Members()); got != 4 || hasAddress(n.Members(), nodes[3].advertise) {
				t.Errorf("%s sees %d members", n.advertise, got)
			}
		}
	})
}
