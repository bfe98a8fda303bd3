package cluster

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A relay may be reached over both families of IP. Its first address, that of
// PublicMedia, is the one by which it is known: if that fails, so does the relay.
// Its second one, of the other family, is probed by itself, and what fails there
// takes it out of the answers of that family alone.
//
//	gossip: second address ──▶ Prober ──▶ verdicts on NAME:2 ──▶ Second ──▶ roster, steering

// secondMark stands behind the name of a relay in verdicts on its second address.
// To releases that do not know it, these are verdicts on nobody.
const secondMark = ":2"

// SecondAddr returns the member's address of the other family of IP, at which
// viewers reach it as well; invalid: it has none.
func (m Member) SecondAddr() netip.Addr {
	first := m.PublicAddr()
	if second := m.State.Second; second.IsValid() && first.IsValid() && second.Is4() != first.Is4() {
		return second
	}
	return netip.Addr{}
}

// SecondMedia returns the host:port of the second address, "" without one. The
// port is the first one's.
func (m Member) SecondMedia() string {
	second := m.SecondAddr()
	if !second.IsValid() {
		return ""
	}
	at := strings.LastIndexByte(m.PublicMedia(), ':')
	port, err := strconv.ParseUint(m.PublicMedia()[at+1:], 10, 16)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(second, uint16(port)).String()
}

// addr returns the member's address of a family, invalid when it has none.
func (m Member) addr(v6 bool) netip.Addr {
	if first := m.PublicAddr(); first.IsValid() && first.Is6() == v6 {
		return first
	}
	if second := m.SecondAddr(); second.IsValid() && second.Is6() == v6 {
		return second
	}
	return netip.Addr{}
}

// atSecond is the member as it is probed, and judged, at its second address.
func (m Member) atSecond() Member {
	m.Name, m.State.Public, m.State.Second = m.Name+secondMark, m.SecondMedia(), netip.Addr{}
	return m
}

// withSeconds returns the members, and each that has a second address once more,
// as it is there.
func withSeconds(members []Member) []Member {
	all := slices.Clone(members)
	for _, m := range members {
		if m.SecondMedia() != "" {
			all = append(all, m.atSecond())
		}
	}
	return all
}

// withoutSecond is the member as one that has no second address.
func (m Member) withoutSecond() Member {
	m.State.Second = netip.Addr{}
	return m
}

// ownerOf is the name of the relay that a verdict is on.
func ownerOf(target string) string { return strings.TrimSuffix(target, secondMark) }

func isSecond(target string) bool { return strings.HasSuffix(target, secondMark) }

// secondOf keeps addresses that can be told to others.
func secondOf(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap(); addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
		return netip.Addr{}
	}
	return addr
}

// Second tells what the pool finds of a relay's second address: up, when more
// see it than have lost it; down, when it is the other way round; else none.
// Unlike a relay, an address that nobody has seen is not named: a machine may have
// one that leads nowhere.
func (v *Verdicts) Second(name string) Opinion {
	switch j := v.judgement(name + secondMark); {
	case j.lost > j.up:
		return OpinionDown
	case j.up > 0:
		return OpinionUp
	}
	return OpinionNone
}

// seconds are the second addresses that are named. What was seen once stays until
// it is lost for certain: probers that lose their own way to a family, or doubt
// themselves, do not empty its answers.
type seconds struct {
	seen map[string]bool // by the relay's name
}

// look takes in what is found of the members' second addresses now.
func (s *seconds) look(members []Member, found func(Member) Opinion) {
	seen := make(map[string]bool)
	for _, m := range members {
		if !m.SecondAddr().IsValid() {
			continue
		}
		if o := found(m); o == OpinionUp || o != OpinionDown && s.seen[m.Name] {
			seen[m.Name] = true
		}
	}
	s.seen = seen
}

// only returns the members with those second addresses alone that are named.
func (s *seconds) only(members []Member) []Member {
	kept := make([]Member, len(members))
	for i, m := range members {
		if kept[i] = m; !s.seen[m.Name] {
			kept[i] = m.withoutSecond()
		}
	}
	return kept
}
