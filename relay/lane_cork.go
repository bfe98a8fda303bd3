package relay

import (
	"crypto/tls"
	"net"
	"sync/atomic"
)

// recordBytes is what a TLS record carries at the most.
const recordBytes = 16 << 10

// corkedConn stands below TLS, which writes each record by itself, a brief call
// each. While it is corked the kernel is told with each that more follows, and
// sends them together.
type corkedConn struct {
	net.Conn
	brief  *briefConn // Conn; nil where there is no descriptor
	corked atomic.Bool
}

// NewTLSListener returns a listener that hands out TLS connections over what
// inner accepts, as tls.NewListener does; Serve writes to these at less cost.
func NewTLSListener(inner net.Listener, config *tls.Config) net.Listener {
	return tls.NewListener(corkedListener{inner}, config)
}

type corkedListener struct{ net.Listener }

// Accept implements net.Listener.
func (l corkedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &corkedConn{Conn: newBriefConn(conn)}
	c.brief, _ = c.Conn.(*briefConn)
	return c, nil
}

// corkedBelow returns what stands below a TLS connection, nil if it is nothing
// of this kind.
func corkedBelow(conn net.Conn) *corkedConn {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	c, _ := secure.NetConn().(*corkedConn)
	return c
}

// NetConn returns the connection below.
func (c *corkedConn) NetConn() net.Conn { return c.Conn }

// Write implements net.Conn.
func (c *corkedConn) Write(b []byte) (int, error) {
	if c.brief != nil && c.corked.Load() {
		return c.brief.writeMore(b)
	}
	return c.Conn.Write(b)
}

// corkMost is up to how many bytes leave corked. A part of 125 kB costs two
// thirds of what it costs in single records; but of a segment ever more would
// wait to be sent, and waking for that costs the kernel twice what it saves.
const corkMost = 256 << 10

// send writes a head, which may be empty, and a body, which may not, over the
// TLS connection that this one is below of. Of corked ones the last record is
// what uncorks: nothing waits for another write.
func (c *corkedConn) send(over net.Conn, head, body []byte, corked bool) (n int, err error) {
	last := (len(body) - 1) / recordBytes * recordBytes
	c.corked.Store(corked)
	for _, b := range [...][]byte{head, body[:last]} {
		if len(b) > 0 && err == nil {
			var some int
			some, err = over.Write(b)
			n += some
		}
	}
	c.corked.Store(false)
	if err != nil {
		return n, err
	}
	some, err := over.Write(body[last:])
	return n + some, err
}
