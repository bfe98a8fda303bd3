package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of a gate.
const (
	// DefaultConnections is what a relay with a 10 Gbit/s link can need: some
	// 3,000 viewers of 3 Mbit/s with up to six connections each, and room.
	DefaultConnections = 50_000
	// DefaultPerAddress is generous: behind the one address of a mobile
	// carrier's NAT are thousands of people.
	DefaultPerAddress = 4096
)

// GateConfig says how many connections a gate lets in.
type GateConfig struct {
	// Connections bounds all connections together. What the limit of file
	// descriptors leaves bounds them too. Default DefaultConnections.
	Connections int
	// PerAddress bounds the connections of one IPv4 address or one IPv6 /64
	// network. Loopback has no such bound: it is a proxy on this machine, which
	// speaks for everyone. Default DefaultPerAddress.
	PerAddress int
	// Descriptors is the limit of file descriptors of the process. Default: the
	// system is asked.
	Descriptors int
	// Node tells whether a node of the pool has this address: some seats are
	// kept for those, since many viewers hang on each of them. Called from any
	// goroutine, must not block. May be nil.
	Node func(netip.Addr) bool
	// Elsewhere returns the base URL of another relay for those who find no
	// seat here, "" when there is none. Called as Node is. May be nil.
	Elsewhere func() string
	Logger    *slog.Logger
}

// Gate lets connections in while there are seats, and turns away the newest
// when there are none. One gate stands before all public listeners of a node.
//
// No address is kept: connections of one address are counted under a hash of
// it, made with a key that lives as long as the process.
type Gate struct {
	GateConfig
	total     int // seats
	forNodes  int // of these, the last ones, for nodes only
	key       []byte
	began     time.Time
	patience  time.Duration // idle connections are younger than this stay; see purge
	refusals  chan struct{} // a slot for each refusal that is being said
	lastPurge atomic.Int64  // on the gate's clock, nanoseconds
	lastTold  atomic.Int64  // when turning away was logged last

	refused, purged atomic.Int64

	mu        sync.Mutex
	seats     map[*seat]struct{}
	byAddress map[addressHash]int
}

// GateSnapshot is the state of a gate.
type GateSnapshot struct {
	Connections int   // there are now
	Seats       int   // there can be
	Refused     int64 // connections turned away since the start
	Purged      int64 // idle connections closed to make room
}

// addressHash stands for an address while the process lives.
type addressHash uint64

// maxRefusals bounds those who are being told 503 at a time. Beyond it a
// connection is closed without a word.
const maxRefusals = 64

// NewGate returns a gate with all seats free.
func NewGate(c GateConfig) *Gate {
	if c.Connections == 0 {
		c.Connections = DefaultConnections
	}
	if c.PerAddress == 0 {
		c.PerAddress = DefaultPerAddress
	}
	if c.Descriptors == 0 {
		c.Descriptors = RaiseDescriptorLimit()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	total := max(1, min(c.Connections, c.Descriptors-reservedDescriptors(c.Descriptors)))
	g := &Gate{
		GateConfig: c,
		total:      total,
		forNodes:   min(64, total/16),
		key:        make([]byte, 16),
		began:      time.Now(),
		patience:   idlePatience,
		refusals:   make(chan struct{}, maxRefusals),
		seats:      make(map[*seat]struct{}),
		byAddress:  make(map[addressHash]int),
	}
	rand.Read(g.key) // never fails: see crypto/rand
	return g
}

// Snapshot returns the state of the gate.
func (g *Gate) Snapshot() GateSnapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	return GateSnapshot{Connections: len(g.seats), Seats: g.total, Refused: g.refused.Load(), Purged: g.purged.Load()}
}

// admit gives a connection a seat, or nil when there is none for it.
func (g *Gate) admit(conn net.Conn) *seat {
	address := remoteAddress(conn)
	s := &seat{gate: g, conn: conn}
	if !address.IsLoopback() {
		s.address, s.counted = g.hash(address), true
	}
	if g.crowded() {
		g.purge()
	}
	if g.take(s, false) || g.Node != nil && g.Node(address) && g.take(s, true) {
		return s
	}
	return nil
}

// take takes a seat if one is free for this connection; a node may have the
// last ones too, however many come from its address.
func (g *Gate) take(s *seat, node bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if free := g.total - len(g.seats); free <= 0 || !node && free <= g.forNodes {
		return false
	}
	if !node && s.counted && g.byAddress[s.address] >= g.PerAddress {
		return false
	}
	g.seats[s] = struct{}{}
	if s.counted {
		g.byAddress[s.address]++
	}
	return true
}

// leave gives a seat back.
func (g *Gate) leave(s *seat) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, seated := g.seats[s]; !seated {
		return
	}
	delete(g.seats, s)
	if !s.counted {
		return
	}
	if g.byAddress[s.address]--; g.byAddress[s.address] == 0 {
		delete(g.byAddress, s.address)
	}
}

// tellInterval is how often the log says that connections are turned away.
const tellInterval = time.Minute

// turnedAway counts a connection that got no seat, and tells the operator.
func (g *Gate) turnedAway(why string) {
	refused := g.refused.Add(1)
	now, last := int64(time.Since(g.began)), g.lastTold.Load()
	if last != 0 && now-last < int64(tellInterval) || !g.lastTold.CompareAndSwap(last, max(now, 1)) {
		return
	}
	s := g.Snapshot()
	g.Logger.Warn("connections are turned away", "why", why, "since_start", refused, "connections", s.Connections, "seats", s.Seats)
}

// hash makes a name for an address that nobody can turn back. An IPv6 customer
// has a whole /64 network, so that is what counts as one address.
func (g *Gate) hash(address netip.Addr) addressHash {
	if address.Is6() {
		network, _ := address.WithZone("").Prefix(64) // fails only beyond 128
		address = network.Addr()
	}
	mac := hmac.New(sha256.New, g.key)
	mac.Write(address.AsSlice())
	return addressHash(binary.LittleEndian.Uint64(mac.Sum(nil)))
}

// remoteAddress is where a connection comes from; invalid when that is no IP
// address, and then all such count as one.
func remoteAddress(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return remote.Addr().Unmap()
}
