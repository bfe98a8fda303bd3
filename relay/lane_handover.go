package relay

import (
	"io"
	"net"
	"sync"
)

// handedListener is what net/http accepts the connections from that a lane
// hands over.
type handedListener struct {
	addr  net.Addr
	conns chan net.Conn // unbuffered: whoever hands over waits until it is taken

	once  sync.Once
	ended chan struct{} // closed when nobody accepts any more
}

func newHandedListener(addr net.Addr) *handedListener {
	return &handedListener{addr: addr, conns: make(chan net.Conn), ended: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *handedListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

// Addr implements net.Listener.
func (l *handedListener) Addr() net.Addr { return l.addr }

// handOver gives a connection to net/http with what was read of it.
func (l *lane) handOver(c *laneConn) {
	begun := make([]byte, c.filled)
	copy(begun, c.buffer[:c.filled])
	c.filled = 0
	c.release()
	l.leave(c)
	select {
	case l.foreign.conns <- &handedConn{Conn: c.Conn, begun: begun}:
	case <-l.foreign.ended:
		_ = c.Close()
	}
}

// handedConn is a connection of which the first bytes were read already.
type handedConn struct {
	net.Conn
	begun []byte
}

var _ io.ReaderFrom = (*handedConn)(nil)

// Read implements net.Conn.
func (c *handedConn) Read(b []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.begun)
	if c.begun = c.begun[n:]; len(c.begun) == 0 {
		c.begun = nil
	}
	return n, nil
}

// NetConn returns the connection below.
func (c *handedConn) NetConn() net.Conn { return c.Conn }

// ReadFrom lets the kernel send a file by itself.
func (c *handedConn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}
