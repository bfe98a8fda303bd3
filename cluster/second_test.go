package cluster

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// dual gives a relay a second address.
func dual(m Member, second string) Member {
	m.State.Second = netip.MustParseAddr(second)
	return m
}

func TestSecondAddress(t *testing.T) {
	for _, test := range []struct{ media, public, second, want string }{
		{"10.0.0.7:8080", "", "2001:db8::7", "[2001:db8::7]:8080"},
		{"10.0.0.7:8080", "192.0.2.7:443", "2001:db8::7", "[2001:db8::7]:443"},
		{"[2001:db8::7]:8080", "", "192.0.2.7", "192.0.2.7:8080"},
		{"10.0.0.7:8080", "", "192.0.2.7", ""}, // of the same family
		{"10.0.0.7:8080", "", "::ffff:192.0.2.7", ""},
		{"", "", "2001:db8::7", ""},
	} {
		m := Member{
			Address: netip.MustParseAddrPort("10.0.0.7:7946"),
			State:   State{Media: test.media, Public: test.public, Second: netip.MustParseAddr(test.second)}.clamped(),
		}
		if got := m.SecondMedia(); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// found is what the pool finds of second addresses, by the relay's name.
type found map[string]Opinion

func (f found) second(m Member) Opinion {
	if o, ok := f[m.Name]; ok {
		return o
	}
	return OpinionNone
}

// A relay with two addresses is named in both families, under the pool's name and
// under each of its own.
func TestDNSNamesBothFamilies(t *testing.T) {
	both := dual(node(RoleRelay, StatusServing, "10.0.0.7"), "2001:db8::7")
	old := node(RoleRelay, StatusServing, "10.0.0.8")
	says := found{both.Name: OpinionUp}
	d, view := silentDNS(t, []Member{both, old}, func(c *DNSConfig) { c.Second = says.second })
	const when, drains = "both are up", "it drains"
	expect := func(when, name string, qtype uint16, want string) {
		t.Helper()
		d.forget()
		ttl := uint32(30)
		if when == drains { // it is missed
			ttl = 15
		}
		if got := addrsOf(t, reply(t, d, name, qtype), ttl); got != want {
			t.Errorf("%s: %s %s: %s, want %s", when, name, dns.TypeToString[qtype], got, want)
		}
	}
	four, six := "e-0a000007."+testZone, "e-20010db8000000000000000000000007."+testZone
	expect(when, testZone, dns.TypeA, "10.0.0.7 10.0.0.8")
	expect(when, testZone, dns.TypeAAAA, "2001:db8::7")
	for _, own := range []string{four, six} {
		expect(when, own, dns.TypeA, "10.0.0.7")
		expect(when, own, dns.TypeAAAA, "2001:db8::7")
	}
	expect(when, "e-0a000008."+testZone, dns.TypeAAAA, "")

	says[both.Name] = OpinionNone // all who had a way to it have lost theirs
	expect("nobody knows any more", testZone, dns.TypeAAAA, "2001:db8::7")

	says[both.Name] = OpinionDown
	expect("IPv6 fails", testZone, dns.TypeA, "10.0.0.7 10.0.0.8")
	expect("IPv6 fails", testZone, dns.TypeAAAA, "")
	expect("IPv6 fails", four, dns.TypeA, "10.0.0.7")
	expect("IPv6 fails", four, dns.TypeAAAA, "")
	expect("IPv6 fails", six, dns.TypeA, "10.0.0.7 10.0.0.8")

	says[both.Name] = OpinionNone
	expect("nobody has seen it since", testZone, dns.TypeAAAA, "")
	says[both.Name] = OpinionUp
	expect("it is back", testZone, dns.TypeAAAA, "2001:db8::7")

	both.State.Status = StatusDraining
	view.set(both, old)
	expect(drains, testZone, dns.TypeA, "10.0.0.8")
	expect(drains, testZone, dns.TypeAAAA, "")
}

// Each family's weights are of its own: a second address has its relay's share.
func TestDNSWeighsSecondAddresses(t *testing.T) {
	big := sized(dual(node(RoleRelay, StatusServing, "10.0.0.7"), "2001:db8::7"), 1e9)
	small := sized(dual(node(RoleRelay, StatusServing, "10.0.0.8"), "2001:db8::8"), 250e6)
	d, _ := silentDNS(t, []Member{big, small})
	first := 0
	for range 2000 {
		if r := reply(t, d, testZone, dns.TypeAAAA); r.Answer[0].(*dns.AAAA).AAAA.String() == "2001:db8::7" {
			first++
		}
	}
	if share := float64(first) / 2000; share < 0.76 || share > 0.84 {
		t.Errorf("the big one is named in %.3f, want 0.8", share)
	}
}

// inDualWard is inWard with relays that have second addresses.
func inDualWard(t *testing.T, servers, relays int, test func(w *ward)) {
	inWard(t, servers, relays, func(w *ward) {
		w.edit(func() {
			for i, m := range w.members {
				if m.State.Role == RoleRelay {
					six := netip.MustParseAddr("2001:db8::").As16()
					six[15] = byte(i)
					w.members[i].State.Second = netip.AddrFrom16(six)
				}
			}
		})
		time.Sleep(3 * time.Second)
		test(w)
	})
}

func (w *ward) second(member, relay string) Opinion {
	return w.probers[member].cfg.Verdicts.Second(relay)
}

// A relay whose second address fails is found out at that address alone, and
// found again.
func TestSecondAddressIsProbedByItself(t *testing.T) {
	inDualWard(t, 2, 3, func(w *ward) {
		everybody := []string{"n1", "n2", "r1", "r3"}
		for _, name := range everybody {
			if got := w.second(name, "r2"); got != OpinionUp {
				t.Errorf("%s finds the second address %s", name, got)
			}
		}
		for _, name := range everybody {
			w.cut(name, "r2"+secondMark)
		}
		time.Sleep(4 * time.Second)
		for _, name := range everybody {
			if got := w.second(name, "r2"); got != OpinionDown || !w.healthy(name, "r2") {
				t.Errorf("%s: second address %s, the relay healthy: %v", name, got, w.healthy(name, "r2"))
			}
			if got := w.second(name, "r1"); name != "r1" && got != OpinionUp {
				t.Errorf("%s finds another's second address %s", name, got)
			}
		}
		if s := w.probers["n1"].Snapshot(); s.Up != 3 || s.Down != 0 || s.Doubt {
			t.Errorf("relays counted: %+v", s)
		}
		w.edit(func() { clear(w.cuts) })
		time.Sleep(4 * time.Second)
		if got := w.second("n1", "r2"); got != OpinionUp {
			t.Errorf("not found again: %s", got)
		}
	})
}

// Who has no way to a family has no opinion on it; who loses its way to it, while
// the routes are still there, doubts itself and not the relays.
func TestProbersWithoutAFamily(t *testing.T) {
	inDualWard(t, 1, 4, func(w *ward) {
		for _, r := range []string{"r1", "r2", "r3", "r4"} {
			w.cut("n1", r+secondMark)
		}
		time.Sleep(10 * time.Second)
		if s := w.probers["n1"].Snapshot(); !s.Doubt || s.Up != 4 {
			t.Errorf("%+v", s)
		}
		if got := w.second("n1", "r2"); got != OpinionUp {
			t.Errorf("it outvotes the others: %s", got)
		}
		w.edit(func() { w.stranded = true })
		time.Sleep(4 * time.Second)
		if got := w.second("n1", "r2"); got != OpinionNone {
			t.Errorf("nobody has a way to it, and it is found %s", got)
		}
		if !w.healthy("n1", "r2") {
			t.Error("the relay is withdrawn")
		}
	})
}

// To a release that knows nothing of them, verdicts on second addresses are such
// on nobody: they are kept as those, and do no harm.
func TestSecondAddressesAmongOlderReleases(t *testing.T) {
	members := []Member{node(RoleNameServer, StatusServing, "10.0.0.1"), node(RoleRelay, StatusServing, "10.0.0.2")}
	members[1].State.Second = netip.Addr{} // an older release skips the key
	given := map[string]map[string]Verdict{
		members[1].Name + secondMark: {members[0].Name: {Prober: members[0].Name, Target: members[1].Name + secondMark, Opinion: OpinionDown}},
	}
	if judge(given, members)[members[1].Name].down {
		t.Error("the relay is withdrawn")
	}
	heard, err := decodeVerdicts(encodeVerdicts(given[members[1].Name+secondMark][members[0].Name])[0])
	if !memberName(members[1].Name+secondMark) || err != nil || len(heard) != 1 {
		t.Errorf("%v, %v", heard, err)
	}
}
