package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Bounds of an HTTP/2 connection. One that oversteps the bounds of a flood gets
// GOAWAY; see h2Budget for what counts as one.
const (
	h2Streams    = 250        // at a time; one more is refused, and may be asked for again
	h2FrameBytes = 16 << 10   // of a frame that a viewer sends: the least that the protocol allows
	h2BlockBytes = 32 << 10   // of a header block, as it is sent; more is a flood
	h2ListBytes  = 16 << 10   // of a header list, decoded; more is answered with 431
	h2OutBytes   = 64 << 10   // of frames that wait for the writer; the reader then waits for it
	h2Window     = 64<<10 - 1 // of what a viewer may send: nobody here reads bodies
)

// h2Conn is an HTTP/2 connection in a lane. Its reader answers what is there at
// once; held requests are answered by whoever wakes them. Whoever has something
// to write and finds no writer is the writer, until nothing is left that the
// viewer's windows allow: small answers cost no goroutine.
type h2Conn struct {
	lane    *lane
	base    *laneConn // its place in the lane
	conn    net.Conn
	below   *corkedConn // nil where there is none
	tracker ConnTracker

	// Touched by the reader alone.
	reader  *bufio.Reader
	framer  *http2.Framer
	decoder *hpack.Decoder
	head    h2Head // the header block that is being read
	budget  h2Budget
	taken   int   // bytes of DATA that the viewer's window lacks
	atRest  bool  // between two frames, with nothing read of the next
	wholeBy int64 // the tick by which the frame that has begun has to be whole; 0: not set yet

	mu           sync.Mutex
	room         sync.Cond // on mu: something was written, or the connection has ended
	streams      map[uint32]*h2Stream
	newest       uint32 // the highest stream of the viewer's
	handlers     int    // that run for viewers
	nodeHandlers int    // and for other nodes
	parked       bool   // the reader waits for a frame
	resting      bool   // and nothing else goes on
	retired      int64  // the tick at which GOAWAY was announced; 0: it was not
	leaving      bool   // GOAWAY was said: nothing new
	ended        error  // why it is over

	out       *[]byte     // frames that leave next; nil when there are none
	shrunk    bool        // the next header block says that the dynamic table is empty
	tableless bool        // that was said
	queue     []*h2Stream // those with DATA to send, in turn
	window    int64       // of the connection, as the viewer has it
	initial   int64       // of a new stream
	frameSize int         // the most that the viewer takes in one frame
	writing   bool        // somebody writes
	owed      int         // bytes of bodies that wait
	sent      int         // bytes of bodies that went out and are not in the budget yet
	due       int64       // by when the viewer has to have taken it, as bytes at minRate on the lane's clock; 0: nothing is owed
	readBy    int64       // wholeBy while the reader waits for the rest of a frame, else 0
	restBy    int64       // the tick until which it may rest
}

var (
	errH2Preface = errors.New("no HTTP/2 preface")
	errH2Drained = errors.New("the node leaves and all is answered")
)

// beginsH2 tells whether what was read of a connection is the beginning of
// HTTP/2's preface.
func (c *laneConn) beginsH2() bool {
	return c.filled > 0 && strings.HasPrefix(http2.ClientPreface, string(c.buffer[:min(c.filled, len(http2.ClientPreface))]))
}

// serveH2 serves a connection on which HTTP/2 was agreed, or is begun, until it
// ends.
func (l *lane) serveH2(base *laneConn) {
	c := newH2Conn(l, base)
	stop := context.AfterFunc(l.holds.ctx, c.drain)
	defer stop()
	c.finish(c.run())
	l.close(base)
}

func newH2Conn(l *lane, base *laneConn) *h2Conn {
	c := &h2Conn{
		lane: l, base: base, conn: base.Conn, below: base.corked, tracker: TrackConn(base.Conn),
		streams: map[uint32]*h2Stream{}, window: 64<<10 - 1, initial: 64<<10 - 1, frameSize: 16 << 10,
	}
	c.room.L = &c.mu
	c.budget = newH2Budget(&l.clock)
	var source io.Reader = h2Reader{c}
	if base.filled > 0 {
		source = io.MultiReader(bytes.NewReader(bytes.Clone(base.buffer[:base.filled])), source)
		base.filled = 0
		base.release()
	}
	c.reader = bufio.NewReaderSize(source, 4<<10)
	c.framer = http2.NewFramer(nil, c.reader)
	c.framer.SetMaxReadFrameSize(h2FrameBytes)
	c.framer.SetReuseFrames()
	c.decoder = hpack.NewDecoder(4<<10, c.head.take)
	c.decoder.SetMaxStringLength(h2ListBytes)
	c.head.decoder = c.decoder
	return c
}

// run reads frames until the connection ends, and says why.
func (c *h2Conn) run() error {
	c.mu.Lock()
	c.appendSettings()
	c.mu.Unlock()
	c.lane.name(c)
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.reader, preface[:]); err != nil {
		return err
	}
	if string(preface[:]) != http2.ClientPreface {
		return errH2Preface
	}
	for first := true; ; first = false {
		c.atRest, c.wholeBy = !first && c.reader.Buffered() == 0, 0
		head, err := c.framer.ReadFrameHeader()
		if err != nil {
			return h2Cause(err)
		}
		if first && (head.Type != http2.FrameSettings || head.Flags.Has(http2.FlagSettingsAck)) {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if err := c.next(head); err != nil {
			return err
		}
	}
}

// next reads the rest of a frame and deals with it.
func (c *h2Conn) next(head http2.FrameHeader) error {
	f, err := c.framer.ReadFrameForHeader(head)
	if err == nil {
		err = c.frame(f)
	}
	var one http2.StreamError
	if !errors.As(err, &one) {
		return h2Cause(err)
	}
	if f == nil && head.Type == http2.FrameHeaders {
		// The header block is lost, and with it the state of the compression.
		return http2.ConnectionError(one.Code)
	}
	c.reset(one.StreamID, one.Code)
	return c.budget.spend(h2CostFault)
}

// h2Cause returns what an error means for the connection.
func h2Cause(err error) error {
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	return err
}

// frame deals with one frame. A StreamError resets a stream, others end the
// connection.
func (c *h2Conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f.StreamID, int64(f.Increment))
	case *http2.RSTStreamFrame:
		return c.leave(f.StreamID)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if p, ok := f.(*http2.PriorityFrame); ok && p.StreamDep == p.StreamID {
		return http2.StreamError{StreamID: p.StreamID, Code: http2.ErrCodeProtocol}
	}
	// PRIORITY and its successor, GOAWAY of one who only ends his own requests,
	// frames of extensions.
	return c.budget.spend(h2CostFrame)
}

// data drops the bytes of a request's body: what has one is answered without
// it. The connection's window is given back, so that others are not blocked by
// it; a stream's is not.
func (c *h2Conn) data(f *http2.DataFrame) error {
	size := int(f.Length)
	if c.taken += size; c.taken > h2Window {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if err := c.budget.spend(h2CostFrame + size/h2FreeBytes); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken > h2Window/2 {
		c.appendWindowUpdate(c.taken)
		c.taken = 0
	}
	s := c.streams[f.StreamID]
	switch {
	case s == nil && c.never(f.StreamID):
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil || !s.open:
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	if s.taken += size; s.taken > h2Window {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	s.open = !f.StreamEnded()
	return nil
}

// never tells whether the viewer has not begun such a stream. It needs c.mu.
func (c *h2Conn) never(id uint32) bool { return id%2 == 0 || id > c.newest }

// ping answers one.
func (c *h2Conn) ping(f *http2.PingFrame) error {
	if f.IsAck() {
		return c.budget.spend(h2CostFrame)
	}
	c.mu.Lock()
	c.appendPing(f.Data)
	c.mu.Unlock()
	return c.budget.spend(h2CostFrame)
}

// settings takes up the viewer's. However many stand in a frame, the streams'
// windows are moved once.
func (c *h2Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return c.budget.spend(h2CostFrame)
	}
	if err := c.budget.spend(h2CostSettings + f.NumSettings()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	initial := c.initial
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			initial = int64(s.Val)
		case http2.SettingMaxFrameSize:
			c.frameSize = int(s.Val)
		case http2.SettingHeaderTableSize:
			// Ours is empty, whatever its size; it has to be said once.
			c.shrunk = c.shrunk || s.Val < 4096 && !c.tableless
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.appendSettingsAck()
	return c.shift(initial)
}
