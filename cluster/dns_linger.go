package cluster

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lingerTime is how long a reader waits for the next question before it lets
// the runtime wait. It bounds as well what the wait may keep from the other
// goroutines of a process with one core.
const lingerTime = 200 * time.Microsecond

// linger waits for a packet for a moment, in the kernel and without a word to
// the runtime.
//
// The runtime's own wait is made for long ones. When it has nothing else to do
// it gives up its processor, polls, and lets its monitor fall asleep; a packet
// then wakes all of that again, and 20,000 a second do so 20,000 times: two
// fifths of what a question cost. Signals, as of a garbage collection, end this
// wait; goroutines that become ready meanwhile run after it.
type linger struct {
	raw  syscall.RawConn
	wait func(fd uintptr) bool // made once: it must not be allocated for each packet
}

func newLinger(socket *net.UDPConn) (*linger, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimespec(int64(lingerTime))
	poll := make([]unix.PollFd, 1)
	return &linger{raw, func(fd uintptr) bool {
		poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		left := timeout
		// What it says does not matter: a read follows in any case.
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&poll[0])), 1, uintptr(unsafe.Pointer(&left)), 0, 0, 0)
		return true
	}}, nil
}

// forPacket returns when there is one, or after lingerTime; an error says that
// the socket is closed.
func (l *linger) forPacket() error { return l.raw.Read(l.wait) }
