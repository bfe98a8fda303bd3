package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// packetQueue bounds the packets that wait for the gossip of one host. What
// comes while it is full is lost, as in a socket's buffer.
const packetQueue = 1024

// transport carries memberlist over a host.
type transport struct {
	host    *Host
	port    uint16
	streams *listener
	err     error // why it could not be opened
	packets chan *memberlist.Packet
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// Transport opens the port for gossip, packets and streams. Whether that
// worked is told by FinalAdvertiseAddr, which memberlist asks first.
func (h *Host) Transport(port int) memberlist.Transport {
	t := &transport{host: h, port: uint16(port), packets: make(chan *memberlist.Packet, packetQueue)}
	t.streams, t.err = h.listen(t.port)
	if t.err != nil {
		t.streams = newListener(h, t.port) // not registered: nobody finds it
		return t
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	t.port = t.streams.port
	h.packets[t.port] = t
	return t
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if t.err != nil {
		return nil, 0, fmt.Errorf("open port %d of %s: %w", t.port, t.host.addr, t.err)
	}
	if ip == "" {
		return t.host.addr.AsSlice(), int(t.port), nil
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("advertise: %w", err)
	}
	return addr.AsSlice(), port, nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("send to %s: %w", address, err)
	}
	t.send(append([]byte(nil), b...), to)
	return time.Now(), nil
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// send puts one packet on its way. What is lost is lost silently.
func (t *transport) send(b []byte, to netip.AddrPort) {
	n := t.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[t.host.addr] != t.host || n.rng.Float64() < n.drop {
		return
	}
	delay := n.delayBetween(t.host.addr, to.Addr())
	if delay == 0 {
		t.deliverLocked(b, to)
		return
	}
	time.AfterFunc(delay, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		t.deliverLocked(b, to)
	})
}

func (t *transport) deliverLocked(b []byte, to netip.AddrPort) {
	n := t.host.net
	if n.cuts[linkOf(t.host.addr, to.Addr())] != nil || n.shut[to.Port()] {
		return
	}
	target := n.hosts[to.Addr()]
	if target == nil || target.packets[to.Port()] == nil {
		return
	}
	from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(t.host.addr, t.port))
	select {
	case target.packets[to.Port()].packets <- &memberlist.Packet{Buf: b, From: from, Timestamp: time.Now()}:
	default:
	}
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport. It is never closed: memberlist
// would take a closed channel for a stream of connections that are nil.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams.backlog }

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return t.host.DialContext(ctx, "tcp", address)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// Shutdown implements memberlist.Transport.
func (t *transport) Shutdown() error {
	n := t.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.host.packets[t.port] == t {
		delete(t.host.packets, t.port)
	}
	if t.err == nil {
		t.streams.closeLocked()
	}
	return nil
}
