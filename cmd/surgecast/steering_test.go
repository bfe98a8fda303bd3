package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

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
	if len(first) != 5 || first["01"] > 150 || first["02"] < first["05"] {
		t.Errorf("a relay that is too full sends viewers to %v; want all by headroom", first)
	}
}

func TestPriority(t *testing.T) {
	members := steeringPool(50, 40, 45, 50, 55)
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
			if got := ids(s.priority(tt.on, tt.known)); !slices.Contains(tt.want, got) {
				t.Fatalf("%s: %s, want %v", tt.what, got, tt.want)
			}
		}
	}
	if got := ids(steeringOf(&members, SteerNames).priority("e-0a000001", []string{"e-0a000001", "e-0a000004", "pool"})); got != "01 pool" {
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
		if got := ids(s.priority("e-0a000001", nil)); !strings.HasPrefix(got, "01 ") {
			moved++
		}
	}
	if moved < 900 || moved > 1100 {
		t.Errorf("%d of 6000 were moved, want a sixth", moved)
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
