package relay

import (
	"crypto/tls"
	"net"
	"sync"
)

// gatherBytes is what leaves in one write: with less the kernel's work for each
// write shows in the cost of a segment, with more nothing is won.
const gatherBytes = 64 << 10

var gatherBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, gatherBytes+4<<10) // and what TLS adds
	return &b
}}

// gatheringConn stands below TLS, which writes each record of at most 16 kB by
// itself, and lets several leave in one write. It holds no buffer but while it
// gathers.
type gatheringConn struct {
	net.Conn

	mu        sync.Mutex
	gathering bool
	gathered  *[]byte // nil when there is nothing
}

// NewTLSListener returns a listener that hands out TLS connections over what
// inner accepts, as tls.NewListener does; Serve writes to these at less cost.
func NewTLSListener(inner net.Listener, config *tls.Config) net.Listener {
	return tls.NewListener(gatheringListener{inner}, config)
}

type gatheringListener struct{ net.Listener }

// Accept implements net.Listener.
func (l gatheringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatheringConn{Conn: newBriefConn(conn)}, nil
}

// gathererOf returns what stands below a TLS connection, nil if it is nothing
// of this kind.
func gathererOf(conn net.Conn) *gatheringConn {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	g, _ := secure.NetConn().(*gatheringConn)
	return g
}

// NetConn returns the connection below.
func (g *gatheringConn) NetConn() net.Conn { return g.Conn }

// Write implements net.Conn.
func (g *gatheringConn) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gathering {
		return g.Conn.Write(b)
	}
	if g.gathered == nil {
		g.gathered = gatherBuffers.Get().(*[]byte)
	}
	*g.gathered = append(*g.gathered, b...)
	return len(b), nil
}

// gather keeps what is written from now on. Whoever calls it bounds that.
func (g *gatheringConn) gather() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gathering = true
}

// release writes what was gathered.
func (g *gatheringConn) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gathering = false
	if g.gathered == nil {
		return nil
	}
	_, err := g.Conn.Write(*g.gathered)
	*g.gathered = (*g.gathered)[:0]
	gatherBuffers.Put(g.gathered)
	g.gathered = nil
	return err
}
