// Package simnet is a network in memory, for tests on fake time: hosts with
// stream connections and listeners that net/http can use, and packets for the
// gossip of memberlist. Delay, cut links, lost packets and killed hosts are
// under the test's command.
//
//	dial ──SYN──▶ backlog ──▶ Accept
//	Write ──▶ pipe (bytes with a time of arrival) ──▶ Read
//
// Everything waits on channels and timers alone, and the one mutex is held
// only for moments, so all of it works inside a testing/synctest bubble. It
// is not a model of TCP: no slow start, no packets on the stream, no limit of
// rate.
package simnet

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Config says how a network behaves.
type Config struct {
	Seed  uint64        // decides which packets are lost
	Delay time.Duration // one way between two hosts; none within one host
}

// Network joins hosts. All methods may be called from any goroutine.
type Network struct {
	delay time.Duration

	mu    sync.Mutex // guards what follows, and the state of every host, listener and pipe
	rng   *rand.Rand
	drop  float64
	hosts map[netip.Addr]*Host
	cuts  map[link]*cut
	shut  map[uint16]bool    // ports that nobody reaches
	conns map[*conn]struct{} // open ends
}

// link is an unordered pair of hosts.
type link struct{ low, high netip.Addr }

type cut struct {
	since  time.Time
	healed chan struct{} // closed when the link works again
}

// New returns a network without hosts.
func New(cfg Config) *Network {
	return &Network{
		delay: cfg.Delay,
		rng:   rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)),
		hosts: make(map[netip.Addr]*Host),
		cuts:  make(map[link]*cut),
		shut:  make(map[uint16]bool),
		conns: make(map[*conn]struct{}),
	}
}

// Host returns the host with the address, and makes it when there is none, or
// when the one before was killed. It panics on text that is no IP address.
func (n *Network) Host(address string) *Host {
	addr := netip.MustParseAddr(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[addr]; h != nil {
		return h
	}
	h := newHost(n, addr)
	n.hosts[addr] = h
	return h
}

// Cut stops all traffic between two hosts: packets vanish, streams stand still
// and dials hang, until Heal.
func (n *Network) Cut(a, b string) {
	l := linkOf(netip.MustParseAddr(a), netip.MustParseAddr(b))
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cuts[l] == nil {
		n.cuts[l] = &cut{since: time.Now(), healed: make(chan struct{})}
	}
}

// Heal ends a cut. What the streams held back arrives one delay later.
func (n *Network) Heal(a, b string) {
	l := linkOf(netip.MustParseAddr(a), netip.MustParseAddr(b))
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.cuts[l]
	if c == nil {
		return
	}
	delete(n.cuts, l)
	close(c.healed)
	for conn := range n.conns {
		if conn.in.link == l {
			conn.in.resend(c.since)
			conn.out.resend(c.since)
		}
	}
}

// SetDrop sets the probability, 0 to 1, that a packet is lost. Streams are not
// touched by it.
func (n *Network) SetDrop(probability float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop = probability
}

// Shut keeps everybody from a port of every host, as a firewall does that drops:
// packets to it vanish and dials hang, until Open. Streams that are open go on.
func (n *Network) Shut(port uint16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shut[port] = true
}

// Open ends Shut.
func (n *Network) Open(port uint16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.shut, port)
}

// travel waits as long as one message needs from a host to another. It hangs
// while the link is cut.
func (n *Network) travel(ctx context.Context, from *Host, to netip.Addr) error {
	if delay := n.delayBetween(from.addr, to); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-from.dead:
			return ErrDead
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		n.mu.Lock()
		c := n.cuts[linkOf(from.addr, to)]
		n.mu.Unlock()
		if c == nil {
			return nil
		}
		select {
		case <-c.healed:
		case <-from.dead:
			return ErrDead
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Network) delayBetween(a, b netip.Addr) time.Duration {
	if a == b {
		return 0
	}
	return n.delay
}

func linkOf(a, b netip.Addr) link {
	if b.Less(a) {
		a, b = b, a
	}
	return link{low: a, high: b}
}
