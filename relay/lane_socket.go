package relay

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
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
	raw    syscall.RawConn // nil where there is no descriptor, and for TLS
	corked *corkedConn     // below TLS; nil where there is none

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
	s.corked = corkedBelow(conn)
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
		n, err := briefly(syscall.SYS_RECVFROM, int(fd), s.buffer[s.filled:])
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

// readNow reads what is there over TLS, during a turn; errNotYet: nothing.
func (s *socket) readNow() error {
	if s.buffer == nil {
		s.buffer = readBuffers.Get().(*[readBytes]byte)
	}
	n, err := s.Read(s.buffer[s.filled:])
	s.filled += n
	if n > 0 {
		return nil
	}
	s.release()
	return err
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
	if s.corked != nil {
		return s.corked.send(s.Conn, head, body, len(body) <= corkMost)
	}
	b := bodiesPool.Get().(*bodies)
	defer bodiesPool.Put(b)
	b.halves = [2][]byte{head, body}
	b.buffers = b.halves[:]
	n, err := b.buffers.WriteTo(s.Conn)
	b.halves = [2][]byte{}
	return int(n), err
}

// socketWriter writes to a descriptor: a head, and behind it a body from the
// heap or a file. It is used for many sockets in turn.
type socketWriter struct {
	head, body []byte
	file       *fileBody // the body, when it is in one
	patient    bool      // waits when the kernel takes no more
	offset     int       // in the file
	n          int
	err        error
	try        func(fd uintptr) bool
}

var socketWriters = sync.Pool{New: func() any { return new(socketWriter) }}

// write writes all, if it is patient, and else what the kernel takes now. It
// returns how many bytes left.
func (w *socketWriter) write(raw syscall.RawConn, head, body []byte, file *fileBody) (int, error) {
	if w.try == nil {
		w.try = w.tryWrite
	}
	w.head, w.body, w.file = head, body, file
	w.offset, w.n, w.err = 0, 0, nil
	err := raw.Write(w.try)
	if err == nil {
		err = w.err
	}
	w.head, w.body, w.file = nil, nil, nil
	runtime.KeepAlive(file)
	return w.n, err
}

// tryWrite goes on writing; false: wait until the kernel takes more.
func (w *socketWriter) tryWrite(fd uintptr) bool {
	for w.err == nil && len(w.head)+len(w.body) > 0 {
		n, err := w.some(int(fd))
		w.n += max(n, 0)
		switch {
		case err == syscall.EAGAIN:
			return !w.patient
		case err != nil && err != syscall.EINTR:
			w.err = err
		}
	}
	return true
}

// some makes one system call.
func (w *socketWriter) some(fd int) (n int, err error) {
	switch {
	case len(w.head) > 0 && len(w.body) > 0:
		// The kernel waits for what follows, and sends both in one packet.
		n, err = brieflyMore(fd, w.head)
		w.head = w.head[max(n, 0):]
	case len(w.head) > 0:
		n, err = briefly(syscall.SYS_SENDTO, fd, w.head)
		w.head = w.head[max(n, 0):]
	case w.file != nil:
		n, err = w.file.send(fd, w.offset, len(w.body))
		w.offset += max(n, 0)
		w.body = w.body[max(n, 0):]
	default:
		n, err = syscall.Write(fd, w.body)
		w.body = w.body[max(n, 0):]
	}
	return n, err
}

// sendFile writes a head and a body from a file, blocking.
func (s *socket) sendFile(head, body []byte, file *fileBody) (int, error) {
	w := socketWriters.Get().(*socketWriter)
	defer socketWriters.Put(w)
	w.patient = true
	return w.write(s.raw, head, body, file)
}
