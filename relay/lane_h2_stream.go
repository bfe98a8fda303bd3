package relay

import (
	"context"
	"errors"
	"math"

	"golang.org/x/net/http2"
)

// h2Stream is a request that is not answered yet. One that is answered at once
// and whole has none.
type h2Stream struct {
	waiter // when it is held
	conn   *h2Conn
	id     uint32
	cancel context.CancelFunc // of its handler; nil when it has none

	// All below: under conn.mu.
	taken   int           // bytes of the request's body
	open    bool          // the viewer has not ended the request
	gone    bool          // reset, or the connection ended
	window  int64         // of the stream, as the viewer has it
	body    []byte        // what is still to be sent
	more    bool          // a handler gives more
	queued  bool          // in conn.queue
	drained chan struct{} // a token when a handler's body has been sent
}

// hold lets a request wait.
func (c *h2Conn) hold(id uint32, key holdKey, w wish) {
	s := &h2Stream{conn: c, id: id}
	s.waiter.wish, s.waiter.wake = w, s
	c.mu.Lock()
	s.window = c.initial
	c.streams[id] = s
	c.mu.Unlock()
	c.lane.holds.join(c.lane.server, key, &s.waiter)
}

// wake implements waker.
func (s *h2Stream) wake(a *answering, o outcome) {
	c := s.conn
	if errors.Is(o.err, context.Canceled) {
		c.reset(s.id, http2.ErrCodeCancel)
	} else {
		c.respond(s, a.answer(o, &s.wish))
	}
	c.mu.Lock()
	c.kick()
	c.mu.Unlock()
}

// answer answers a request that has no stream.
func (c *h2Conn) answer(id uint32, p *prepared, head bool) {
	c.mu.Lock()
	whole := c.appendWhole(id, p, head, c.initial)
	if c.full() {
		c.flush()
	}
	c.mu.Unlock()
	if whole {
		c.lane.countH2(p, head)
		return
	}
	c.respond(&h2Stream{conn: c, id: id, waiter: waiter{wish: wish{head: head}}}, p)
}

// respond answers a stream's request.
func (c *h2Conn) respond(s *h2Stream, p *prepared) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gone || c.ended != nil {
		return
	}
	c.lane.countH2(p, s.head)
	if c.streams[s.id] == nil {
		s.window = c.initial
		c.streams[s.id] = s
	}
	if c.appendWhole(s.id, p, s.head, s.window) {
		c.forget(s)
		return
	}
	c.appendAnswer(s.id, p, false)
	c.supply(s, p.body, false)
}

// countH2 counts an answer.
func (l *lane) countH2(p *prepared, head bool) {
	if head {
		l.server.Load.Add(0, 0)
		return
	}
	l.count(p, 0, nil)
}

// supply gives a stream a body, or more of it. It needs c.mu.
func (c *h2Conn) supply(s *h2Stream, body []byte, more bool) {
	s.body, s.more = body, more
	c.owe(len(body))
	c.owed += len(body)
	c.enqueue(s)
}

// enqueue lets a stream have its turn, if it may send. It needs c.mu.
func (c *h2Conn) enqueue(s *h2Stream) {
	if !s.queued && (s.window > 0 || len(s.body) == 0) {
		s.queued = true
		c.queue = append(c.queue, s)
	}
}

// forget ends a stream that is answered. What the viewer still sends with the
// request is not wanted. It needs c.mu.
func (c *h2Conn) forget(s *h2Stream) {
	if s.open {
		c.appendReset(s.id, http2.ErrCodeNo)
	}
	c.drop(s)
}

// drop needs c.mu.
func (c *h2Conn) drop(s *h2Stream) {
	s.gone = true
	c.owed -= len(s.body)
	s.body = nil
	delete(c.streams, s.id)
}

// reset ends a stream, or refuses one.
func (c *h2Conn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	s := c.streams[id]
	if s != nil {
		c.drop(s)
	}
	c.appendReset(id, code)
	c.mu.Unlock()
	if s != nil {
		s.abandon()
	}
}

// leave ends a stream that the viewer has reset.
func (c *h2Conn) leave(id uint32) error {
	c.mu.Lock()
	s, never := c.streams[id], c.never(id)
	if s != nil {
		c.drop(s)
	}
	c.mu.Unlock()
	if never {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if s != nil {
		s.abandon()
	}
	return c.budget.spend(h2CostReset)
}

// abandon ends the wait or the handler of a stream that is gone.
func (s *h2Stream) abandon() {
	if s.cancel != nil {
		s.cancel()
		return
	}
	s.conn.lane.holds.leave(&s.waiter)
}

// widen adds to a window.
func (c *h2Conn) widen(id uint32, by int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.budget.earn(c.sent)
	c.sent = 0
	if err := c.budget.spend(h2CostFrame); err != nil {
		return err
	}
	if id == 0 {
		if c.window += by; c.window > math.MaxInt32 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		return nil
	}
	s := c.streams[id]
	switch {
	case s == nil && c.never(id):
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil:
		return nil
	}
	if s.window += by; s.window > math.MaxInt32 {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	if len(s.body) > 0 {
		c.enqueue(s)
	}
	return nil
}

// shift moves the windows of all streams to another initial one, which may make
// them negative. It needs c.mu.
func (c *h2Conn) shift(initial int64) error {
	by := initial - c.initial
	c.initial = initial
	if by == 0 {
		return nil
	}
	for _, s := range c.streams {
		if s.window += by; s.window > math.MaxInt32 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if len(s.body) > 0 {
			c.enqueue(s)
		}
	}
	return nil
}
