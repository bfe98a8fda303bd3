package relay

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
	"unsafe"
)

// laneConn is an HTTP/1.1 connection in a lane. It has one goroutine, which
// reads; a request that is held is answered by whoever wakes it, so that the
// reader sees at once when the viewer leaves.
type laneConn struct {
	lane *lane
	socket
	tracker  ConnTracker
	deadline atomic.Int64 // the tick at which the connection is closed; 0: never
	idle     atomic.Bool  // waits for a request: closed at once when the node ends

	waiter   waiter
	answered chan struct{} // a token after each held request; made with the first
}

// Time-outs of a lane.
const (
	headPatience = 5 * time.Second
	restPatience = 75 * time.Second // above the 60 s after which browsers give up idle connections themselves
	endPatience  = time.Second      // for what is said before a connection is closed
)

// Why a connection leaves the lane.
var (
	errForeign   = errors.New("not for a lane")
	errAmbiguous = errors.New("an ambiguous request")
)

// serve reads requests and answers them until the connection ends or net/http
// takes it over.
func (c *laneConn) serve() {
	c.rest(headPatience)
	for {
		switch err := c.request(); {
		case errors.Is(err, errForeign) && c.beginsH2():
			c.lane.serveH2(c)
			return
		case errors.Is(err, errForeign), errors.Is(err, io.ErrShortBuffer):
			c.lane.handOver(c)
			return
		case errors.Is(err, errAmbiguous):
			c.refuse()
			c.lane.close(c)
			return
		case err != nil:
			c.lane.close(c)
			return
		}
		if c.filled == 0 {
			c.rest(restPatience)
		}
	}
}

// rest marks the connection as one that waits for a request.
func (c *laneConn) rest(patience time.Duration) {
	c.deadline.Store(c.lane.clock.after(patience))
	c.idle.Store(true)
	c.tracker.SetIdle(true)
}

// begin marks the connection as one that has begun a request.
func (c *laneConn) begin() {
	c.deadline.Store(c.lane.clock.after(headPatience))
	c.idle.Store(false)
	c.tracker.SetIdle(false)
}

// request reads one request and answers it.
func (c *laneConn) request() error {
	for {
		if c.filled > 0 {
			// A view: nothing keeps it after the request was consumed.
			r, size, v := parseRequest(unsafe.String(&c.buffer[0], c.filled))
			switch v {
			case plain:
				return c.answer(&r, size)
			case foreign:
				return errForeign
			case ambiguous:
				return errAmbiguous
			}
		}
		first := c.filled == 0
		if err := c.fill(); err != nil {
			return err
		}
		if first {
			c.begin()
		}
	}
}

// answer answers a request whose head has that size, now or when it can be.
func (c *laneConn) answer(r *laneRequest, size int) error {
	s := c.lane.server
	t, ok := s.locate(r.path)
	if !ok {
		return errForeign
	}
	w, key, o := t.decide(r)
	switch {
	case toCome(o.err):
		w.keep()
		c.consume(size)
		return c.hold(key, w)
	case o.err != nil && t.media():
		return errForeign // it may be elsewhere than in the window
	}
	p := s.cut(o, &w)
	c.consume(size)
	return c.send(p, r.head)
}

// send writes an answer, blocking until the viewer has taken it.
func (c *laneConn) send(p *prepared, head bool) error {
	c.deadline.Store(c.lane.clock.after(patience(len(p.body))))
	now := c.lane.clock.date.Load()
	if head {
		c.lane.server.Load.Add(0, 0)
		_, err := c.Write(p.appendHead(nil, now))
		return err
	}
	front, body := p.front(now)
	return c.push(p, front, body)
}

// push writes the end of an answer, blocking.
func (c *laneConn) push(p *prepared, front, body []byte) error {
	var n int
	var err error
	if file := c.file(p, body); file != nil {
		n, err = c.sendFile(front, body, file)
	} else {
		n, err = c.socket.send(front, body)
	}
	c.lane.count(p, len(front)+len(body)-n, err)
	return err
}

// file returns the file that a body can be sent from, if any.
func (c *laneConn) file(p *prepared, body []byte) *memoryFile {
	if c.raw == nil || len(body) == 0 {
		return nil
	}
	return c.lane.files.of(p)
}

// hold waits until somebody else has answered the request or the viewer is
// gone.
func (c *laneConn) hold(key holdKey, w wish) error {
	if c.answered == nil {
		c.answered = make(chan struct{}, 1)
	}
	c.waiter.wish, c.waiter.wake = w, c
	c.deadline.Store(0) // the window bounds how long it holds
	c.lane.holds.join(c.lane.server, key, &c.waiter)
	// One who has sent the next request already is not gone; its bytes wait.
	if c.filled == 0 {
		if err := c.fill(); err != nil {
			c.lane.holds.leave(&c.waiter)
			return err
		}
	}
	<-c.answered
	c.begin()
	return nil
}

// wake implements waker. Where there is a descriptor the answer is written
// here and now, as far as the kernel takes it; whatever may block gets a
// goroutine of its own.
func (c *laneConn) wake(a *answering, o outcome) {
	if errors.Is(o.err, context.Canceled) {
		c.abandon()
		return
	}
	p := a.answer(o, &c.waiter.wish)
	if c.raw == nil || c.waiter.head {
		c.lane.wait.Go(func() { c.finish(p, nil, nil) })
		return
	}
	front, body := p.front(c.lane.clock.date.Load())
	c.rest(restPatience)
	n, err := a.write.write(c.raw, front, body, c.file(p, body))
	switch left := len(front) + len(body) - n; {
	case err != nil:
		c.abandon()
	case left > 0 && n < len(front):
		c.lane.wait.Go(func() { c.finish(p, front[n:], body) })
	case left > 0:
		c.lane.wait.Go(func() { c.finish(p, body[n-len(front):], nil) })
	default:
		c.lane.count(p, 0, nil)
		c.answered <- struct{}{}
	}
}

// finish writes what is left of an answer to a held request, blocking.
func (c *laneConn) finish(p *prepared, front, body []byte) {
	defer func() { c.answered <- struct{}{} }()
	c.idle.Store(false)
	c.tracker.SetIdle(false)
	var err error
	if front == nil {
		err = c.send(p, c.waiter.head)
	} else {
		c.deadline.Store(c.lane.clock.after(patience(len(p.body))))
		err = c.push(p, front, body)
	}
	if err != nil {
		_ = c.Close() // its reader then ends it
		return
	}
	c.rest(restPatience)
}

// abandon closes a connection whose request won't be answered.
func (c *laneConn) abandon() {
	_ = c.Close() // its reader then ends it
	c.answered <- struct{}{}
}

// refuse answers a request that may mean two things, and waits a moment for
// the viewer to read that before the connection is closed.
func (c *laneConn) refuse() {
	c.deadline.Store(c.lane.clock.after(endPatience))
	p := c.lane.server.ambiguous()
	front, _ := p.front(c.lane.clock.date.Load())
	if _, err := c.Write(front); err != nil {
		return
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		for err := error(nil); err == nil; err = c.fill() {
			c.filled = 0
			c.release()
		}
	}
}
