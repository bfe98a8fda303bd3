package main

import (
	"fmt"
	"slices"
	"testing"

	"surgecast/cluster"
	"surgecast/relay"
)

// poolOf is an origin with so many slots, and relays with the capacities.
func poolOf(slots int, capacities ...int64) []cluster.Member {
	members := []cluster.Member{{Name: "origin", State: cluster.State{
		Role: cluster.RoleOrigin, Status: cluster.StatusServing, Media: "10.0.0.1:8080", Slots: slots,
	}}}
	for i, capacity := range capacities {
		members = append(members, cluster.Member{Name: fmt.Sprintf("relay-%d", i), State: cluster.State{
			Role: cluster.RoleRelay, Status: cluster.StatusServing, Media: fmt.Sprintf("10.0.0.%d:8080", 11+i),
			Capacity: capacity, Slots: 4,
		}})
	}
	return members
}

// as is the pool as one of its members sees it.
func as(members []cluster.Member, i int) []cluster.Member {
	seen := slices.Clone(members)
	seen[i].Self = true
	return seen
}

func names(members []cluster.Member) (all []string) {
	for _, m := range members {
		all = append(all, m.Name)
	}
	return all
}

func TestASmallPoolStaysFlat(t *testing.T) {
	for name, members := range map[string][]cluster.Member{
		"slots for all":         poolOf(3, 1, 2, 3),
		"an origin of old":      poolOf(0, 1, 2, 3, 4, 5),
		"one of four is to end": poolOf(3, 1, 2, 3, 4),
	} {
		if len(members) == 5 {
			members[4].State.Status = cluster.StatusDraining
		}
		for i := 1; i <= 3; i++ {
			if got := names(proposal{members: as(members, i)}.parents()); !slices.Equal(got, []string{"origin"}) {
				t.Errorf("%s: relay %d asks %v", name, i, got)
			}
		}
	}
	if got := (proposal{members: as(poolOf(3, 1, 2)[1:], 0)}).parents(); len(got) != 0 {
		t.Errorf("without an origin %v are asked", names(got))
	}
}

// The biggest three of twelve ask the origin; the others two of these.
func TestTheBiggestAreTierOne(t *testing.T) {
	members := poolOf(3, 10, 90, 20, 80, 30, 70, 40, 60, 50, 15, 25, 35)
	first := []string{"relay-1", "relay-3", "relay-5"}
	asked := map[string]int{}
	for i := 1; i < len(members); i++ {
		got := names(proposal{members: as(members, i)}.parents())
		if slices.Contains(first, members[i].Name) {
			if got[0] != "origin" || len(got) != 3 || slices.Contains(got, members[i].Name) {
				t.Errorf("%s asks %v", members[i].Name, got)
			}
			continue
		}
		if len(got) != 3 || got[2] != "origin" || !slices.Contains(first, got[0]) || !slices.Contains(first, got[1]) || got[0] == got[1] {
			t.Errorf("%s asks %v", members[i].Name, got)
		}
		asked[got[0]]++
	}
	for _, name := range first {
		if asked[name] == 0 || asked[name] > 6 {
			t.Errorf("of 9 relays %d take %s", asked[name], name)
		}
	}
}

// Of relays that come at the same time, none is asked that has nothing yet,
// while there is one that is fed.
func TestWhoIsFedIsAskedFirst(t *testing.T) {
	members := poolOf(3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	members[1].State.Tier = 1
	others := 0
	for i := 2; i < len(members); i++ {
		got := names(proposal{members: as(members, i)}.parents())
		if got[0] == "origin" {
			continue // of the first tier itself
		}
		others++
		if got[0] != members[1].Name || got[1] == members[1].Name {
			t.Errorf("%s asks %v", members[i].Name, got)
		}
	}
	if others != 7 {
		t.Errorf("%d of ten ask another relay, want 7", others)
	}
}

// Who is fed by the origin keeps that, however big the others are; and when it
// leaves, only its own children look for another parent.
func TestTierOneIsLeftByWhoLeaves(t *testing.T) {
	members := poolOf(3, 1, 1, 1, 90, 80, 70, 60, 50)
	for i := 1; i <= 3; i++ {
		members[i].State.Tier = 1
	}
	before := map[string]string{}
	for i := 4; i < len(members); i++ {
		members[i].State.Tier = 2
		before[members[i].Name] = names(proposal{members: as(members, i)}.parents())[0]
	}
	members[2].State.Status = cluster.StatusDraining
	moved := 0
	for i := 4; i < len(members); i++ {
		name := members[i].Name
		got := names(proposal{members: as(members, i), parent: before[name]}.parents())
		switch {
		case name == "relay-3": // the biggest follows
			if got[0] != "origin" {
				t.Errorf("%s asks %v", name, got)
			}
		case slices.Contains(got, "relay-1"):
			t.Errorf("%s asks %v, of which one is to leave", name, got)
		case before[name] != "relay-1" && got[0] != before[name]:
			t.Errorf("%s leaves %s for %v", name, before[name], got)
		case before[name] == "relay-1":
			moved++
		}
	}
	if moved == 0 {
		t.Error("nobody was a child of the one that leaves")
	}
	for i := 1; i <= 3; i += 2 {
		if got := names(proposal{members: as(members, i), parent: "origin"}.parents()); got[0] != "origin" {
			t.Errorf("tier 1 asks %v", got)
		}
	}
}

// A relay asks those last that have no slot free, but not its own parent; and
// begins with those to which it was sent.
func TestWhoHasASlotFree(t *testing.T) {
	members := poolOf(2, 9, 9, 1, 1, 1, 1)
	for i := 1; i < len(members); i++ {
		members[i].State.Tier = min(i, 2)
	}
	members[2].State.Tier = 1
	members[1].State.Taken = true
	members[4].State.Slots = 0
	ask := func(p proposal) []string {
		p.members = as(members, 6)
		return names(p.parents())
	}
	if got := ask(proposal{}); got[0] != "relay-1" || got[1] != "relay-0" ||
		slices.Contains(got, "relay-3") || len(got) != 5 || got[4] != "origin" {
		t.Errorf("asks %v", got)
	}
	if got := ask(proposal{parent: "relay-0"}); got[0] != "relay-0" {
		t.Errorf("asks %v, and leaves its parent", got)
	}
	for i, first := range map[int]int{0: 0, 2: 2, 4: 2} { // of its tier
		media := members[i+1].State.Media
		if got := ask(proposal{referred: []string{media}}); got[first] != members[i+1].Name {
			t.Errorf("was sent to %s and asks %v", media, got)
		}
	}
	if got := ask(proposal{referred: []string{"198.51.100.9:80"}}); len(got) != 5 {
		t.Errorf("was sent out of the pool and asks %v", got)
	}
}

// A tree makes its proposal anew when something is new, and not else.
func TestATreeLooksAgain(t *testing.T) {
	members := as(poolOf(1, 3, 2, 1), 3)
	looked := 0
	parent := relay.Chain{"origin", "relay-0"}
	tree := newTree(func() []cluster.Member { looked++; return members }, func() (string, relay.Chain) { return "", parent })
	first := tree.Parents()
	if want := []string{"http://10.0.0.11:8080", "http://10.0.0.1:8080"}; !slices.Equal(first, want) {
		t.Fatalf("asks %v, want %v", first, want)
	}
	if again := tree.Parents(); &again[0] != &first[0] {
		t.Error("the same was computed twice")
	}
	tree.Refer([]string{"10.0.0.12:8080"})
	if got := tree.Parents(); len(got) != 3 || got[1] != "http://10.0.0.12:8080" {
		t.Errorf("asks %v after it was sent on", got)
	}
	for i := range 5 {
		tree.Refer([]string{fmt.Sprintf("10.0.1.%d:1", i), fmt.Sprintf("10.0.2.%d:1", i), fmt.Sprintf("10.0.3.%d:1", i)})
	}
	if len(tree.referred) > maxReferred {
		t.Errorf("remembers %d referrals", len(tree.referred))
	}
	members = as(poolOf(9, 3, 2, 1), 3)
	if got := tree.Parents(); len(got) != 1 {
		t.Errorf("asks %v in a pool that is flat", got)
	}
}

// Gossip that has lost the parent is no reason to leave it: it feeds.
func TestAParentThatGossipLost(t *testing.T) {
	const base = "http://10.0.0.11:8080"
	whole := as(poolOf(1, 3, 2, 1), 3)
	members := whole
	tree := newTree(func() []cluster.Member { return members }, func() (string, relay.Chain) {
		return base, relay.Chain{"origin", "relay-0"}
	})
	for _, left := range [][]cluster.Member{
		whole,
		{whole[0], whole[2], whole[3]}, // without the parent
		{whole[0], whole[3]},           // the origin would have a slot
	} {
		members = left
		if got := tree.Parents(); len(got) < 2 || got[0] != base || slices.Contains(got[1:], base) {
			t.Errorf("of %v it asks %v", names(left), got)
		}
	}
	// Without an origin nobody is proposed, and whoever asks keeps the last ones.
	if members = whole[3:]; len(tree.Parents()) != 0 {
		t.Errorf("alone it asks %v", tree.Parents())
	}
}
