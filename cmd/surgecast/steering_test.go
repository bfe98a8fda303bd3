package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// steeringPool is a pool as the relay 10.0.0.1 sees it.
func steeringPool(loads ...int) []cluster.Member {
	members := []cluster.Member{member(cluster.RoleOrigin, cluster.StatusServing, "10.0.0.100:8080", 0, 0)}
	for i, load := range loads {
		address := "10.0.0." + string(rune('1'+i)) + ":8080"
		members = append(members, member(cluster.RoleRelay, cluster.StatusServing, address, load, 1e9))
	}
	members[1].Self = true
	return members
}

func steeringOf(members *[]cluster.Member, by SteerBy) *steering {
	config := defaultNodeConfig()
	config.Zone, config.Steering = "live.example.org", by
	return &steering{
		node: &node{config: &config, role: cluster.RoleRelay}, rng: rand.New(rand.NewPCG(1, 4)),
		view: func() []cluster.Member { return *members },
		own: func() ownLoad {
			for _, m := range *members {
				if m.Self {
					return ownLoad{percent: float64(m.State.Load)}
				}
			}
			return ownLoad{}
		},
	}
}

func ids(pathways []relay.Pathway) string {
	var all []string
	for _, p := range pathways {
		all = append(all, strings.TrimPrefix(p.ID, "e-0a0000"))
	}
	return strings.Join(all, " ")
}

func TestOrdersBeginAtHome(t *testing.T) {
	members := steeringPool(50, 40, 45, 50, 55)
	for by, want := range map[SteerBy]string{SteerAddresses: "http://10.0.0.1:8080", SteerNames: "http://e-0a000001.live.example.org:8080"} {
		s := steeringOf(&members, by)
		orders := s.orders()
		if len(orders) != steeringOrders {
			t.Fatalf("%d orders", len(orders))
		}
		for _, order := range orders {
			last := order[len(order)-1]
			if len(order) != masterPathways || order[0].Base != want || (last.ID == poolPathway) != (by == SteerNames) {
				t.Errorf("%s: %v", by, order)
			}
		}
	}
	members = steeringPool(80, 40, 45, 50, 55) // over the mean by more than 10
	first := map[string]int{}
	for s, n := steeringOf(&members, SteerAddresses), 0; n < 1000; n += steeringOrders {
		for _, order := range s.orders() {
			first[ids(order[:1])]++
		}
	}
	if len(first) != 3 && len(first) != 4 || first["01"] > 0 || first["02"] < 450 || first["02"] > 650 || first["04"] < first["05"] {
		t.Errorf("a relay that is too full sends viewers to %v; want the emptier of two", first)
	}
}

// Who is led to another relay does not pass its admission, and how full it is by
// now is not known exactly.
func TestViewersAreLedOnlyToRoom(t *testing.T) {
	members := steeringPool(84, 76, 76, 40, 30)
	s := steeringOf(&members, SteerAddresses)
	for range 10 {
		for _, order := range s.orders() {
			if got := ids(order[:1]); got != "04" && got != "05" {
				t.Fatalf("a viewer is led to %s", got)
			}
		}
	}
	members = steeringPool(84, 76, 76, 76, 60)
	members[5].State.Status = cluster.StatusFull
	if got := ids(s.orders()[0][:1]); got != "01" {
		t.Errorf("where there is no room elsewhere, a viewer is led to %s", got)
	}
}

func TestPriority(t *testing.T) {
	members := steeringPool(50, 45, 45, 50, 50)
	members[4].State.Status = cluster.StatusDraining
	members[5].State.Status = cluster.StatusFull
	for _, tt := range []struct {
		what, on string
		known    []string
		want     []string // one of them
	}{
		{"stays", "e-0a000002", []string{"e-0a000001", "e-0a000002", "e-0a000003"}, []string{"02 01 03", "02 03 01"}},
		{"a draining relay is not named", "e-0a000004", []string{"e-0a000004", "e-0a000002", "e-0a000003"}, []string{"02 03", "03 02"}},
		{"a full relay keeps its own", "e-0a000005", []string{"e-0a000005", "e-0a000002"}, []string{"05 02"}},
		{"and gets no other", "e-0a000002", []string{"e-0a000002", "e-0a000003", "e-0a000005"}, []string{"02 03"}},
		{"who does not say where it is stays where it began", "", []string{"e-0a000003", "e-0a000002"}, []string{"03 02"}},
		{"one is not enough", "e-0a000002", []string{"e-0a000002", "e-0a0000ff"}, []string{"02 01"}},
		{"strange names are not given back", "x", []string{"e-0a0000ff", "e-0a000003", "e-0a000002"}, []string{"02 03", "03 02"}},
	} {
		s := steeringOf(&members, SteerAddresses)
		for range 20 {
			if got := ids(s.priority(tt.on, tt.known, 0)); !slices.Contains(tt.want, got) {
				t.Fatalf("%s: %s, want %v", tt.what, got, tt.want)
			}
		}
	}
	if got := ids(steeringOf(&members, SteerNames).priority("e-0a000001", []string{"e-0a000001", "e-0a000004", "pool"}, 0)); got != "01 pool" {
		t.Errorf("in the zone: %s", got)
	}
}

// Of the viewers of a relay with a third too many, a sixth goes with each
// answer, by chance.
func TestPriorityMovesTheExcess(t *testing.T) {
	members := steeringPool(90, 45, 45)
	s := steeringOf(&members, SteerAddresses)
	moved := 0
	for range 6000 {
		if got := ids(s.priority("e-0a000001", nil, 0)); !strings.HasPrefix(got, "01 ") {
			moved++
		}
	}
	if moved < 900 || moved > 1100 {
		t.Errorf("%d of 6000 were moved, want a sixth", moved)
	}
}

// Who was sent to a relay is on it, long before its load tells; what a relay
// knows of itself needs no gossip.
func TestSteeringCountsWhoIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := steeringPool(50, 40, 40, 40)
		s := steeringOf(&members, SteerAddresses)
		own := ownLoad{percent: 40}
		s.own = func() ownLoad { return own }
		loads := func() (all []int) {
			for _, m := range s.relays() {
				all = append(all, m.State.Load)
			}
			return all
		}
		c := s.config()
		for range 10 {
			c.Led("e-0a000002", 20e6)
		}
		s.moves("e-0a000001", "e-0a000003", 50e6)
		s.moves("e-0a0000ff", "e-0a000003", 50e6) // nobody knows it
		if got := loads(); !slices.Equal(got, []int{35, 60, 45, 40}) {
			t.Errorf("at once: %v", got)
		}
		if got := ids(s.orders()[0][:1]); got != "01" {
			t.Errorf("viewers begin at %s", got)
		}
		time.Sleep(7 * time.Second) // 2 s until a load is known, and half of its mean
		own.percent = 80
		if got := loads(); !slices.Equal(got, []int{78, 50, 43, 40}) {
			t.Errorf("after 7 s: %v", got)
		}
		if got := ids(s.orders()[0][:1]); got == "01" {
			t.Error("viewers still begin here")
		}
		own.rescuing = true
		if got := ids(s.orders()[0][:1]); got != "01" {
			t.Errorf("while the viewers of a lost relay come, they begin at %s", got)
		}
		own.rescuing = false
		time.Sleep(5 * time.Second)
		if got := loads(); !slices.Equal(got, []int{80, 40, 40, 40}) {
			t.Errorf("after 12 s: %v", got)
		}
	})
}

// What is kept of who is under way is bounded.
func TestUnderwayIsBounded(t *testing.T) {
	var u underway
	for i := range 3 * maxUnderway {
		u.add(fmt.Sprint("e-", i), 1)
	}
	if n := len(u.sent); n == 0 || n > maxUnderway {
		t.Errorf("%d pathways are remembered", n)
	}
}

func TestSteeringFailsStatic(t *testing.T) {
	members := steeringPool(10, 10, 10)
	s := steeringOf(&members, SteerAddresses)
	s.relays()
	all := members
	members = all[1:2] // alone: the gossip is gone
	if got := s.relays(); len(got) != 3 {
		t.Errorf("alone it names %v, want the last it had", got)
	}
	members = all[:2] // the others are gone, and the origin says so
	if got := s.relays(); len(got) != 1 {
		t.Errorf("with an origin it names %v, want itself", got)
	}
	members = all[:1]
	if got := s.relays(); len(got) != 3 {
		t.Errorf("without a relay it names %v, want the last it had", got)
	}
}
