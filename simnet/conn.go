package simnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// conn is one end of a stream.
type conn struct {
	host          *Host
	local, remote *net.TCPAddr
	in, out       *pipe
}

var _ net.Conn = (*conn)(nil)

// newConns makes the two ends of a stream; net.mu is held.
func newConns(n *Network, from, to *Host, local, remote netip.AddrPort) (ours, theirs *conn) {
	there := newPipe(n, from.addr, to.addr)
	back := newPipe(n, from.addr, to.addr)
	here, far := net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote)
	ours = &conn{host: from, local: here, remote: far, in: back, out: there}
	theirs = &conn{host: to, local: far, remote: here, in: there, out: back}
	n.conns[ours] = struct{}{}
	n.conns[theirs] = struct{}{}
	return ours, theirs
}

func newPipe(n *Network, a, b netip.Addr) *pipe {
	return &pipe{net: n, link: linkOf(a, b), delay: n.delayBetween(a, b)}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.wrap("read", err)
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.wrap("write", err)
}

// CloseWrite ends our direction; the other one stays open.
func (c *conn) CloseWrite() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.out.closeWrite(io.EOF)
	return nil
}

// Close implements net.Conn. What was written still arrives.
func (c *conn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.in.readClosed {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.closeWrite(io.EOF)
	c.in.closeRead()
	delete(c.host.net.conns, c)
	return nil
}

func (c *conn) reset() {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.resetLocked()
}

// resetLocked ends both directions; the other end meets ECONNRESET.
func (c *conn) resetLocked() {
	c.out.reset()
	c.in.closeRead()
	delete(c.host.net.conns, c)
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(c.in, &c.in.readDeadline, t)
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(c.out, &c.out.writeDeadline, t)
}

func (c *conn) setDeadline(p *pipe, deadline *time.Time, t time.Time) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if c.in.readClosed {
		return c.wrap("set", net.ErrClosed)
	}
	*deadline = t
	p.notify() // who waits looks at the new deadline
	return nil
}

// wrap gives an error the form that the real network gives it; callers look
// for *net.OpError and its Timeout.
func (c *conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
