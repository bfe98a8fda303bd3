package relay

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel keeps of an answer beyond what is on its way; more is waited
// for.
const (
	// unsentBytes bounds what one who reads slowly holds. What the kernel keeps
	// counts against its memory for all sockets (tcp_mem) even where it is pages
	// of a memory file: with 2 MB for each of 500 slow readers nobody was served.
	unsentBytes = 256 << 10
	// unsentFast is for readers that have shown to be fast, a balancer's
	// connections above all: a segment that leaves in one call costs a fifth less
	// than one that is waited for in pieces.
	unsentFast = 2 << 20
	// fastRate is what a fast reader takes, bytes per second: 100 Mbit/s.
	fastRate = 12_500_000
	// fastMost bounds how many connections have unsentFast, for a fast one may
	// turn slow; more are treated as slow ones.
	fastMost = 64
)

// pace notes how long a body took to leave over a bare socket.
func (c *laneConn) pace(bytes int, took time.Duration) {
	fast := float64(bytes) >= fastRate*took.Seconds()
	switch {
	case fast == c.fast:
	case !fast:
		c.slow()
	case c.lane.fast.Add(1) > fastMost:
		c.lane.fast.Add(-1)
	default:
		c.fast = true
		boundUnsent(c.Conn, unsentFast)
	}
}

// trust takes one who asks for a first large body for fast, until pace knows
// better. What a connection's first body is waited for in pieces stays with it:
// BBR then finds a low rate, and keeps to it with timers.
func (c *laneConn) trust(bytes int) {
	if bytes > unsentBytes && !c.trusted {
		c.trusted = true
		c.pace(bytes, 0)
	}
}

// slow gives back what a fast connection has.
func (c *laneConn) slow() {
	if c.fast {
		c.fast = false
		c.lane.fast.Add(-1)
		boundUnsent(c.Conn, unsentBytes)
	}
}

// boundUnsent bounds what the kernel keeps for a connection.
func boundUnsent(conn net.Conn, bytes int) {
	below, ok := conn.(syscall.Conn)
	for !ok {
		over, wraps := conn.(interface{ NetConn() net.Conn })
		if !wraps {
			return
		}
		conn = over.NetConn()
		below, ok = conn.(syscall.Conn)
	}
	if raw, err := below.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			// Without it a slow reader costs more; it is served all the same.
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
		})
	}
}
