package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// A verdict reaches the origin at once and everybody soon, also those who join
// later, over real gossip.
func TestVerdictsTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		var nodes []*Node
		for i := 1; i <= 30; i++ {
			n, _ := p.start(i, func(c *Config) {
				c.State.Status = StatusServing
				if i == 1 {
					c.State.Role = RoleOrigin
				}
			})
			nodes = append(nodes, n)
		}
		for _, n := range nodes {
			p.await(n, 10*time.Second, count(30))
		}
		target := nodes[29].Name()
		began := time.Now()
		for _, prober := range nodes[1:3] {
			prober.Verdicts().give(target, OpinionDown, FailureTimeout)
		}
		heard := func(n *Node) time.Duration {
			for n.Verdicts().Healthy(target) {
				said := n.Verdicts().Changed()
				if !n.Verdicts().Healthy(target) {
					break
				}
				select {
				case <-said:
				case <-time.After(10 * time.Second):
					t.Fatalf("%s does not hear it", n.advertise)
				}
			}
			return time.Since(began)
		}
		if took := heard(nodes[0]); took > 10*time.Millisecond {
			t.Errorf("the origin hears it after %v", took)
		}
		if took := heard(nodes[29]); took > 10*time.Millisecond {
			t.Errorf("the relay itself hears it after %v", took)
		}
		var slowest time.Duration
		for _, n := range nodes[3:] {
			slowest = max(slowest, heard(n))
		}
		t.Logf("all 30 have heard it after %v", slowest)
		if slowest > 3*time.Second {
			t.Errorf("the last one hears it after %v", slowest)
		}

		late, _ := p.start(31)
		p.await(late, 5*time.Second, count(31))
		began = time.Now()
		t.Logf("one that joined later knows it %v after it knew all members", heard(late))
	})
}

// Strangers' messages, and those of a later release, are not taken for verdicts.
func TestOtherMessagesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		n, _ := p.start(1)
		d := &delegate{node: n}
		for _, b := range []string{"", "x", `{"v":3,"k":"drain","t":"x"}`, `{"v":1,"k":"verdicts"}`} {
			d.NotifyMsg([]byte(b))
			d.MergeRemoteState([]byte(b), true)
		}
		d.MergeRemoteState(nil, false)
		if got := n.Verdicts().snapshot(); len(got) != 0 {
			t.Errorf("taken: %+v", got)
		}
	})
}
