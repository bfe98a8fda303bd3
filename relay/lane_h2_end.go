package relay

import (
	"errors"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// drain says that this node takes nothing new; what runs goes on.
func (c *h2Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.ended != nil {
		return
	}
	c.leaving = true
	c.appendGoAway(http2.ErrCodeNo)
	c.kick()
}

// finish ends all that still goes on, and tells the viewer why, if it is its
// fault.
func (c *h2Conn) finish(cause error) {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = cause
	}
	cause = c.ended
	streams := c.streams
	c.streams = map[uint32]*h2Stream{}
	c.queue = nil
	for _, s := range streams {
		s.gone = true
	}
	c.room.Broadcast()
	c.mu.Unlock()
	for _, s := range streams {
		s.abandon()
	}
	var code http2.ConnectionError
	switch {
	case errors.As(cause, &code):
		c.sayGoAway(http2.ErrCode(code))
	case errors.Is(cause, errH2Drained):
		c.linger()
	}
}

// sayGoAway writes the last frame of a connection. The writer, if there is one,
// has a moment to end.
func (c *h2Conn) sayGoAway(code http2.ErrCode) {
	c.base.deadline.Store(c.lane.clock.after(endPatience))
	c.mu.Lock()
	for c.writing {
		c.room.Wait()
	}
	c.appendGoAway(code)
	batch := c.takeOut()
	c.mu.Unlock()
	if c.send(batch, true) == nil {
		c.linger()
	}
}

// linger ends our side and drops what still comes, so that the last frame is
// not lost in a reset, until the viewer has ended its own or its time is over.
func (c *h2Conn) linger() {
	c.base.deadline.Store(c.lane.clock.after(endPatience))
	conn := c.conn
	_ = conn.SetReadDeadline(time.Time{})
	for {
		below, ok := conn.(interface{ NetConn() net.Conn })
		if half, can := conn.(interface{ CloseWrite() error }); can && half.CloseWrite() != nil {
			return
		}
		if !ok {
			break
		}
		conn = below.NetConn()
	}
	buffer := make([]byte, 4<<10)
	for n := 0; n < lingerBytes; {
		read, err := conn.Read(buffer)
		if err != nil {
			return
		}
		n += read
	}
}
