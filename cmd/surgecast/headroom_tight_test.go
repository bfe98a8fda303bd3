package main

import (
	"math"
	"testing"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// The pool's look tells once that it has no room for the loss of a relay, and
// the metric for as long as that is so.
func TestPoolWithoutRoomForALoss(t *testing.T) {
	load := relay.NewLoad()
	h := &headroom{
		capacity: &capacity{}, load: load, admission: relay.NewAdmission(load, 0),
		own: outlook{FullIn: math.Inf(1)}, pool: poolOutlook{outlook: outlook{FullIn: math.Inf(1)}},
	}
	now := time.Now()
	for i, step := range []struct {
		percent      int // of each of three relays: 63.3 is what two can take over
		tight, began bool
	}{{50, false, false}, {63, false, false}, {64, true, true}, {70, true, false}, {62, true, false}, {59, false, false}, {64, true, true}} {
		var members []cluster.Member
		for _, name := range []string{"a", "b", "c"} {
			members = append(members, member(cluster.RoleRelay, cluster.StatusServing, name, step.percent, 1e9))
		}
		g := h.look(now.Add(time.Duration(i)*time.Second), "origin", members)
		if _, pool := h.outlooks(); pool.Tight != step.tight || g.Tight != step.began {
			t.Errorf("step %d, at %d %%: tight %t, the alarm begins %t", i, step.percent, pool.Tight, g.Tight)
		}
	}
}
