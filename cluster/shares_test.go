package cluster

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"
)

func TestShares(t *testing.T) {
	big := node(RoleRelay, StatusServing, "127.0.0.2")
	big.State.Capacity, big.State.Load = 3e9, 50
	small := node(RoleRelay, StatusServing, "127.0.0.3")
	small.State.Capacity = 0.5e9
	six := node(RoleRelay, StatusServing, "::1")
	drains := node(RoleRelay, StatusDraining, "127.0.0.4")
	here := node(RoleOrigin, StatusServing, "127.0.0.2") // on the machine of a relay
	twin := big
	twin.Name = "twin"
	for name, test := range map[string]struct {
		members  []Member
		mayServe bool
		want     []float64
	}{
		"nobody":               {nil, true, nil},
		"by headroom":          {[]Member{here, big, small, drains}, true, []float64{0, 0.75, 0.25, 0}},
		"its own family":       {[]Member{big, small, six}, true, []float64{0.75, 0.25, 1}},
		"one of two lives":     {[]Member{big, twin, small}, true, []float64{0.75, 0, 0.25}},
		"the origin alone":     {[]Member{here, drains}, true, []float64{1, 0}},
		"that is not to serve": {[]Member{here, drains}, false, []float64{0, 0}},
	} {
		got := Shares(test.members, test.mayServe)
		for i, want := range test.want {
			if math.Abs(got[i]-want) > 1e-9 {
				t.Errorf("%s: %v, want %v", name, got, test.want)
				break
			}
		}
	}
}

// The share that is shown is the one that a resolver gets.
func TestSharesAreThoseOfTheAnswers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 7))
	var members []Member
	for _, address := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"} {
		m := node(RoleRelay, StatusServing, address)
		m.State.Capacity, m.State.Load = int64(1+random.IntN(5))*1e9, random.IntN(90)
		members = append(members, m)
	}
	d, _ := serveDNS(t, members)
	query, err := question(testZone, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	named, all := map[string]int{}, 0
	for range 4000 {
		var m dns.Msg
		if err := m.Unpack(d.Respond(query, true)); err != nil {
			t.Fatal(err)
		}
		for _, rr := range m.Answer {
			named[rr.(*dns.A).A.String()]++
			all++
		}
	}
	for i, share := range Shares(members, true) {
		got := float64(named[members[i].PublicAddr().String()]) / float64(all)
		if math.Abs(got-share) > 0.015 {
			t.Errorf("%v: %.3f of the answers, share %.3f", members[i].PublicAddr(), got, share)
		}
	}
}
