package main

import (
	"fmt"
	"testing"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

func equalRelays(n int, load float64) (relays []poolRelay) {
	for i := range n {
		relays = append(relays, poolRelay{fmt.Sprint("relay", i), 100, load})
	}
	return relays
}

// With n equal relays the pool fills to 95 % × (n-1)/n, and is open again where
// there is room up to 90 %.
func TestReserveOfEqualRelays(t *testing.T) {
	for _, c := range []struct {
		relays       int
		keeps, opens float64 // percent of each
	}{{2, 47.5, 45}, {3, 63.3333, 60}, {5, 76, 72}, {8, 83.125, 78.75}} {
		r := &reserve{}
		for _, step := range []struct {
			load float64
			want relay.Pressure
		}{{c.keeps - 0.1, relay.Usual}, {c.keeps + 0.1, relay.Keeping}, {c.opens + 0.1, relay.Keeping}, {c.opens - 0.1, relay.Usual}, {c.keeps - 0.1, relay.Usual}} {
			if got := r.look(evening0, "relay0", equalRelays(c.relays, step.load)); got != step.want {
				t.Errorf("%d relays at %v %%: %v, want %v", c.relays, step.load, got, step.want)
			}
		}
	}
}

func TestReserveHasItsExceptions(t *testing.T) {
	for name, relays := range map[string][]poolRelay{
		"alone":                    {{"a", 100, 99}},
		"none":                     nil,
		"a capacity nobody knows":  {{"a", 100, 99}, {"b", 0, 0}},
		"the others have the room": {{"a", 100, 84}, {"b", 1000, 10}},
		"an empty pool":            {{"a", 100, 0}, {"b", 100, 0}},
	} {
		if got := (&reserve{}).look(evening0, "a", relays); got != relay.Usual {
			t.Errorf("%s: %v", name, got)
		}
	}
	// The room of one that is over its line is none, not less than none.
	if roomForFullest([]poolRelay{{"a", 100, 60}, {"b", 100, 99}, {"c", 100, 50}}, 95) {
		t.Error("35 and 45 are taken for 99")
	}
	if !roomForFullest([]poolRelay{{"a", 100, 10}, {"b", 100, 99}, {"c", 100, 70}}, 95) {
		t.Error("85 and 25 are not taken for 99")
	}
}

// Whoever stops to deliver, by whatever cause, makes the others open for a
// minute; a node's own end is no cause for itself.
func TestRescueLastsAMinute(t *testing.T) {
	five, four := equalRelays(5, 80), equalRelays(4, 90)
	r := &reserve{}
	for _, step := range []struct {
		at   time.Duration
		pool []poolRelay
		want relay.Pressure
	}{
		{0, five, relay.Keeping},
		{time.Second, four, relay.Rescuing},
		{60 * time.Second, four, relay.Rescuing},
		{61 * time.Second, four, relay.Keeping},
		{62 * time.Second, five, relay.Keeping},
		{63 * time.Second, append(equalRelays(4, 80), poolRelay{"another", 100, 0}), relay.Rescuing},
	} {
		if got := r.look(evening0.Add(step.at), "relay0", step.pool); got != step.want {
			t.Errorf("after %v: %v, want %v", step.at, got, step.want)
		}
	}
	own := &reserve{}
	own.look(evening0, "relay4", equalRelays(5, 50))
	if got := own.look(evening0.Add(time.Second), "relay4", equalRelays(4, 50)); got != relay.Usual {
		t.Errorf("for who leaves itself: %v", got)
	}
}

func TestHearsay(t *testing.T) {
	self := member(cluster.RoleRelay, cluster.StatusFull, "self", 90, 1000)
	self.Self = true
	members := []cluster.Member{
		member(cluster.RoleOrigin, cluster.StatusServing, "origin", 10, 1000),
		member(cluster.RoleRelay, cluster.StatusServing, "one", 30, 1000),
		member(cluster.RoleRelay, cluster.StatusWarming, "two", 0, 1000),
		member(cluster.RoleRelay, cluster.StatusDraining, "three", 50, 1000),
		self,
	}
	h := &hearsay{}
	for _, step := range []struct {
		at     time.Duration
		told   int
		rising float64 // percent each second
		want   float64
	}{
		{0, 30, 1, 300},
		{2 * time.Second, 30, 1, 320},
		{3 * time.Second, 30, 20, 400}, // but not by more than it would have told at once
		{4 * time.Second, 30, 1, 320},  // nor by more than it would have told by now
		{21 * time.Second, 40, 1, 400},
		{22 * time.Second, 40, 1, 410},
		{23 * time.Second, 40, 0, 400},
		{24 * time.Second, 40, -1, 400},
	} {
		members[1].State.Load = step.told
		got := h.relays(evening0.Add(step.at), members, 873, step.rising)
		if len(got) != 2 || got[0] != (poolRelay{"one", 1000, step.want}) || got[1] != (poolRelay{"self", 1000, 873}) {
			t.Errorf("after %v: %+v, want a load of %v", step.at, got, step.want)
		}
	}
	if len(h.told) != 2 {
		t.Errorf("%d are remembered", len(h.told))
	}
}

func TestWhoLeads(t *testing.T) {
	of := func(self string, members ...cluster.Member) bool {
		for i := range members {
			members[i].Self = members[i].Name == self
		}
		return leads(members)
	}
	origin, other := member(cluster.RoleOrigin, cluster.StatusServing, "m", 0, 0), member(cluster.RoleOrigin, cluster.StatusServing, "o", 0, 0)
	first, second := member(cluster.RoleNameServer, cluster.StatusServing, "a", 0, 0), member(cluster.RoleNameServer, cluster.StatusServing, "b", 0, 0)
	edge := member(cluster.RoleRelay, cluster.StatusServing, "0", 0, 0)
	for self, want := range map[string]bool{"m": true, "o": false, "a": false, "b": false, "0": false} {
		if of(self, edge, first, second, origin, other) != want {
			t.Errorf("%s leads: %v", self, !want)
		}
	}
	if !of("a", edge, first, second) || of("b", edge, first, second) || of("0", edge) {
		t.Error("without an origin the first name server leads, and never a relay")
	}
}
