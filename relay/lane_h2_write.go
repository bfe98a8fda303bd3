package relay

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const (
	h2FrameHead = 9 // bytes
	// h2SmallBytes is up to which size a body is copied behind its header block
	// and leaves in one frame with it, before all media.
	h2SmallBytes = 16 << 10
	// h2BatchBytes is what is made ready at a time, and what a slow reader holds.
	h2BatchBytes = 64 << 10
	// h2InlineBytes is how much the reader writes by itself; with more another
	// goroutine does, so that the viewer's resets are heard meanwhile.
	h2InlineBytes = 192 << 10
)

var h2Batches = sync.Pool{New: func() any {
	b := make([]byte, 0, h2BatchBytes+h2SmallBytes+4<<10)
	return &b
}}

// appendHead appends a frame's head to what leaves next, and returns where the
// payload is to be appended. It needs c.mu, as all that appends does.
func (c *h2Conn) appendHead(kind http2.FrameType, flags http2.Flags, id uint32, size int) *[]byte {
	if c.out == nil {
		c.out = h2Batches.Get().(*[]byte)
	}
	*c.out = h2AppendHead(*c.out, kind, flags, id, size)
	return c.out
}

func h2AppendHead(b []byte, kind http2.FrameType, flags http2.Flags, id uint32, size int) []byte {
	return append(b, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags),
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func (c *h2Conn) appendSettings() {
	b := c.appendHead(http2.FrameSettings, 0, 0, 12)
	*b = binary.BigEndian.AppendUint16(*b, uint16(http2.SettingMaxConcurrentStreams))
	*b = binary.BigEndian.AppendUint32(*b, h2Streams)
	*b = binary.BigEndian.AppendUint16(*b, uint16(http2.SettingMaxHeaderListSize))
	*b = binary.BigEndian.AppendUint32(*b, h2ListBytes)
}

func (c *h2Conn) appendSettingsAck() {
	c.appendHead(http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
}

func (c *h2Conn) appendPing(data [8]byte) {
	b := c.appendHead(http2.FramePing, http2.FlagPingAck, 0, len(data))
	*b = append(*b, data[:]...)
}

func (c *h2Conn) appendWindowUpdate(by int) {
	b := c.appendHead(http2.FrameWindowUpdate, 0, 0, 4)
	*b = binary.BigEndian.AppendUint32(*b, uint32(by))
}

func (c *h2Conn) appendReset(id uint32, code http2.ErrCode) {
	b := c.appendHead(http2.FrameRSTStream, 0, id, 4)
	*b = binary.BigEndian.AppendUint32(*b, uint32(code))
}

func (c *h2Conn) appendGoAway(code http2.ErrCode) { c.appendGoAwayAfter(c.newest, code) }

// appendGoAwayAfter says that streams beyond the newest are not served.
func (c *h2Conn) appendGoAwayAfter(newest uint32, code http2.ErrCode) {
	b := c.appendHead(http2.FrameGoAway, 0, 0, 8)
	*b = binary.BigEndian.AppendUint32(*b, newest)
	*b = binary.BigEndian.AppendUint32(*b, uint32(code))
}

// appendAnswer appends the header block of an answer.
func (c *h2Conn) appendAnswer(id uint32, p *prepared, last bool) {
	c.appendBlock(id, p.fields, c.lane.clock.date.Load().field, last)
}

// appendBlock appends a header block of two pieces. It is shorter than the
// least that every viewer takes in one frame.
func (c *h2Conn) appendBlock(id uint32, fields, date []byte, last bool) {
	flags := http2.FlagHeadersEndHeaders
	if last {
		flags |= http2.FlagHeadersEndStream
	}
	size := len(fields) + len(date)
	if c.shrunk {
		size++
	}
	b := c.appendHead(http2.FrameHeaders, flags, id, size)
	if c.shrunk {
		*b = append(*b, 0x20) // the dynamic table has the size 0: RFC 7541 6.3
		c.shrunk, c.tableless = false, true
	}
	*b = append(append(*b, fields...), date...)
}

// appendWhole appends an answer that fits, whole, and tells whether it did. It
// needs c.mu.
func (c *h2Conn) appendWhole(id uint32, p *prepared, head bool, window int64) bool {
	body := p.body
	if head {
		body = nil
	}
	size := int64(len(body))
	if size > h2SmallBytes || size > 0 && size > min(window, c.window) {
		return false
	}
	c.appendAnswer(id, p, size == 0)
	if size > 0 {
		b := c.appendHead(http2.FrameData, http2.FlagDataEndStream, id, len(body))
		*b = append(*b, body...)
		c.window -= size
		c.sent += int(size)
	}
	return true
}

// flush writes what waits, as the reader; true if there was something. When
// that is much, or there is a writer, another goroutine does it, and the reader
// waits only while too much has gathered. It needs c.mu.
func (c *h2Conn) flush() bool {
	if !c.sendable() {
		return false
	}
	if !c.writing && c.owed <= h2InlineBytes {
		c.writing = true
		c.write()
		return true
	}
	c.kick()
	for c.full() && c.writing {
		c.room.Wait()
	}
	return true
}

func (c *h2Conn) full() bool { return c.out != nil && len(*c.out) > h2OutBytes }

// kick starts a writer if there is something to write and none. It needs c.mu.
func (c *h2Conn) kick() {
	if c.writing || !c.sendable() {
		return
	}
	c.writing = true
	c.lane.wait.Go(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.write()
	})
}

// sendable tells whether there is something to write that may be. It needs
// c.mu.
func (c *h2Conn) sendable() bool {
	return c.ended == nil && (c.out != nil || len(c.queue) > 0 && c.window > 0)
}

// write writes until there is nothing left that may be. It needs c.mu, which it
// gives up while it writes, and that c.writing was set.
func (c *h2Conn) write() {
	c.owe(0)
	for c.ended == nil {
		batch := c.fill()
		if batch == nil {
			break
		}
		c.limit()
		corked := len(*batch)+c.owed <= corkMost
		c.mu.Unlock()
		err := c.send(batch, corked)
		c.mu.Lock()
		if err != nil && c.ended == nil {
			c.ended = err
			c.base.cutOff() // the reader ends it
		}
		c.due = min(c.due, c.dueIn(c.owed))
		c.room.Broadcast()
	}
	c.writing = false
	if c.owed == 0 {
		c.due = 0
	}
	if c.leaving && len(c.streams) == 0 && c.ended == nil {
		c.ended = errH2Drained
		c.wakeReader()
	}
	c.room.Broadcast()
	c.limit()
}

// wakeReader makes a reader that waits see that the connection has ended.
func (c *h2Conn) wakeReader() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) }

// takeOut takes the frames that leave next. It needs c.mu.
func (c *h2Conn) takeOut() *[]byte {
	batch := c.out
	c.out = nil
	return batch
}

// fill makes a batch ready: what is to leave first, then a frame of each stream
// in turn. It returns nil when nothing may be sent. It needs c.mu.
func (c *h2Conn) fill() *[]byte {
	batch := c.takeOut()
	for len(c.queue) > 0 {
		s := c.queue[0]
		if s.gone || s.window <= 0 && len(s.body) > 0 {
			c.turn()
			continue
		}
		if batch == nil {
			batch = h2Batches.Get().(*[]byte)
		}
		room := h2BatchBytes - len(*batch) - h2FrameHead
		n := int(min(int64(len(s.body)), int64(c.frameSize), s.window, c.window, int64(room)))
		if room <= 0 || n <= 0 && len(s.body) > 0 {
			break // the batch is full, or the window of the connection is used up
		}
		c.turn()
		c.appendData(batch, s, n)
	}
	if batch != nil && len(*batch) == 0 {
		h2Batches.Put(batch)
		return nil
	}
	return batch
}

// turn takes the first stream out of the queue. It needs c.mu.
func (c *h2Conn) turn() {
	c.queue[0].queued = false
	c.queue[0] = nil
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil
	}
}

// appendData appends a DATA frame of n bytes of a stream's body. It needs c.mu.
func (c *h2Conn) appendData(batch *[]byte, s *h2Stream, n int) {
	var flags http2.Flags
	last := n == len(s.body) && !s.more
	if last {
		flags = http2.FlagDataEndStream
	}
	*batch = append(h2AppendHead(*batch, http2.FrameData, flags, s.id, n), s.body[:n]...)
	s.body = s.body[n:]
	s.window -= int64(n)
	c.window -= int64(n)
	c.owed -= n
	c.sent += n
	switch {
	case last:
		c.forget(s)
	case len(s.body) > 0:
		c.enqueue(s)
	default:
		s.drained <- struct{}{}
	}
}

// send writes a batch and gives its buffer back.
func (c *h2Conn) send(batch *[]byte, corked bool) (err error) {
	if c.below != nil {
		_, err = c.below.send(c.conn, nil, *batch, corked)
	} else {
		_, err = c.conn.Write(*batch)
	}
	h2GiveBack(batch)
	return err
}

func h2GiveBack(batch *[]byte) {
	if cap(*batch) > 2*h2BatchBytes {
		return // grown by a flood
	}
	*batch = (*batch)[:0]
	h2Batches.Put(batch)
}
