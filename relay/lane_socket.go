package relay

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"syscall"
)

// readBytes bounds the head of a request that a lane reads; a longer one is
// for net/http, which has a bound of its own.
const readBytes = 4 << 10

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// socket reads and writes a connection. While it waits for bytes it holds no
// buffer: where there is a file descriptor the kernel is asked for bytes only
// when it has some, else one byte is read first.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil where there is no descriptor, and for TLS

	buffer *[readBytes]byte // nil while nothing is read
	filled int
	err    error // of the last read through raw
	try    func(fd uintptr) bool
	one    [1]byte
}

func (s *socket) open(conn net.Conn) {
	s.Conn = conn
	if below, ok := conn.(syscall.Conn); ok {
		if raw, err := below.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.tryRead
		}
	}
}

// cutOff closes the connection without a word: closing TLS says goodbye, and
// one who doesn't read would keep it waiting.
func (s *socket) cutOff() {
	if secure, ok := s.Conn.(*tls.Conn); ok {
		_ = secure.NetConn().Close()
		return
	}
	_ = s.Close()
}

// fill waits for more bytes and reads them. A full buffer is io.ErrShortBuffer.
func (s *socket) fill() error {
	if s.filled == readBytes {
		return io.ErrShortBuffer
	}
	if s.raw != nil {
		if err := s.raw.Read(s.try); err != nil {
			return err
		}
		return s.err
	}
	if s.buffer == nil {
		n, err := s.Read(s.one[:])
		if n == 0 {
			return err
		}
		s.buffer = readBuffers.Get().(*[readBytes]byte)
		s.buffer[0], s.filled = s.one[0], 1
	}
	n, err := s.Read(s.buffer[s.filled:])
	s.filled += n
	if n > 0 {
		return nil
	}
	return err
}

// tryRead reads what the kernel has; false: nothing yet.
func (s *socket) tryRead(fd uintptr) bool {
	if s.buffer == nil {
		s.buffer = readBuffers.Get().(*[readBytes]byte)
	}
	for {
		n, err := syscall.Read(int(fd), s.buffer[s.filled:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			s.release()
			return false
		case err == nil && n <= 0:
			err = io.EOF
		}
		s.filled, s.err = s.filled+max(n, 0), err
		return true
	}
}

// consume forgets the first n bytes that were read.
func (s *socket) consume(n int) {
	s.filled = copy(s.buffer[:], s.buffer[n:s.filled])
	s.release()
}

// release gives an empty buffer back.
func (s *socket) release() {
	if s.filled == 0 && s.buffer != nil {
		readBuffers.Put(s.buffer)
		s.buffer = nil
	}
}

// bodies are the two halves of an answer that leave in one writev.
type bodies struct {
	buffers net.Buffers
	halves  [2][]byte
}

var bodiesPool = sync.Pool{New: func() any { return new(bodies) }}

// send writes head and body, blocking. It returns how many bytes left.
func (s *socket) send(head, body []byte) (int, error) {
	if len(body) == 0 {
		return s.Write(head)
	}
	b := bodiesPool.Get().(*bodies)
	defer bodiesPool.Put(b)
	b.halves = [2][]byte{head, body}
	b.buffers = b.halves[:]
	n, err := b.buffers.WriteTo(s.Conn)
	b.halves = [2][]byte{}
	return int(n), err
}

// socketWriter writes without ever blocking; it is used for many sockets in
// turn.
type socketWriter struct {
	data []byte
	n    int
	err  error
	try  func(fd uintptr) bool
}

// write writes what the kernel takes now.
func (w *socketWriter) write(raw syscall.RawConn, data []byte) (int, error) {
	if w.try == nil {
		w.try = w.tryWrite
	}
	w.data, w.n, w.err = data, 0, nil
	if err := raw.Write(w.try); err != nil {
		return 0, err
	}
	return w.n, w.err
}

func (w *socketWriter) tryWrite(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.data)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			w.n, w.err = max(n, 0), err
		}
		return true
	}
}
