package relay

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Guard returns a listener that hands out only connections that the gate
// admitted. The others it turns away: with a 503, or without a word on a secure
// listener, where a handshake would cost more than serving does. When the
// process has no file descriptor left it turns away too; its Accept fails only
// for good.
//
// Close waits for those who are being turned away; that takes no time.
func (g *Gate) Guard(listener net.Listener, secure bool) net.Listener {
	l := &guardedListener{Listener: listener, gate: g, secure: secure, refusing: make(map[net.Conn]struct{})}
	l.spare, _ = os.Open(os.DevNull) // without one, acceptSpare tries again
	return l
}

type guardedListener struct {
	net.Listener
	gate   *Gate
	secure bool
	spare  *os.File      // touched by Accept alone; nil when there is none
	haste  time.Duration // for the next hasty refusal; touched by Accept alone

	running  sync.WaitGroup
	mu       sync.Mutex
	closed   bool
	refusing map[net.Conn]struct{}
}

// Accept implements net.Listener. It is called by one goroutine.
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			if s := l.gate.admit(conn); s != nil {
				return s.admitted(), nil
			}
			l.gate.turnedAway("no seat is free, or too many come from one address")
			l.refuse(conn)
		case exhausted(err):
			conn, err := l.acceptSpare()
			if err != nil {
				return nil, err
			}
			if conn != nil {
				if s := l.gate.admit(conn); s != nil {
					return s.admitted(), nil
				}
				l.refuse(conn)
			}
		default:
			l.closeSpare()
			return nil, err
		}
	}
}

// exhausted tells whether the process or the system has no descriptor left.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// exhaustedPause keeps Accept from spinning when even the spare is gone: the
// connections that wait are then answered when a descriptor is free again.
const exhaustedPause = 20 * time.Millisecond

// acceptSpare takes one connection with the descriptor that was kept for this,
// so that who comes is told instead of left to hang, and the queue moves on. It
// returns the connection when there are descriptors again by then.
func (l *guardedListener) acceptSpare() (net.Conn, error) {
	l.gate.purge()
	if l.spare == nil {
		time.Sleep(exhaustedPause)
		l.spare, _ = os.Open(os.DevNull)
		return nil, nil
	}
	l.closeSpare()
	conn, err := l.Listener.Accept()
	if err != nil && !exhausted(err) {
		return nil, fmt.Errorf("accept with the last descriptor: %w", err)
	}
	if err == nil {
		if l.spare, err = os.Open(os.DevNull); err == nil {
			return conn, nil
		}
		l.gate.turnedAway("no file descriptor is left")
		// At once, without a goroutine: the descriptor is needed again.
		l.sayHastily(conn)
	}
	l.spare, _ = os.Open(os.DevNull)
	return nil, nil
}

func (l *guardedListener) closeSpare() {
	if l.spare != nil {
		_ = l.spare.Close()
		l.spare = nil
	}
}

// sayHastily answers on Accept's goroutine, and closes.
func (l *guardedListener) sayHastily(conn net.Conn) {
	l.haste = cmp.Or(l.haste, hastyMost)
	if l.gate.sayFull(conn, l.secure, l.haste) {
		l.haste = min(2*l.haste, hastyMost)
	} else {
		l.haste = hastyLeast
	}
	_ = conn.Close()
}

// refuse turns a connection away without keeping the next one waiting.
func (l *guardedListener) refuse(conn net.Conn) {
	select {
	case l.gate.refusals <- struct{}{}:
	default: // too many at a time: what is said may be lost in a reset
		l.sayHastily(conn)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		<-l.gate.refusals
		_ = conn.Close()
		return
	}
	l.refusing[conn] = struct{}{}
	l.running.Go(func() {
		l.gate.sayFull(conn, l.secure, refusalBound)
		_ = conn.Close()
		<-l.gate.refusals
		l.mu.Lock()
		delete(l.refusing, conn)
		l.mu.Unlock()
	})
}

// Close implements net.Listener.
func (l *guardedListener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	for conn := range l.refusing {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
	return err
}
