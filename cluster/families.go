package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// heardFor is how long a packet from an address shows that packets get there
	// too. Who was not heard for longer is sent each packet at both addresses:
	// memberlist takes one that comes twice for one.
	heardFor = 30 * time.Second
	// maxHeard bounds the addresses heard that are kept; at the bound all are learnt
	// anew.
	maxHeard = 1024
)

// ErrFamily is the error of an address to which this node has no way by IP.
var ErrFamily = errors.New("unreachable: this node has no address of that family of IP")

// families carries the gossip over both families of IP, of which memberlist knows
// one address a node. A node with a second address is heard there as well, and
// sends from there to those whose first address is of that family; another node's
// second address is tried where its first one is of a family that this node does
// not have, or does not answer.
//
//	memberlist ──first address of a node──▶ families ─┬─▶ from our first address
//	                  its second, from its State ─────┴─▶ from our second address
//
// Two nodes that have no family in common see each other through those that have
// both: memberlist asks others to ping whom it can't.
type families struct {
	first  memberlist.NodeAwareTransport
	second memberlist.NodeAwareTransport // nil: this node has one family
	is4    bool                          // the first one's family
	other  func(netip.AddrPort) netip.AddrPort

	packets    chan *memberlist.Packet
	streams    chan net.Conn
	stop, done chan struct{} // closed when the end begins, and when nothing more comes
	merging    sync.WaitGroup
	ending     sync.Once

	mu    sync.Mutex
	heard map[netip.AddrPort]time.Time // when a packet came from there
}

var _ memberlist.NodeAwareTransport = (*families)(nil)

// newFamilies joins two transports; second may be nil. Other tells another node's
// second address by its first, invalid where there is none.
func newFamilies(first, second memberlist.NodeAwareTransport, is4 bool, other func(netip.AddrPort) netip.AddrPort) *families {
	f := &families{
		first: first, second: second, is4: is4, other: other,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		stop: make(chan struct{}), done: make(chan struct{}),
		heard: make(map[netip.AddrPort]time.Time),
	}
	for _, t := range []memberlist.NodeAwareTransport{first, second} {
		if t != nil {
			f.merging.Go(func() { f.merge(t) })
		}
	}
	return f
}

// merge passes on what comes. What comes during the end is dropped, but taken:
// sockets that close wait for that.
func (f *families) merge(t memberlist.NodeAwareTransport) {
	for {
		select {
		case <-f.done:
			return
		case p := <-t.PacketCh():
			f.note(p.From)
			select {
			case f.packets <- p:
			case <-f.stop:
			}
		case c := <-t.StreamCh():
			select {
			case f.streams <- c:
			case <-f.stop:
				c.Close()
			}
		}
	}
}

// note remembers that packets come from an address.
func (f *families) note(from net.Addr) {
	at, ok := from.(*net.UDPAddr)
	if !ok {
		return
	}
	addr := plainAddrPort(at.AddrPort())
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.heard[addr]; !known && len(f.heard) >= maxHeard {
		clear(f.heard)
	}
	f.heard[addr] = time.Now()
}

func (f *families) hears(addr netip.AddrPort) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.heard[addr]
	return ok && time.Since(at) < heardFor
}

func (f *families) forget(addr netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.heard, addr)
}

// from is what sends packets to an address; nil when this node has none of its
// family.
func (f *families) from(to netip.AddrPort) memberlist.NodeAwareTransport {
	if to.Addr().Is4() == f.is4 {
		return f.first
	}
	return f.second
}

// WriteTo implements memberlist.Transport.
func (f *families) WriteTo(b []byte, address string) (time.Time, error) {
	return f.WriteToAddress(b, memberlist.Address{Addr: address})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (f *families) WriteToAddress(b []byte, a memberlist.Address) (sent time.Time, err error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("send to %s: %w", a.Addr, err)
	}
	to = plainAddrPort(to)
	err = fmt.Errorf("send to %s: %w", to, ErrFamily)
	for _, at := range []netip.AddrPort{to, f.other(to)} {
		if !at.IsValid() {
			continue
		}
		from := f.from(at)
		if from == nil {
			continue
		}
		at := memberlist.Address{Addr: at.String(), Name: a.Name}
		when, failed := from.WriteToAddress(b, at)
		if failed == nil {
			sent, err = when, nil
			if f.hears(to) {
				return sent, nil
			}
		} else if sent.IsZero() {
			err = failed
		}
	}
	return sent, err
}

// DialTimeout implements memberlist.Transport.
func (f *families) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return f.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (f *families) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.Addr, err)
	}
	to = plainAddrPort(to)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, at, err := DialEither(ctx, to, f.other(to), func(_ context.Context, at netip.AddrPort) (net.Conn, error) {
		from := f.from(at)
		if from == nil {
			from = f.first // the machine may have a way that it does not tell of
		}
		return from.DialAddressTimeout(memberlist.Address{Addr: at.String(), Name: a.Name}, timeout)
	})
	if err == nil && at != to {
		f.forget(to)
	}
	return c, err
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (f *families) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	return f.first.FinalAdvertiseAddr(ip, port)
}

// PacketCh implements memberlist.Transport.
func (f *families) PacketCh() <-chan *memberlist.Packet { return f.packets }

// StreamCh implements memberlist.Transport.
func (f *families) StreamCh() <-chan net.Conn { return f.streams }

// Shutdown implements memberlist.Transport.
func (f *families) Shutdown() error {
	var errs []error
	f.ending.Do(func() {
		close(f.stop)
		for _, t := range []memberlist.NodeAwareTransport{f.first, f.second} {
			if t != nil {
				errs = append(errs, t.Shutdown())
			}
		}
		close(f.done)
		f.merging.Wait()
	})
	return errors.Join(errs...)
}

func plainAddrPort(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
