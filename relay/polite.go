package relay

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// Precedence lets the fetches that can wait know whether live media are coming
// in. One is shared by all of a node; the zero value is ready, and a nil one
// knows nothing.
type Precedence struct {
	mu   sync.Mutex
	busy int
	idle chan struct{} // closed when busy is 0 again; nil while it is
}

func (g *Precedence) enter() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy++; g.busy == 1 {
		g.idle = make(chan struct{})
	}
}

func (g *Precedence) leave() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy--; g.busy == 0 {
		close(g.idle)
		g.idle = nil
	}
}

// What can wait is read politeBytes at a time, each after the live media that
// come in at that moment; but it waits no longer than politeWait, so that at
// least 640 kB/s come through.
const (
	politeBytes = 64 << 10
	politeWait  = 100 * time.Millisecond
)

// yield waits while live media come in.
func (g *Precedence) yield(ctx context.Context) {
	g.mu.Lock()
	idle := g.idle
	g.mu.Unlock()
	if idle == nil {
		return
	}
	timer := time.NewTimer(politeWait)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Polite returns a client for fetches that can wait, as media that somebody
// looks back at: it lets what a follower fetches go first.
func (g *Precedence) Polite(c *http.Client) *http.Client {
	polite := *c
	polite.Transport = &politeTransport{next: c.Transport, live: g}
	return &polite
}

type politeTransport struct {
	next http.RoundTripper
	live *Precedence
}

func (t *politeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.live.yield(r.Context())
	response, err := t.next.RoundTrip(r)
	if err == nil {
		response.Body = &politeBody{response.Body, r.Context(), t.live}
	}
	return response, err
}

func (t *politeTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type politeBody struct {
	io.ReadCloser
	ctx  context.Context // of the one request that it answers
	live *Precedence
}

func (b *politeBody) Read(p []byte) (int, error) {
	b.live.yield(b.ctx)
	return b.ReadCloser.Read(p[:min(len(p), politeBytes)])
}
