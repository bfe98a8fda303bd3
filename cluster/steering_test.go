package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// at returns a relay under an address, with a name by it.
func at(address string, capacity int64, load int) Member {
	m := relay(capacity, load)
	m.Name, m.State.Media = address, netip.AddrPortFrom(netip.MustParseAddr(address), 8080).String()
	return m
}

func TestRelayIDIsTheNameInTheZone(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.2": "e-7f000002", "2001:db8::3": "e-20010db8000000000000000000000003"} {
		addr := netip.MustParseAddr(address)
		got := RelayID(addr)
		if back, ok := relayAddr(got + ".live.example.org."); got != want || !ok || back != addr {
			t.Errorf("%s is %s, want %s, and back %v", addr, got, want, back)
		}
	}
}

func TestExcess(t *testing.T) {
	for _, tt := range []struct {
		loads []int // the first is the relay's own
		want  float64
	}{
		{[]int{50}, 0},
		{[]int{55, 50, 45}, 0},
		{[]int{0, 90}, 0},
		{[]int{56, 50, 44}, 6. / 56},
		{[]int{6, 4, 2}, 0},
		{[]int{7, 3, 2}, 3. / 7},
		{[]int{80, 20, 20, 20}, 45. / 80},
	} {
		var relays []Member
		for i, load := range tt.loads {
			relays = append(relays, at(fmt.Sprintf("10.0.0.%d", i+1), 0, load))
		}
		if got := Excess(relays, relays[0]); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v: %v, want %v", tt.loads, got, tt.want)
		}
	}
}

func TestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	relays := []Member{
		at("10.0.0.1", 1000, 0), at("10.0.0.2", 1000, 50), at("10.0.0.3", 1000, 0),
		at("10.0.0.4", 1000, 0), at("10.0.0.5", 1000, 0), at("10.9.0.1", 1000, 50),
	}
	const draws = 30_000
	second := map[string]float64{}
	for range draws {
		order := Order(rng, relays, "10.0.0.1", 3)
		if len(order) != 3 || order[0].Name != "10.0.0.1" || order[1].Name == order[2].Name {
			t.Fatalf("%v", order)
		}
		if order[1].Name != "10.9.0.1" && order[2].Name != "10.9.0.1" {
			t.Fatalf("all of one network: %v", order)
		}
		second[order[1].Name]++
	}
	// By what they have free, not by network: 0.5, 1, 1, 1, 0.5 of 4.
	for name, want := range map[string]float64{"10.0.0.2": 0.125, "10.0.0.3": 0.25, "10.9.0.1": 0.125} {
		if got := second[name] / draws; math.Abs(got-want) > 0.01 {
			t.Errorf("%s is second in %.3f, want %.3f", name, got, want)
		}
	}
	for _, tt := range []struct {
		relays []Member
		first  string
		n      int
		want   int
	}{{nil, "", 3, 0}, {relays[:1], "", 3, 1}, {relays[:2], "gone", 3, 2}, {relays, "", 8, 6}, {relays, "10.0.0.2", 1, 1}} {
		if order := Order(rng, tt.relays, tt.first, tt.n); len(order) != tt.want {
			t.Errorf("%d of %d relays, first %q: %v", tt.n, len(tt.relays), tt.first, order)
		}
	}
}

// The emptier of two that are drawn is neither always the emptiest of all nor
// ever the fullest; of four the emptiest one comes oftener.
func TestEmptiest(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	var relays []Member
	for i := range 8 {
		relays = append(relays, at(fmt.Sprintf("10.0.0.%d", i+1), 1000, 60+i))
	}
	const draws = 10_000
	for _, tt := range []struct {
		n           int
		least, most float64 // how often the emptiest of all comes
	}{{1, 0.12, 0.17}, {2, 0.24, 0.31}, {4, 0.48, 0.58}} {
		count := map[string]float64{}
		for range draws {
			m, _ := Emptiest(rng, relays, tt.n)
			count[m.Name]++
		}
		if got := count["10.0.0.1"] / draws; got < tt.least || got > tt.most {
			t.Errorf("of %d: the emptiest in %.3f", tt.n, got)
		}
		if tt.n > 1 && count["10.0.0.8"] > 0 {
			t.Errorf("of %d: the fullest %v times", tt.n, count["10.0.0.8"])
		}
	}
	if _, ok := Emptiest(rng, nil, 2); ok {
		t.Error("there is one of none")
	}
}
