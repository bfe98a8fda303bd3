package relay

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
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

	last atomic.Bool // the next answer is the last
	h2   *h2Conn     // under lane.mu; nil when it speaks HTTP/1.1

	waiter waiter
	held   bool // the last request is answered by who wakes it; of the reader
	// answered is unlocked by who has answered a held request, and locked by the
	// reader, who has it from the beginning, before it goes on with the next.
	answered sync.Mutex

	// Of bare connections:
	heard bool // a request
	fd    int  // valid during a turn
	// Of the reader:
	fast    bool // has unsentFast
	trusted bool // had it before its first large body
}

// Time-outs of a lane.
const (
	headPatience = 5 * time.Second
	restPatience = 75 * time.Second // above the 60 s after which browsers give up idle connections themselves
	endPatience  = time.Second      // for what is said before a connection is closed
)

// lingerBytes is how much of what still comes is dropped once the last word of
// a connection is said, so that it is not lost in a reset: twice what a viewer
// who keeps HTTP/2's rules has on the way. A flood is not read to its end, which
// would cost more than all before it; it sees a reset.
const lingerBytes = 128 << 10

// Why a connection leaves the lane.
var (
	errForeign   = errors.New("not for a lane")
	errAmbiguous = errors.New("an ambiguous request")
	errLast      = errors.New("the last answer was given")
)

// serve reads requests and answers them until the connection ends or net/http
// takes it over.
func (c *laneConn) serve() {
	c.rest(headPatience)
	err := c.listen()
	c.slow()
	switch {
	case errors.Is(err, errForeign) && c.beginsH2():
		c.lane.serveH2(c)
	case errors.Is(err, errForeign), errors.Is(err, io.ErrShortBuffer):
		c.lane.handOver(c)
	case errors.Is(err, errAmbiguous):
		c.refuse()
		c.lane.close(c)
	case errors.Is(err, errLast):
		c.linger()
		c.lane.close(c)
	default:
		c.lane.close(c)
	}
}

// listen answers what comes, and returns why it goes on no longer.
func (c *laneConn) listen() error {
	if c.raw != nil {
		if err := c.raw.Read(c.turn); err != nil {
			return c.hear(err)
		}
		return c.err
	}
	if c.corked != nil && c.corked.brief != nil {
		if err := c.corked.brief.turns(c.turnSecure); err != nil {
			return c.hear(err)
		}
		return c.err
	}
	for {
		if err := c.hear(c.fill()); err != nil {
			return err
		}
	}
}

// turn is called by the poller, first and whenever a bare connection may have
// bytes. It returns true, with an error in c.err, when it is not to be called
// again.
//
// The poller tells by itself of what comes after a read, so one read for each
// request is enough. Unheard may go only the end of one who closed its half
// with the request and goes on reading: therefore the first request is followed
// by another read, and after a later one such a connection rests until its
// time is over.
func (c *laneConn) turn(fd uintptr) bool {
	c.fd = int(fd)
	for c.tryRead(fd) {
		full := c.filled == readBytes
		if c.err = c.hear(c.err); c.err != nil {
			return true
		}
		if c.heard && !full {
			return false
		}
		c.heard = c.filled == 0
	}
	return false
}

// turnSecure is turn over TLS, which may have read more than the request.
func (c *laneConn) turnSecure() bool {
	for {
		err := c.readNow()
		if err == errNotYet {
			return false
		}
		if c.err = c.hear(err); c.err != nil {
			return true
		}
	}
}

// hear takes what a read has led to.
func (c *laneConn) hear(err error) error {
	if err == nil {
		return c.take()
	}
	if c.held {
		c.lane.holds.leave(&c.waiter)
	}
	return err
}

// take answers the requests that have been read, one after the other. One who
// has sent the next request while one is held is not gone; its bytes wait.
func (c *laneConn) take() error {
	for c.filled > 0 {
		if c.held {
			c.answered.Lock()
			c.held = false
		}
		// A view: nothing keeps it after the request was consumed.
		r, size, v := parseRequest(unsafe.String(&c.buffer[0], c.filled))
		switch v {
		case incomplete:
			return c.await()
		case foreign:
			return c.foreign()
		case ambiguous:
			return errAmbiguous
		}
		if err := c.answer(&r, size); err != nil {
			return err
		}
	}
	if !c.held {
		c.rest(restPatience)
	}
	return nil
}

// await leaves half a request to be read on.
func (c *laneConn) await() error {
	if c.idle.Load() {
		c.begin(headPatience)
	}
	if c.filled == readBytes {
		return io.ErrShortBuffer
	}
	return nil
}

// foreign leaves a request to others.
func (c *laneConn) foreign() error {
	c.begin(headPatience)
	return errForeign
}

// rest marks the connection as one that waits for a request. Whoever asks
// often is marked once a tick.
func (c *laneConn) rest(patience time.Duration) {
	deadline := c.lane.clock.after(patience)
	if c.deadline.Swap(deadline) == deadline && c.idle.Load() {
		return
	}
	c.idle.Store(true)
	c.tracker.SetIdle(true)
}

// begin marks the connection as one that has something to do, and so long for
// it; 0 is for ever.
func (c *laneConn) begin(patience time.Duration) {
	deadline := int64(0)
	if patience != 0 {
		deadline = c.lane.clock.after(patience)
	}
	c.deadline.Store(deadline)
	c.idle.Store(false)
	c.tracker.SetIdle(false)
}

// answer answers a request whose head has that size, now or when it can be.
func (c *laneConn) answer(r *laneRequest, size int) error {
	t, ok := c.lane.server.locate(r.path)
	if !ok {
		return c.foreign()
	}
	if p := c.lane.server.turnedAway(&t, r); p != nil {
		head := r.head
		c.consume(size)
		return c.reply(p, head)
	}
	w := &c.waiter.wish // nobody reads it while no request is held
	d, o := t.decide(r, w)
	switch {
	case toCome(o.err):
		w.keep()
		c.consume(size)
		c.hold(t.key(d))
		return nil
	case o.err != nil && t.media():
		return c.foreign() // it may be elsewhere than in the window
	}
	p := c.lane.server.cut(o, w)
	c.consume(size)
	return c.reply(p, w.head)
}

// reply writes an answer during a turn.
func (c *laneConn) reply(p *prepared, head bool) error {
	if c.raw == nil || head || c.last.Load() {
		return c.send(p, head)
	}
	front, body := p.front(c.lane.clock.date.Load())
	if body == nil {
		// Most lists leave in this one write, and need not be marked as begun.
		n, err := briefly(syscall.SYS_SENDTO, c.fd, front)
		if n == len(front) || err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
			c.lane.count(p, len(front)-max(n, 0), err)
			return err
		}
		front = front[max(n, 0):]
	}
	c.begin(patience(len(p.body)))
	c.trust(len(body))
	began := time.Now()
	err := c.push(p, front, body)
	if err == nil && len(body) >= fileLeast {
		c.pace(len(body), time.Since(began))
	}
	return err
}

// send writes an answer, blocking until the viewer has taken it.
func (c *laneConn) send(p *prepared, head bool) error {
	c.begin(patience(len(p.body)))
	now := c.lane.clock.date.Load()
	if c.last.Load() {
		return c.sendLast(p, now, head)
	}
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
func (c *laneConn) file(p *prepared, body []byte) *fileBody {
	if c.raw == nil || len(body) == 0 {
		return nil
	}
	return c.lane.files.of(p)
}

// hold leaves a request to whoever can answer it.
func (c *laneConn) hold(key holdKey) {
	c.waiter.wake = c
	c.begin(0) // the window bounds how long it holds
	c.held = true
	c.lane.holds.join(c.lane.server, key, &c.waiter)
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
	if c.raw == nil || c.waiter.head || c.last.Load() {
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
		a.count(p)
		c.answered.Unlock()
	}
}

// finish writes what is left of an answer to a held request, blocking.
func (c *laneConn) finish(p *prepared, front, body []byte) {
	defer c.answered.Unlock()
	c.begin(patience(len(p.body)))
	var err error
	if front == nil {
		err = c.send(p, c.waiter.head)
	} else {
		err = c.push(p, front, body)
	}
	switch {
	case err == nil:
		c.rest(restPatience)
	case errors.Is(err, errLast) && c.closeWrite():
		c.deadline.Store(c.lane.clock.after(endPatience)) // until then its reader waits for the viewer to close
	default:
		_ = c.Close() // its reader then ends it
	}
}

// abandon closes a connection whose request won't be answered.
func (c *laneConn) abandon() {
	_ = c.Close() // its reader then ends it
	c.answered.Unlock()
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
	c.linger()
}
