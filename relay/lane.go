package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sync/errgroup"
)

// closeBound is how long requests that run at the end may still take.
const closeBound = time.Second

// Serve answers the connections of a node's public listener until ctx ends,
// then closes it. The listener may hand out any net.Conn: sockets, TLS (one of
// tls.NewListener, with h2 and http/1.1 as its protocols) or a test's own.
//
// When the handler of fallback is what NewServer returned, plain requests for
// lists and media are answered by loops of this package, and fallback answers
// the rest; one that is wrapped in another handler is served by fallback alone.
// Both give the same answers; only the cost differs.
func Serve(ctx context.Context, listener net.Listener, fallback *http.Server) error {
	// What is held at the end is answered, with ErrLeaving.
	requests, release := context.WithCancelCause(context.WithoutCancel(ctx))
	defer release(nil)
	fallback.BaseContext = func(net.Listener) context.Context { return requests }

	group, serving := errgroup.WithContext(ctx)
	behind, retire := listener, func() {}
	laneEnded, endLane := context.WithCancel(context.WithoutCancel(ctx))
	defer endLane()
	if s, ok := fallback.Handler.(*server); ok {
		l := newLane(s, requests, listener.Addr())
		retire = l.retire
		group.Go(func() error { defer endLane(); return l.run(serving, listener) })
		behind = l.foreign
	} else {
		endLane()
	}
	var waiting unheard
	waiting.watch(fallback)
	accepted := make(chan struct{}) // closed when fallback has taken all that it will
	group.Go(func() error { defer close(accepted); return fallback.Serve(behind) })
	group.Go(func() error {
		<-serving.Done()
		retire()
		release(ErrLeaving)
		fallback.SetKeepAlivesEnabled(false)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		select { // until then the lane may hand over a last request
		case <-laneEnded.Done():
		case <-closing.Done():
		}
		// Who was accepted is answered: one after the other, since Shutdown would
		// drop what it finds on its way to the handler.
		_ = behind.Close()
		<-accepted
		waiting.await(closing)
		if fallback.Shutdown(closing) != nil {
			return fallback.Close()
		}
		return nil
	})
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// lane serves plain requests for lists and media. Everything else it hands
// over, with the bytes that it has read, to net/http, for good.
type lane struct {
	server  *server
	clock   laneClock
	holds   holds
	files   memoryFiles
	fast    atomic.Int64 // connections that are
	foreign *handedListener
	wait    sync.WaitGroup // all goroutines of connections and holds

	mu    sync.Mutex
	conns map[*laneConn]struct{} // bounded by who admits connections

	retired atomic.Int64 // the tick at which a connection was last told to end; 0: none
}

func newLane(s *server, requests context.Context, addr net.Addr) *lane {
	l := &lane{server: s, conns: map[*laneConn]struct{}{}, foreign: newHandedListener(addr)}
	l.holds = holds{ctx: requests, wait: &l.wait, byWhat: map[holdKey]*hold{}}
	l.clock.advance()
	return l
}

// run accepts connections until ctx ends, and returns when all have ended.
func (l *lane) run(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	ended := make(chan struct{})
	l.wait.Go(func() {
		for next := l.server.Departure.next(); ; {
			select {
			case <-ended:
				return
			case <-next:
				next = l.server.Departure.next() // before the look: no stage is missed
				if l.server.Departure.Stage() >= Retiring {
					l.retire()
				}
			case <-ticker.C:
				l.sweep()
			}
		}
	})
	err := l.accept(ctx, listener)
	close(ended)
	l.end()
	l.wait.Wait()
	return err
}

// acceptPause is how long a lane waits when the system has no descriptor for
// another connection.
const acceptPause = 20 * time.Millisecond

func (l *lane) accept(ctx context.Context, listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			c := l.enter(conn) // here, before the lane ends: who was accepted is answered
			l.wait.Go(func() { l.start(c, conn) })
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &passing) && passing.Temporary():
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		default:
			return err
		}
	}
}

// start takes a new connection in.
func (l *lane) start(c *laneConn, conn net.Conn) {
	boundUnsent(conn, unsentBytes)
	if secure, ok := conn.(*tls.Conn); ok {
		if secure.Handshake() != nil {
			l.close(c)
			return
		}
		if secure.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS {
			l.wait.Go(func() { l.serveH2(c) })
			return
		}
	}
	// A start, and a handshake above all, needs a deep stack; what follows little.
	l.wait.Go(c.serve)
}

// enter notes a new connection.
func (l *lane) enter(conn net.Conn) *laneConn {
	c := &laneConn{lane: l, tracker: TrackConn(conn)}
	c.open(conn)
	c.answered.Lock()
	c.deadline.Store(l.clock.after(headPatience))
	c.last.Store(l.server.Departure.Stage() == Parting)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return c
}

// leave forgets a connection.
func (l *lane) leave(c *laneConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// close ends a connection.
func (l *lane) close(c *laneConn) {
	l.leave(c)
	_ = c.Close()
	c.filled = 0
	c.release()
}

// sweep moves the clock on and closes the connections whose time is over.
func (l *lane) sweep() {
	l.clock.advance()
	now := l.clock.ticks.Load()
	l.closeSome(func(c *laneConn) bool {
		deadline := c.deadline.Load()
		return deadline != 0 && deadline <= now
	})
	l.goAway(now)
}

// closeSome closes connections; their readers then end them.
func (l *lane) closeSome(which func(*laneConn) bool) {
	l.mu.Lock()
	var some []*laneConn
	for c := range l.conns {
		if which(c) {
			some = append(some, c)
		}
	}
	l.mu.Unlock()
	for _, c := range some {
		c.cutOff()
	}
}

// end closes what waits for another request, and the rest when it has had its
// time: also those whose first request is on its way.
func (l *lane) end() {
	l.retire()
	youngest := l.clock.after(headPatience)
	l.closeSome(func(c *laneConn) bool { return c.h2 == nil && c.idle.Load() && c.deadline.Load() > youngest })
	over := time.AfterFunc(closeBound, func() {
		l.closeSome(func(*laneConn) bool { return true })
	})
	defer over.Stop()
	l.wait.Wait()
}

// count counts an answer of whose bytes that many did not leave.
func (l *lane) count(p *prepared, lost int, err error) {
	if err != nil {
		l.server.Load.Add(int64(max(0, len(p.body)-lost)), 0)
		return
	}
	l.server.Load.Add(int64(len(p.body)), p.media)
}
