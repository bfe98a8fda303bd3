package cluster

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// udpQueueBytes is how much may wait while this process has no CPU: some 5,000
	// questions, a quarter of a second of 20,000 a second. More are lost, and asked
	// again.
	udpQueueBytes = 4 << 20
	// sendBound is how long an answer may wait for a network that takes none.
	sendBound = 20 * time.Millisecond
	// readerSlice is the time slice that the reader asks of the kernel for, its
	// shortest. Since Linux 6.12 a thread with a short one goes before those with
	// longer ones when it wakes up, though in all it gets no more than its share.
	readerSlice = 100 * time.Microsecond
)

// udpSocket is a socket that a thread waits for in the kernel, and not the
// runtime: who waits for the runtime gets a question only when the other
// goroutines let go of the core, which may be milliseconds on a small machine.
type udpSocket struct {
	fd   int
	addr net.Addr

	closed atomic.Bool

	mu      sync.Mutex
	reading bool // the reader closes fd
}

// listenUDP opens a socket as the net package does, and takes it from the
// runtime.
func listenUDP(address string) (*udpSocket, error) {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	defer packets.Close() // the runtime's descriptor of the same socket
	raw, err := packets.(*net.UDPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &udpSocket{addr: packets.LocalAddr()}
	var taken error
	if err := raw.Control(func(fd uintptr) { s.fd, taken = takeSocket(int(fd)) }); err != nil {
		return nil, err
	}
	if taken != nil {
		return nil, fmt.Errorf("take the socket %s: %w", address, taken)
	}
	return s, nil
}

// takeSocket returns another descriptor of a socket, which then blocks.
func takeSocket(fd int) (int, error) {
	// Best effort: the kernel takes less where net.core.rmem_max says so.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, udpQueueBytes)
	bound := unix.NsecToTimeval(sendBound.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &bound); err != nil {
		return -1, err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(own, false); err != nil {
		unix.Close(own)
		return -1, err
	}
	return own, nil
}

// begin tells whether the socket may be read: it is not closed. The one reader
// calls end when it is done.
func (s *udpSocket) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = !s.closed.Load()
	return s.reading
}

func (s *udpSocket) end() {
	s.mu.Lock() // Close may be in a call with it
	defer s.mu.Unlock()
	unix.Close(s.fd)
}

// Close lets the reader return. The descriptor is closed when nobody is in a
// call with it: its number could be another file's by then.
func (s *udpSocket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Swap(true):
	case s.reading:
		_ = unix.Shutdown(s.fd, unix.SHUT_RD) // wakes the reader, and says that there was no connection
	default:
		unix.Close(s.fd)
	}
}

// hurry gives the calling goroutine a thread of its own, with the short slice,
// where the kernel knows such. The thread ends with the goroutine.
func hurry() {
	runtime.LockOSThread()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return // the operator has chosen another policy
	}
	attr.Runtime = uint64(readerSlice)
	_ = unix.SchedSetAttr(0, attr, 0) // best effort: without it answers come a little later
}
