package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// Of what no lane answers.
const (
	h2Handlers     = 100 // that run on a connection, also for streams that are gone; one more is refused
	h2NodeHandlers = h2Streams
	h2HandlerBytes = 32 << 10 // of a body before it leaves
)

var errH2Gone = errors.New("the viewer is gone")

// handle lets the server answer a request as it does through net/http. A body
// of the request is dropped: nothing here takes one.
//
// Each of another node's requests takes a handler, and most are held: a list
// and a part for each rendition. They are counted by themselves, so that
// viewers who share a proxy's connection with a node can't keep it waiting.
// Without a proxy between, our own nodes ask by HTTP/1.1.
func (c *h2Conn) handle(id uint32, ended bool) error {
	ctx, cancel := context.WithCancel(c.lane.holds.ctx)
	r := c.head.request(ctx)
	if r == nil {
		cancel()
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	r.RemoteAddr = c.conn.RemoteAddr().String()
	s := &h2Stream{conn: c, id: id, open: !ended, cancel: cancel, drained: make(chan struct{}, 1)}
	running, most := &c.handlers, h2Handlers
	if c.lane.server.fromNode(r) {
		running, most = &c.nodeHandlers, h2NodeHandlers
	}
	c.mu.Lock()
	if *running >= most {
		c.appendReset(id, http2.ErrCodeRefusedStream)
		c.mu.Unlock()
		cancel()
		return c.budget.spend(h2CostRefused)
	}
	*running++
	s.window = c.initial
	c.streams[id] = s
	c.mu.Unlock()
	c.lane.wait.Go(func() {
		c.serveStream(s, r)
		cancel()
		c.mu.Lock()
		*running--
		c.mu.Unlock()
	})
	return nil
}

// request makes a net/http request of a header block; nil when it can't be one.
func (h *h2Head) request(ctx context.Context) *http.Request {
	header := make(http.Header, len(h.fields))
	host := h.authority
	for _, f := range h.fields {
		switch f.Name {
		case "host":
			if host == "" {
				host = f.Value
			}
		case "cookie":
			if before := header["Cookie"]; len(before) > 0 {
				before[0] += "; " + f.Value
				continue
			}
			header["Cookie"] = []string{f.Value}
		default:
			name := http.CanonicalHeaderKey(f.Name)
			header[name] = append(header[name], f.Value)
		}
	}
	target, err := url.ParseRequestURI(h.path)
	if err != nil {
		return nil
	}
	r := &http.Request{
		Method: h.method, URL: target, RequestURI: h.path, Host: host, Header: header,
		Proto: "HTTP/2.0", ProtoMajor: 2, Body: http.NoBody,
	}
	return r.WithContext(ctx)
}

// serveStream runs the handler.
func (c *h2Conn) serveStream(s *h2Stream, r *http.Request) {
	w := &h2Writer{stream: s, ctx: r.Context(), header: http.Header{}, head: r.Method == http.MethodHead}
	defer func() {
		if cause := recover(); cause != nil {
			if cause != http.ErrAbortHandler {
				c.lane.server.Logger.Error("panic serving a request", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			}
			c.reset(s.id, http2.ErrCodeInternal)
			c.mu.Lock()
			c.kick()
			c.mu.Unlock()
		}
	}()
	c.lane.server.ServeHTTP(w, r)
	w.finish()
}

// h2Writer is a handler's way to answer. Small answers leave whole; of larger
// ones some bytes are kept, and the handler waits until the viewer took them.
type h2Writer struct {
	stream *h2Stream
	ctx    context.Context
	header http.Header
	head   bool // HEAD: the body is dropped
	status int  // 0: not said yet
	begun  bool // the header block was sent
	body   []byte
	size   int // of the body of a HEAD
	err    error
}

var (
	_ http.ResponseWriter = (*h2Writer)(nil)
	_ http.Flusher        = (*h2Writer)(nil)
)

// Header implements http.ResponseWriter.
func (w *h2Writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *h2Writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
		w.header = w.header.Clone() // what is set later is not said
	}
}

// Write implements http.ResponseWriter.
func (w *h2Writer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.err != nil:
		return 0, w.err
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.head:
		w.size += len(b)
		return len(b), nil
	}
	for rest := b; len(rest) > 0; {
		n := min(len(rest), h2HandlerBytes-len(w.body))
		w.body = append(w.body, rest[:n]...)
		if rest = rest[n:]; len(w.body) == h2HandlerBytes {
			if err := w.push(true); err != nil {
				return len(b) - len(rest), err
			}
		}
	}
	return len(b), nil
}

// Flush implements http.Flusher.
func (w *h2Writer) Flush() { _ = w.FlushError() }

// FlushError is for http.ResponseController.
func (w *h2Writer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.push(true)
}

// SetWriteDeadline is for http.ResponseController. A connection of a lane has a
// least rate of its own, the same one.
func (w *h2Writer) SetWriteDeadline(time.Time) error { return nil }

func (w *h2Writer) finish() {
	w.WriteHeader(http.StatusOK)
	if _, said := w.header["Content-Length"]; !w.begun && !said && (w.size > 0 || !w.head) &&
		w.status != http.StatusNoContent && w.status != http.StatusNotModified {
		w.header["Content-Length"] = []string{strconv.Itoa(len(w.body) + w.size)}
	}
	_ = w.push(false) // who is gone needs nothing
}

// push sends the header block, if it was not sent, and what there is of the
// body. When more is to come it waits until the viewer has taken it.
func (w *h2Writer) push(more bool) error {
	if w.err != nil {
		return w.err
	}
	s, c := w.stream, w.stream.conn
	ends := !more && len(w.body) == 0
	c.mu.Lock()
	if s.gone || c.ended != nil {
		c.mu.Unlock()
		w.err = errH2Gone
		return w.err
	}
	if !w.begun {
		w.begun = true
		if len(w.header["Connection"]) > 0 {
			c.retireLocked() // "close", as net/http takes it
		}
		fields, date := w.block()
		c.appendBlock(s.id, fields, date, ends)
		if ends {
			c.forget(s)
		}
	}
	waits := more && len(w.body) > 0
	if !s.gone && (waits || !more) {
		c.supply(s, w.body, more)
	}
	c.kick()
	c.mu.Unlock()
	if waits {
		select {
		case <-s.drained:
			w.body = w.body[:0]
		case <-w.ctx.Done():
			w.err = errH2Gone
			w.body = nil // the connection may still look at it
		}
	}
	return w.err
}

// block encodes the header, with a Date if the handler said none.
func (w *h2Writer) block() (fields, date []byte) {
	if _, said := w.header["Content-Type"]; !said && len(w.body) > 0 {
		w.header["Content-Type"] = []string{http.DetectContentType(w.body)}
	}
	fields = appendStatus(nil, w.status)
	for name, values := range w.header {
		switch strings.ToLower(name) {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			continue
		}
		for _, value := range values {
			fields = appendField(fields, name, value)
		}
	}
	if w.header.Get("Date") == "" {
		date = w.stream.conn.lane.clock.date.Load().field
	}
	return fields, date
}
