package origin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// rtmpHandshake are the bytes of C0, C1 and C2, in front of the first chunk.
	rtmpHandshake = 1 + 2*1536

	// minRTMPChunk is what chunks are as long as until somebody says otherwise.
	// Smaller ones cost the library more memory than they carry, those of 0
	// bytes without end.
	minRTMPChunk = 128

	// maxRTMPCommand bounds all messages but sound and pictures, and so how deep
	// AMF can be nested: the library reads it by recursion.
	maxRTMPCommand = 64 << 10

	// Messages may take so much of a connection's memory, each chunk stream
	// its largest: without a key, and with one. A picture is rarely over 1 MiB;
	// the library takes none over 10.
	maxRTMPKnocking   = 256 << 10
	maxRTMPPublishing = 16 << 20
)

// Why a connection is closed for how it cuts its messages into chunks.
var (
	errRTMPVersion = errors.New("an RTMP version other than 3; RTMPE is not taken, RTMPS is")
	errRTMPChunk   = fmt.Errorf("chunks of less than %d bytes or of more than the largest message", minRTMPChunk)
	errRTMPLarge   = errors.New("messages that are too large")
	errRTMPOrder   = errors.New("chunks that continue nothing")
)

// Message types of RTMP that mean something to its chunks.
const (
	rtmpSetChunkSize = 1
	rtmpAbort        = 2
	rtmpAudio        = 8
	rtmpVideo        = 9
)

// rtmpChunks reads a connection for the library and follows its chunks, which
// the library puts together without a bound on what all of them take. It fails
// at the first byte that goes too far. One goroutine uses it.
type rtmpChunks struct {
	from  io.Reader
	limit int64 // bytes of messages

	handshake int      // bytes of it that have come
	header    [18]byte // of the chunk underway
	have      int      // bytes of header
	body      int      // bytes of the chunk that are still to come
	chunkSize int
	streams   [64]rtmpChunkStream
	current   *rtmpChunkStream // whose chunk's body is underway
	control   []byte           // body of a message about chunks, 4 bytes at most
	memory    int64            // sum of largest
}

// rtmpChunkStream is one of the streams that chunks belong to.
type rtmpChunkStream struct {
	begun    bool // a header has told what follows
	extended bool // the timestamp has four more bytes
	kind     byte // message type
	length   int  // of the message
	received int  // of these
	largest  int64
}

func newRTMPChunks(from io.Reader) *rtmpChunks {
	return &rtmpChunks{from: from, limit: maxRTMPKnocking, chunkSize: minRTMPChunk}
}

// admitted lets messages be as large as pictures are.
func (c *rtmpChunks) admitted() { c.limit = maxRTMPPublishing }

func (c *rtmpChunks) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	if wrong := c.follow(b[:n]); wrong != nil {
		return 0, wrong
	}
	return n, err
}

// follow takes the next bytes.
func (c *rtmpChunks) follow(b []byte) error {
	for len(b) > 0 {
		switch {
		case c.handshake < rtmpHandshake:
			if c.handshake == 0 && b[0] != 3 {
				return errRTMPVersion
			}
			n := min(len(b), rtmpHandshake-c.handshake)
			c.handshake += n
			b = b[n:]
		case c.body > 0:
			n := min(len(b), c.body)
			if err := c.took(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		default:
			c.header[c.have] = b[0]
			c.have++
			b = b[1:]
			if c.have == c.headerSize() {
				if err := c.begin(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// headerSize is how long the header underway will be, as far as is known.
func (c *rtmpChunks) headerSize() int {
	format := c.header[0] >> 6
	size := [...]int{12, 8, 4, 1}[format]
	if c.have < size {
		return size
	}
	if c.timestampExtended() {
		size += 4
	}
	return size
}

func (c *rtmpChunks) timestampExtended() bool {
	if c.header[0]>>6 == 3 {
		return c.streams[c.header[0]&0x3f].extended
	}
	return c.header[1] == 0xff && c.header[2] == 0xff && c.header[3] == 0xff
}

// begin takes a whole header.
func (c *rtmpChunks) begin() error {
	format, size := c.header[0]>>6, c.have
	s := &c.streams[c.header[0]&0x3f]
	c.have = 0
	if format < 3 && s.received > 0 || format > 0 && !s.begun {
		return errRTMPOrder
	}
	s.begun = true
	if format < 3 {
		// Four more bytes that say less than three can are not repeated: so the
		// library reads it.
		s.extended = c.timestampExtended() && binary.BigEndian.Uint32(c.header[size-4:]) >= 0xffffff
	}
	if format < 2 {
		s.length = int(c.header[4])<<16 | int(c.header[5])<<8 | int(c.header[6])
		s.kind = c.header[7]
	}
	if s.received == 0 {
		if err := c.beginMessage(s); err != nil {
			return err
		}
	}
	c.current = s
	if c.body = min(s.length-s.received, c.chunkSize); c.body == 0 {
		return c.took(nil)
	}
	return nil
}

func (c *rtmpChunks) beginMessage(s *rtmpChunkStream) error {
	if more := int64(s.length) - s.largest; more > 0 {
		c.memory += more
		s.largest += more
	}
	if c.memory > c.limit || s.kind != rtmpAudio && s.kind != rtmpVideo && s.length > maxRTMPCommand {
		return errRTMPLarge
	}
	c.control = c.control[:0]
	return nil
}

// took takes bytes of a chunk's body.
func (c *rtmpChunks) took(b []byte) error {
	s := c.current
	s.received += len(b)
	c.body -= len(b)
	if s.kind == rtmpSetChunkSize || s.kind == rtmpAbort {
		if s.length != 4 { // and so in one chunk
			return errRTMPOrder
		}
		c.control = append(c.control, b...)
	}
	if s.received < s.length {
		return nil
	}
	s.received = 0
	return c.obey(s.kind)
}

// obey does what a whole message says of the chunks that follow.
func (c *rtmpChunks) obey(kind byte) error {
	if kind != rtmpSetChunkSize && kind != rtmpAbort {
		return nil
	}
	value := binary.BigEndian.Uint32(c.control)
	switch {
	case kind == rtmpSetChunkSize && (value < minRTMPChunk || value > maxRTMPPublishing):
		return errRTMPChunk
	case kind == rtmpSetChunkSize:
		c.chunkSize = int(value)
	case value < uint32(len(c.streams)) && c.streams[value].received > 0:
		c.streams[value].length, c.streams[value].received = 0, 0
	}
	return nil
}
