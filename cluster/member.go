package cluster

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Role is what a node does in the pool.
type Role string

// The roles of this version; a later one may add more.
const (
	RoleOrigin Role = "origin"
	RoleRelay  Role = "relay"
	// RoleNameServer answers DNS and probes relays; it has no media.
	RoleNameServer Role = "nameserver"
)

// State is what a node tells the pool about itself.
type State struct {
	Role     Role
	Status   Status
	Media    string     // host:port where other nodes reach it over HTTP, and viewers when Public is ""
	Public   string     // host:port where viewers reach it, where that is another address
	Second   netip.Addr // of the other family of IP, where viewers reach it as well; see SecondAddr
	Load     int        // percent of its capacity in use, 0 to 100
	Capacity int64      // bits per second; 0: unknown
	Tier     int        // hops from the origin to its media, 1 to 3; 0: unknown, or none
	Slots    int        // how many relays it would feed in all, 0 to 255
	Taken    bool       // all of them are taken
	Version  string     // of the software
}

// Member is a node as the pool sees it.
type Member struct {
	Name    string
	Address netip.AddrPort // of its gossip
	State   State
	Self    bool

	born int64 // start of its process by its own clock, unix milliseconds
}

// PublicMedia returns the host:port where viewers reach the member.
func (m Member) PublicMedia() string {
	if m.State.Public != "" {
		return m.State.Public
	}
	return m.State.Media
}

// PublicAddr returns the address that viewers reach the member at: that of
// PublicMedia, or of the gossip when that names none.
func (m Member) PublicAddr() netip.Addr {
	if host, _, err := net.SplitHostPort(m.PublicMedia()); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
			return addr.Unmap().WithZone("")
		}
	}
	return m.Address.Addr().Unmap().WithZone("")
}

// mediaAddr is the address of State.Media, invalid when it names none.
func (m Member) mediaAddr() netip.Addr {
	at, err := netip.ParseAddrPort(m.State.Media)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// Bounds of a state. They keep its message under memberlist's limit whatever
// the values are.
const (
	maxWord     = 16
	maxMedia    = 128
	maxTier     = 3
	maxSlots    = 255
	maxVersion  = 32
	maxCapacity = 1e15 // a petabit per second: more is a mistake
)

// clamped returns the state with each value in its range; text that is out of
// its character set or too long becomes empty or short.
func (s State) clamped() State {
	s.Role = Role(word(string(s.Role)))
	s.Status = Status(word(string(s.Status)))
	s.Media = endpoint(s.Media)
	s.Public = endpoint(s.Public)
	s.Second = secondOf(s.Second)
	s.Tier = min(max(s.Tier, 0), maxTier)
	s.Slots = min(max(s.Slots, 0), maxSlots)
	s.Load = min(max(s.Load, 0), 100)
	s.Capacity = min(max(s.Capacity, 0), maxCapacity)
	s.Version = plain(s.Version)
	return s
}

// word accepts the short lower-case words that roles and states are.
func word(s string) string {
	if len(s) > maxWord || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return ""
	}
	return s
}

// endpoint accepts host:port.
func endpoint(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil || len(s) > maxMedia || host == "" {
		return ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return ""
	}
	for _, c := range []byte(host) {
		if !hostByte(c) {
			return ""
		}
	}
	return s
}

// plain drops what is no plain text of a version, and what is too long.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && (hostByte(byte(r)) || r == '+' || r == '_' || r == ' ') {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), maxVersion)]
}

func hostByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '.' || c == '-' || c == ':'
}
