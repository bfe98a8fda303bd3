package relay

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http2"
)

// headers takes a request and answers it, now or when it can be. What is not
// for a lane goes to the handler behind, on a goroutine of its own.
func (c *h2Conn) headers(f *http2.MetaHeadersFrame) error {
	st, err := c.open(f)
	if st == nil {
		return err
	}
	if f.Truncated {
		return c.respond(st, c.lane.server.tooLarge(), false)
	}
	r, method, ok := plainFields(f)
	if !ok || !st.whole {
		return c.handle(st, f)
	}
	r.head = method == http.MethodHead
	s := c.lane.server
	t, ok := s.locate(r.path)
	if !ok {
		return c.handle(st, f)
	}
	w := wish{head: r.head, gzip: namesGzip(r.encodings), condition: r.condition, ranges: r.ranges}
	d, o := t.ask(r.query, &w)
	switch {
	case errors.Is(o.err, context.Canceled):
		c.hold(st, holdKey{t.window, t.name, d.msn, d.part}, w)
		return nil
	case o.err != nil && t.media():
		return c.handle(st, f)
	}
	return c.respond(st, s.cut(o, &w), r.head)
}

// plainFields reads a request's fields. False: it is not for a lane.
func plainFields(f *http2.MetaHeadersFrame) (r laneRequest, method string, ok bool) {
	method = f.PseudoValue("method")
	if method != http.MethodGet && method != http.MethodHead {
		return r, method, false
	}
	if r.path, r.query, ok = cutTarget(f.PseudoValue("path")); !ok {
		return r, method, false
	}
	var odd fields
	for _, field := range f.RegularFields() {
		switch field.Name {
		case "host", "connection":
			odd |= isForeign
		default:
			odd |= r.take(field.Name, field.Value, 0)
		}
	}
	return r, method, odd == 0
}

// hold waits for what a stream asks for without holding the reader up.
func (c *h2Conn) hold(st *h2Stream, key holdKey, w wish) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.waiter.wish, st.waiter.wake = w, st
	c.lane.holds.join(c.lane.server, key, &st.waiter)
	c.paced()
}

// wake implements waker: sending may block, so it has a goroutine of its own.
func (st *h2Stream) wake(a *answering, o outcome) {
	c := st.conn
	if errors.Is(o.err, context.Canceled) {
		c.lane.wait.Go(func() {
			_ = c.locked(func() error { return c.reset(st.id, http2.ErrCodeCancel) })
		})
		return
	}
	p := a.answer(o, &st.waiter.wish)
	c.lane.wait.Go(func() {
		if c.respond(st, p, st.waiter.head) != nil {
			c.cutOff() // its reader then ends it
		}
	})
}

// handle runs the handler behind for one request.
func (c *h2Conn) handle(st *h2Stream, f *http2.MetaHeadersFrame) error {
	ctx, end := context.WithCancelCause(c.lane.holds.ctx)
	r, err := newRequest(ctx, c, f)
	if err != nil {
		end(nil)
		return c.locked(func() error { return c.reset(st.id, http2.ErrCodeProtocol) })
	}
	w := &h2Response{stream: st, request: r, end: end, header: http.Header{}, ready: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handlers >= maxHandlers {
		end(nil)
		return errors.Join(c.reset(st.id, http2.ErrCodeRefusedStream), c.pump.flush())
	}
	c.handlers++
	st.handler = w
	c.paced()
	c.lane.wait.Go(w.serve)
	return nil
}

// newRequest makes a request for the handler behind. It has no body: none here
// has a use for one.
func newRequest(ctx context.Context, c *h2Conn, f *http2.MetaHeadersFrame) (*http.Request, error) {
	target := f.PseudoValue("path")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	r := (&http.Request{
		Method:     f.PseudoValue("method"),
		URL:        u,
		Proto:      "HTTP/2.0",
		ProtoMajor: 2,
		Header:     http.Header{},
		Body:       http.NoBody,
		Host:       f.PseudoValue("authority"),
		RequestURI: target,
		RemoteAddr: c.RemoteAddr().String(),
	}).WithContext(ctx)
	for _, field := range f.RegularFields() {
		switch name := field.Name; {
		case name == "connection", name == "transfer-encoding", name == "upgrade", name == "keep-alive", name == "proxy-connection":
			return nil, http2.ConnectionError(http2.ErrCodeProtocol)
		case name == "host":
			if r.Host == "" {
				r.Host = field.Value
			}
		default:
			r.Header.Add(name, strings.Clone(field.Value))
		}
	}
	return r, nil
}
