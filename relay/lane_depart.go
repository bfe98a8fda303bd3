package relay

import (
	"bytes"
	"math"
	"slices"

	"golang.org/x/net/http2"
)

// retire ends the connections that there are, each with its next answer; those
// that have been waiting for a request for some time end at once.
func (l *lane) retire() {
	l.mu.Lock()
	var streaming []*h2Conn
	for c := range l.conns {
		c.last.Store(true)
		if c.h2 != nil {
			streaming = append(streaming, c.h2)
		}
	}
	l.mu.Unlock()
	for _, c := range streaming {
		c.retire()
	}
	// Who watches asks more often. A request that begins in this moment may be
	// lost: that is so whenever an idle connection is closed, and players ask
	// again. New connections, whose first request is on its way, are spared.
	youngest, oldest := l.clock.after(headPatience), l.clock.after(restPatience-idlePatience)
	l.closeSome(func(c *laneConn) bool {
		deadline := c.deadline.Load()
		return c.h2 == nil && c.idle.Load() && youngest < deadline && deadline <= oldest
	})
}

// name notes that a connection speaks HTTP/2, and has said so. One that is new
// is not told to end: who was told at once would come again at once.
func (l *lane) name(c *h2Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.base.h2 = c
}

// goAway ends the HTTP/2 connections to whose viewers it was announced at least
// a tick before: whatever they had sent by then has come.
func (l *lane) goAway(now int64) {
	if retired := l.retired.Load(); retired == 0 || now > retired+4 { // two more: ticks are noted without a lock
		return
	}
	l.mu.Lock()
	var told []*h2Conn
	for c := range l.conns {
		if c.h2 != nil {
			told = append(told, c.h2)
		}
	}
	l.mu.Unlock()
	for _, c := range told {
		c.goAway(now)
	}
}

// retire announces GOAWAY: RFC 9113 6.8 has a server name the last possible
// stream first, and the last real one when what was on its way has come. So no
// request is lost.
func (c *h2Conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked()
	c.kick()
}

// retireLocked needs c.mu; the frame leaves with what is sent next.
func (c *h2Conn) retireLocked() {
	if c.retired != 0 || c.leaving || c.ended != nil {
		return
	}
	c.retired = c.lane.clock.ticks.Load()
	c.lane.retired.Store(c.retired)
	c.appendGoAwayAfter(math.MaxInt32, http2.ErrCodeNo)
}

// goAway says the real one.
func (c *h2Conn) goAway(now int64) {
	c.mu.Lock()
	due := c.retired != 0 && now >= c.retired+2
	c.mu.Unlock()
	if due {
		c.drain()
	}
}

// sendLast writes an answer and that it is the last, blocking. Without an error
// of another kind it returns errLast.
func (c *laneConn) sendLast(p *prepared, now *date, head bool) error {
	front := p.lastHead(now)
	if head {
		c.lane.server.Load.Add(0, 0)
		if _, err := c.Write(front); err != nil {
			return err
		}
		return errLast
	}
	if len(p.body) <= joinBytes {
		front = append(front, p.body...)
		if err := c.push(p, front, nil); err != nil {
			return err
		}
		return errLast
	}
	if err := c.push(p, front, p.body); err != nil {
		return err
	}
	return errLast
}

// lastHead is the head of an answer after which the connection is closed.
func (p *prepared) lastHead(now *date) []byte {
	head := p.appendHead(nil, now)
	second := bytes.IndexByte(head, '\n') + 1
	return slices.Insert(head, second, []byte("Connection: close\r\n")...)
}

// closeWrite ends our side of the connection, where one side can be ended.
func (c *laneConn) closeWrite() bool {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

// linger waits a moment for the viewer to read what was said last before the
// connection is closed; what it still sends is dropped.
func (c *laneConn) linger() {
	c.deadline.Store(c.lane.clock.after(endPatience))
	if !c.closeWrite() {
		return
	}
	for left := lingerBytes; left > 0; left -= c.filled {
		c.filled = 0
		c.release()
		if c.fill() != nil {
			return
		}
	}
}
