package relay

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// unheard are the connections of which net/http has not yet given a request to
// the handler. A server that shuts down drops the first request of such a
// connection without a word: net/http looks whether it does so after it has
// read one. So whoever shuts a server down waits for these before.
type unheard struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{} // bounded by who admits connections
	none  chan struct{}         // closed when there is none; nil while nobody waits
}

type unheardKey struct{}

// watch lets the server tell of its connections. It is for one that does not
// serve yet.
func (u *unheard) watch(s *http.Server) {
	u.conns = map[net.Conn]struct{}{}
	state, conn, handler := s.ConnState, s.ConnContext, s.Handler
	// Before Serve goes on to the next connection, so that none is missed once it has returned.
	s.ConnState = func(c net.Conn, now http.ConnState) {
		switch now {
		case http.StateNew:
			u.enter(c)
		case http.StateClosed, http.StateHijacked:
			u.leave(c)
		}
		if state != nil {
			state(c, now)
		}
	}
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if conn != nil {
			ctx = conn(ctx, c)
		}
		return context.WithValue(ctx, unheardKey{}, c)
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(unheardKey{}).(net.Conn); ok {
			u.leave(c)
		}
		handler.ServeHTTP(w, r)
	})
}

func (u *unheard) enter(c net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns[c] = struct{}{}
}

func (u *unheard) leave(c net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, c)
	u.tell()
}

// tell needs u.mu.
func (u *unheard) tell() {
	if len(u.conns) == 0 && u.none != nil {
		close(u.none)
		u.none = nil
	}
}

// await waits until there is none, or until ctx ends. It is called once.
func (u *unheard) await(ctx context.Context) {
	none := make(chan struct{})
	u.mu.Lock()
	u.none = none
	u.tell()
	u.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}
