package cluster

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Gossip of a hundred nodes costs by their square: half of them are for make test.
func TestHundredNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds of work")
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		many := 50
		if os.Getenv("SURGECAST_PROVE") != "" {
			many = 100
		}
		nodes := p.startMany(many)
		all := func(what string, bound time.Duration, of []*Node, ok func([]Member) bool) {
			start := time.Now()
			for _, n := range of {
				p.await(n, bound-time.Since(start), ok)
			}
			t.Logf("%s after %d ms", what, time.Since(start).Milliseconds())
		}
		all("all see all", 15*time.Second, nodes, count(many))
		nodes[7].SetState(fullState)
		all("a new state is everywhere", 5*time.Second, nodes, func(members []Member) bool {
			return slices.ContainsFunc(members, func(m Member) bool { return m.Name == nodes[7].Name() && m.State == fullState })
		})
		p.net.Host(address(many)).Kill()
		all("a killed node has left all views", 15*time.Second, nodes[:many-1], count(many-1))
	})
}
