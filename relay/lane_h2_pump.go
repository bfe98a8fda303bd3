package relay

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// writeBytes is how much leaves an HTTP/2 connection in one write: four TLS
// records.
const writeBytes = 64 << 10

var writeBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writeBytes+maxFrame)
	return &b
}}

// h2Pump is the sending half of an HTTP/2 connection: frames are put together
// in one buffer, bodies as far as the client's windows allow, one frame of each
// stream in turn. All of it is under h2Conn.mu.
type h2Pump struct {
	to      io.Writer
	clock   *laneClock
	out     *[]byte // nil while there is nothing to write
	initial int64   // window of a new stream
	window  int64   // of the connection
	shrunk  bool    // the client made its header table smaller

	waiting []*h2Stream  // with a body, in turn; none that its own window stops
	pending int          // bytes of all bodies
	sent    atomic.Int64 // bytes
	marked  int64        // sent, at the last mark: the reader's
}

func (p *h2Pump) open(to io.Writer, clock *laneClock) {
	p.to, p.clock, p.initial, p.window = to, clock, 65535, 65535
}

// Write puts frames that a Framer has made behind what is to be sent.
func (p *h2Pump) Write(b []byte) (int, error) {
	out := p.buffer()
	*out = append(*out, b...)
	return len(b), nil
}

func (p *h2Pump) buffer() *[]byte {
	if p.out == nil {
		p.out = writeBuffers.Get().(*[]byte)
	}
	return p.out
}

// frame puts the head of a frame out.
func (p *h2Pump) frame(size int, kind http2.FrameType, flags http2.Flags, id uint32) *[]byte {
	out := p.buffer()
	*out = append(*out, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	*out = binary.BigEndian.AppendUint32(*out, id)
	return out
}

// headers puts out the head of an answer: a block that was made before, and
// the date.
func (p *h2Pump) headers(st *h2Stream, fields []byte, last bool) {
	flags := http2.FlagHeadersEndHeaders
	if last {
		flags |= http2.FlagHeadersEndStream
	}
	date := p.clock.date.Load().field
	size := len(fields) + len(date)
	if p.shrunk {
		size++
	}
	out := p.frame(size, http2.FrameHeaders, flags, st.id)
	if p.shrunk {
		p.shrunk = false
		*out = append(*out, 0x20) // dynamic table size 0
	}
	*out = append(append(*out, fields...), date...)
}

// send queues a body.
func (p *h2Pump) send(st *h2Stream, body []byte) {
	st.body = body
	p.pending += len(body)
	p.queue(st)
}

// queue lets a stream take part if it has something that it may send.
func (p *h2Pump) queue(st *h2Stream) {
	if !st.queued && len(st.body) > 0 && st.window > 0 {
		st.queued = true
		p.waiting = append(p.waiting, st)
	}
}

// drop takes a stream out.
func (p *h2Pump) drop(st *h2Stream) {
	p.pending -= len(st.body)
	st.body = nil
}

// run sends what may be sent. It blocks while the client does not read.
func (p *h2Pump) run(c *h2Conn) error {
	for len(p.waiting) > 0 && p.window > 0 {
		st := p.waiting[0]
		n := min(len(st.body), maxFrame, int(min(st.window, p.window)))
		p.waiting = p.waiting[1:]
		st.queued = false
		if n <= 0 {
			continue
		}
		ends := n == len(st.body) && st.last
		var flags http2.Flags
		if ends {
			flags = http2.FlagDataEndStream
		}
		out := p.frame(n, http2.FrameData, flags, st.id)
		*out = append(*out, st.body[:n]...)
		st.body = st.body[n:]
		p.pending -= n
		st.window -= int64(n)
		p.window -= int64(n)
		switch {
		case ends:
			c.done(st)
		case len(st.body) == 0:
			st.handler.wrote()
		default:
			p.queue(st)
		}
		if len(*out) >= writeBytes {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	return p.flush()
}

// flush writes what is put out, blocking.
func (p *h2Pump) flush() error {
	if p.out == nil {
		return nil
	}
	n, err := p.to.Write(*p.out)
	p.sent.Add(int64(n))
	*p.out = (*p.out)[:0]
	writeBuffers.Put(p.out)
	p.out = nil
	return err
}

// mark begins a new count of bytes sent; sentSince returns it.
func (p *h2Pump) mark()            { p.marked = p.sent.Load() }
func (p *h2Pump) sentSince() int64 { return p.sent.Load() - p.marked }
