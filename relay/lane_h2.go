package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Bounds of an HTTP/2 connection. A client that goes beyond them is told to
// calm down and its connection closed.
const (
	maxOpenStreams = 128      // open at a time; another one is refused
	maxHandlers    = 16       // requests at a time that are not for a lane
	maxHeaders     = 16 << 10 // bytes of a request's header list, as HTTP/1.1 has it
	maxFrame       = 16 << 10 // bytes of a frame that we take: the least that is allowed
	maxResets      = 200      // streams that a client may give up in a second
	maxControls    = 1000     // other frames without a request in a second, and one more
	controlEach    = 2 << 10  // for each of these bytes that were sent: WINDOW_UPDATEs grow with them
)

// h2Conn is an HTTP/2 connection in a lane. Its one goroutine reads frames and
// answers what can be answered at once; header blocks are made once for all
// (lane_hpack.go), and a whole answer leaves in one write.
type h2Conn struct {
	*laneConn
	framer *http2.Framer
	lastID uint32 // the newest stream; only the reader knows

	second   int64 // of the clock, to which these belong; only the reader's
	resets   int
	controls int

	mu       sync.Mutex
	streams  map[uint32]*h2Stream
	handlers int
	pump     h2Pump
	ended    bool
}

// h2Stream is one request and its answer. Its fields are under h2Conn.mu.
type h2Stream struct {
	conn    *h2Conn
	id      uint32
	whole   bool // the request has ended
	waiter  waiter
	window  int64  // how many bytes the client takes
	body    []byte // what is still to be sent
	queued  bool   // in the pump's queue
	last    bool   // the stream ends with body
	handler *h2Response
}

// isH2 tells whether a connection speaks HTTP/2: by ALPN over TLS, and else by
// its first bytes.
func isH2(c *laneConn) bool {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS
	}
	return c.filled > 0 && bytes.HasPrefix([]byte(http2.ClientPreface), c.buffer[:min(c.filled, len(http2.ClientPreface))])
}

// serveH2 serves HTTP/2 on a connection from its first byte on.
func (l *lane) serveH2(lc *laneConn) {
	c := &h2Conn{laneConn: lc, streams: map[uint32]*h2Stream{}}
	var source io.Reader = lc.Conn
	if _, secure := lc.Conn.(*tls.Conn); !secure {
		source = bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(lc.buffer[:lc.filled])), lc.Conn))
	}
	lc.filled = 0
	lc.release()
	c.pump.open(lc.Conn, &l.clock)
	c.framer = http2.NewFramer(&c.pump, source)
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = maxHeaders
	err := c.greet(source)
	for err == nil {
		err = c.step()
	}
	c.finish(err)
}

// greet exchanges prefaces.
func (c *h2Conn) greet(source io.Reader) error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(source, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.locked(func() error {
		c.rest(restPatience)
		_ = c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxOpenStreams},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders},
		)
		return nil
	})
}

// locked runs what changes the connection, and then sends what that put out.
func (c *h2Conn) locked(change func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := change()
	return errors.Join(err, c.pump.run(c))
}

// finish ends the connection, telling the client why if that was its fault.
func (c *h2Conn) finish(err error) {
	var fault http2.ConnectionError
	c.mu.Lock()
	if errors.As(err, &fault) {
		c.deadline.Store(c.lane.clock.after(endPatience))
		_ = c.framer.WriteGoAway(c.lastID, http2.ErrCode(fault), nil)
		_ = c.pump.flush()
	}
	c.ended = true
	for _, st := range c.streams {
		c.forget(st)
	}
	c.mu.Unlock()
	c.lane.close(c.laneConn)
}

// step reads one frame and does what it says.
func (c *h2Conn) step() error {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		var fault http2.StreamError
		if !errors.As(err, &fault) {
			return err
		}
		c.lastID = max(c.lastID, fault.StreamID)
		return errors.Join(c.control(), c.locked(func() error { return c.reset(fault.StreamID, fault.Code) }))
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return errors.Join(c.control(), c.locked(func() error { return c.data(f) }))
	case *http2.WindowUpdateFrame:
		return errors.Join(c.control(), c.locked(func() error { return c.widen(f) }))
	case *http2.SettingsFrame:
		return errors.Join(c.control(), c.locked(func() error { return c.settings(f) }))
	case *http2.PingFrame:
		if f.IsAck() {
			return c.control()
		}
		return errors.Join(c.control(), c.locked(func() error { return c.framer.WritePing(true, f.Data) }))
	case *http2.RSTStreamFrame:
		return c.givenUp(f.StreamID)
	case *http2.GoAwayFrame:
		return io.EOF
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.control() // PRIORITY and what nobody knows
}

// control counts a frame that asks for nothing: a client that sends little
// else only wants to see us work.
func (c *h2Conn) control() error {
	c.tick()
	if c.controls++; c.controls > maxControls {
		if int64(c.controls-maxControls) > c.pump.sentSince()/controlEach {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
	}
	return nil
}

// tick begins new counts when a second has passed.
func (c *h2Conn) tick() {
	if now := c.lane.clock.ticks.Load(); now != c.second {
		c.second, c.controls, c.resets = now, 0, 0
		c.pump.mark()
	}
}

// givenUp ends a stream that the client does not want any more.
func (c *h2Conn) givenUp(id uint32) error {
	c.tick()
	if c.resets++; c.resets > maxResets {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if id > c.lastID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		c.forget(st)
	}
	return nil
}

// reset ends a stream that went wrong. It needs c.mu, as all below.
func (c *h2Conn) reset(id uint32, code http2.ErrCode) error {
	if st := c.streams[id]; st != nil {
		c.forget(st)
	}
	return c.framer.WriteRSTStream(id, code)
}

// forget drops a stream, answered or not.
func (c *h2Conn) forget(st *h2Stream) {
	if c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	c.lane.holds.leave(&st.waiter)
	c.pump.drop(st)
	if st.handler != nil {
		st.handler.end(context.Canceled)
	}
	c.paced()
}

// paced sets the connection's deadline: for what it waits and how long that
// may last.
func (c *h2Conn) paced() {
	switch {
	case c.pump.pending > 0:
		c.deadline.Store(c.lane.clock.after(patience(c.pump.pending)))
	case len(c.streams) > 0:
		c.deadline.Store(0) // the window, or a handler, bounds how long it holds
	default:
		c.rest(restPatience)
	}
}

// data takes a piece of a request's body, which no request here needs.
func (c *h2Conn) data(f *http2.DataFrame) error {
	if f.StreamID > c.lastID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if f.Length > 0 {
		_ = c.framer.WriteWindowUpdate(0, f.Length)
	}
	if st := c.streams[f.StreamID]; st != nil && f.StreamEnded() {
		st.whole = true
	}
	return nil
}

// widen lets a stream, or all of them, send more.
func (c *h2Conn) widen(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.pump.window += int64(f.Increment); c.pump.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		return nil
	}
	if f.StreamID > c.lastID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil
	}
	if st.window += int64(f.Increment); st.window > maxWindow {
		return c.reset(st.id, http2.ErrCodeFlowControl)
	}
	c.pump.queue(st)
	return nil
}

// maxWindow is the largest flow-control window (RFC 9113 6.9.1).
const maxWindow = 1<<31 - 1

// settings takes the client's.
func (c *h2Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			return c.resize(int64(s.Val))
		case http2.SettingHeaderTableSize:
			// We have no use for the table, but one that was made smaller
			// wants to hear so (RFC 9113 4.3.1).
			c.pump.shrunk = c.pump.shrunk || s.Val < 4096
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.framer.WriteSettingsAck()
}

// resize changes the window with which streams begin, and those that are open.
func (c *h2Conn) resize(initial int64) error {
	change := initial - c.pump.initial
	c.pump.initial = initial
	for _, st := range c.streams {
		if st.window += change; st.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.pump.queue(st)
	}
	return nil
}

// open makes a stream of a request, or tells why there is none.
func (c *h2Conn) open(f *http2.MetaHeadersFrame) (*h2Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := f.StreamID
	if st := c.streams[id]; st != nil && !st.whole && f.StreamEnded() {
		st.whole = true // trailers
		return nil, nil
	}
	if id%2 == 0 || id <= c.lastID {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.lastID = id
	if len(c.streams) >= maxOpenStreams {
		return nil, errors.Join(c.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream), c.pump.flush())
	}
	st := &h2Stream{conn: c, id: id, whole: f.StreamEnded(), window: c.pump.initial}
	if len(c.streams) == 0 {
		c.begin()
	}
	c.streams[id] = st
	return st, nil
}

// respond sends a prepared answer on a stream.
func (c *h2Conn) respond(st *h2Stream, p *prepared, head bool) error {
	return c.locked(func() error {
		if c.streams[st.id] != st {
			return nil // given up meanwhile
		}
		body := p.body
		if head || p.status == http.StatusNotModified {
			body = nil
		}
		st.last = true
		c.pump.headers(st, p.fields, len(body) == 0)
		if len(body) == 0 {
			c.lane.server.Load.Add(0, 0)
			c.done(st)
			return nil
		}
		// Counted when it is queued: what a viewer then gives up is little.
		c.lane.server.Load.Add(int64(len(body)), p.media)
		c.pump.send(st, body)
		c.paced()
		return nil
	})
}

// done forgets a stream whose answer is out.
func (c *h2Conn) done(st *h2Stream) {
	if !st.whole {
		// Nobody reads the rest of the request (RFC 9113 8.1).
		_ = c.framer.WriteRSTStream(st.id, http2.ErrCodeNo)
	}
	c.forget(st)
}
