package relay

import (
	"net"
	"sync/atomic"
	"time"
)

// seat is the place of one admitted connection.
type seat struct {
	gate      *Gate
	conn      net.Conn
	address   addressHash
	counted   bool         // among those of its address
	idleSince atomic.Int64 // on the gate's clock, nanoseconds; 0: busy
}

// SetIdle implements ConnTracker.
func (s *seat) SetIdle(idle bool) {
	var since int64
	if idle {
		since = max(1, int64(time.Since(s.gate.began)))
	}
	s.idleSince.Store(since)
}

// Close closes the connection and gives its seat back.
func (s *seat) Close() error {
	err := s.conn.Close()
	s.gate.leave(s)
	return err
}

// admitted returns the connection of a seat. Of TCP it is all that TCP has:
// sendfile, writev and closing for writing are found by a look at the methods.
func (s *seat) admitted() net.Conn {
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		return &admittedTCP{tcp, s}
	}
	return &admittedConn{s.conn, s}
}

type admittedTCP struct {
	*net.TCPConn
	seat *seat
}

var _ ConnTracker = (*admittedTCP)(nil)

func (c *admittedTCP) Close() error      { return c.seat.Close() }
func (c *admittedTCP) SetIdle(idle bool) { c.seat.SetIdle(idle) }

// NetConn returns the connection below; closing that one would keep the seat.
func (c *admittedTCP) NetConn() net.Conn { return c.TCPConn }

// admittedConn is a connection of a test's network.
type admittedConn struct {
	net.Conn
	seat *seat
}

var _ ConnTracker = (*admittedConn)(nil)

func (c *admittedConn) Close() error      { return c.seat.Close() }
func (c *admittedConn) SetIdle(idle bool) { c.seat.SetIdle(idle) }
