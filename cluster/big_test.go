package cluster

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestHundredNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds of work")
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		nodes := p.startMany(100)
		all := func(what string, bound time.Duration, of []*Node, ok func([]Member) bool) {
			start := time.Now()
			for _, n := range of {
				p.await(n, bound-time.Since(start), ok)
			}
			t.Logf("%s after %d ms", what, time.Since(start).Milliseconds())
		}
		all("all see all", 15*time.Second, nodes, count(100))
		nodes[7].SetState(fullState)
		all("a new state is everywhere", 5*time.Second, nodes, func(members []Member) bool {
			return slices.ContainsFunc(members, func(m Member) bool { return m.Name == nodes[7].Name() && m.State == fullState })
		})
		p.net.Host(address(100)).Kill()
		all("a killed node has left all views", 15*time.Second, nodes[:99], count(99))
	})
}
