package relay

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is moved in a brief call at the most: it is to take some microseconds.
const (
	briefBytes     = recordBytes + 256 // copied: a record of TLS with what is around it
	briefFileBytes = 256 << 10         // of a memory file
)

// briefly makes one call of recvfrom or sendto for a few kB on a socket. The
// scheduler is not told of it: telling costs a tenth of a list, and wakes the
// thread that looks after calls that last. Read and write would do the same by
// way of what files have and sockets have not: a position, its lock, watchers.
func briefly(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// brieflyMore sends some bytes behind which more will follow at once: the kernel
// waits for these, and sends both in one packet.
func brieflyMore(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_MORE|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// brieflyFile sends some bytes of a memory file.
func brieflyFile(to, from int, offset *int64, n int) (int, error) {
	sent, _, errno := syscall.RawSyscall6(syscall.SYS_SENDFILE, uintptr(to), uintptr(from), uintptr(unsafe.Pointer(offset)), uintptr(n), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(sent), nil
}

// briefConn is a connection over a descriptor whose reads and short writes are
// brief calls. As with any net.Conn one goroutine may read and one write.
type briefConn struct {
	net.Conn
	raw           syscall.RawConn
	in, out, more briefCall

	// Of the reader, during turns:
	turning bool
	fd      int
	heard   bool // anything so far
	dry     bool // the kernel has nothing: it is not asked again before it tells of more
}

// briefCall is a read or a write under way.
type briefCall struct {
	move func(fd int, b []byte) (int, error)
	b    []byte
	n    int
	err  error
	try  func(fd uintptr) bool
}

func brieflyRead(fd int, b []byte) (int, error)  { return briefly(syscall.SYS_RECVFROM, fd, b) }
func brieflyWrite(fd int, b []byte) (int, error) { return briefly(syscall.SYS_SENDTO, fd, b) }

// newBriefConn returns conn itself where there is no descriptor.
func newBriefConn(conn net.Conn) net.Conn {
	below, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := below.SyscallConn()
	if err != nil {
		return conn
	}
	c := &briefConn{Conn: conn, raw: raw}
	c.in.move, c.out.move, c.more.move = brieflyRead, brieflyWrite, brieflyMore
	c.in.try, c.out.try, c.more.try = c.in.some, c.out.all, c.more.all
	return c
}

// NetConn returns the connection below.
func (c *briefConn) NetConn() net.Conn { return c.Conn }

// SyscallConn implements syscall.Conn.
func (c *briefConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// Read implements net.Conn.
func (c *briefConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if c.turning {
		return c.readNow(b)
	}
	n, err := c.in.over(c.raw.Read, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *briefConn) Write(b []byte) (int, error) {
	if len(b) > briefBytes {
		return c.Conn.Write(b)
	}
	return c.out.over(c.raw.Write, b)
}

// writeMore writes what more will follow at once; see brieflyMore. It is for
// what Write takes as short.
func (c *briefConn) writeMore(b []byte) (int, error) { return c.more.over(c.raw.Write, b) }

// errNotYet is what a read returns during a turn that finds nothing. TLS takes
// it for a deadline that has passed, after which it can be read on.
var errNotYet net.Error = notYet{}

type notYet struct{}

func (notYet) Error() string   { return "nothing has come yet" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }

// turns calls turn, first and whenever something may have come, until that
// returns true. In it reads do not wait. What one saves is the read that only
// finds nothing: the poller tells of what comes after a read by itself, which
// one who calls a connection's Read anew for each request does not get to know.
func (c *briefConn) turns(turn func() bool) error {
	c.turning = true
	defer func() { c.turning = false }()
	return c.raw.Read(func(fd uintptr) bool {
		c.fd, c.dry = int(fd), false
		return turn()
	})
}

// readNow reads during a turn. As in laneConn.turn, one who closes his half with
// a later request than the first, and without TLS's goodbye, may go unheard.
func (c *briefConn) readNow(b []byte) (int, error) {
	for !c.dry {
		n, err := brieflyRead(c.fd, b)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			c.dry = true
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			c.dry = c.heard && n < len(b)
			c.heard = true
			return n, nil
		}
	}
	return 0, errNotYet
}

// over makes the call through one of a RawConn's methods, which wait.
func (c *briefCall) over(wait func(func(fd uintptr) bool) error, b []byte) (int, error) {
	c.b, c.n, c.err = b, 0, nil
	err := wait(c.try)
	c.b = nil
	if err == nil {
		err = c.err
	}
	return c.n, err
}

// some moves what the kernel has or takes; false: nothing yet.
func (c *briefCall) some(fd uintptr) bool {
	for {
		n, err := c.move(int(fd), c.b[c.n:])
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		}
		c.n, c.err = c.n+max(n, 0), err
		return true
	}
}

// all goes on until all is moved.
func (c *briefCall) all(fd uintptr) bool {
	for c.err == nil && c.n < len(c.b) {
		if !c.some(fd) {
			return false
		}
	}
	return true
}
