package simnet

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// backlogLength bounds the connections that wait for Accept. A dial that finds
// it full waits for room, as a SYN that is sent again.
const backlogLength = 128

type listener struct {
	host    *Host
	port    uint16
	backlog chan net.Conn
	done    chan struct{} // closed with the listener
}

var _ net.Listener = (*listener)(nil)

func newListener(h *Host, port uint16) *listener {
	return &listener{
		host:    h,
		port:    port,
		backlog: make(chan net.Conn, backlogLength),
		done:    make(chan struct{}),
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, l.closedError()
	}
}

// Close implements net.Listener. Connections that were not accepted are reset.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed() {
		return l.closedError()
	}
	l.closeLocked()
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.host.addr, l.port))
}

// offer puts a connection into the backlog.
func (l *listener) offer(ctx context.Context, from *Host, c *conn) error {
	select {
	case l.backlog <- c:
		if l.closed() { // and nobody would find the connection there
			return syscall.ECONNRESET
		}
		return nil
	case <-l.done:
		return syscall.ECONNREFUSED
	case <-from.dead:
		return ErrDead
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *listener) closeLocked() {
	if l.closed() {
		return
	}
	close(l.done)
	delete(l.host.listeners, l.port)
	for {
		select {
		case c := <-l.backlog:
			c.(*conn).resetLocked()
		default:
			return
		}
	}
}

func (l *listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *listener) closedError() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}
