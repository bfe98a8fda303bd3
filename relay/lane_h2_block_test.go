package relay

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Header blocks in many frames, on a clock that stands still: the budget gives
// nothing back. Each CONTINUATION costs, an empty one too; a block has a
// greatest size whatever it is cut into, and so has the list that it stands for.
func TestH2HeaderBlocksInPieces(t *testing.T) {
	const (
		// GET / of http://a
		request = "\x82\x86\x84\x41\x01a"
		// accept-encoding: gzip, deflate, by its place in the static table
		field = "\x90"
		// a: bbb…, of 4,000 bytes, which enters the dynamic table, and the same
		// by its place there
		large, again = "\x40\x01a\x7f\xa1\x1e", "\xbe"
		calm         = "ENHANCE_YOUR_CALM"
		answered     = "404" // there is no such path
		tooLarge     = "431"
		frames       = (h2BudgetMost - h2CostSettings) / h2CostBlock // behind a HEADERS
	)
	full := request + strings.Repeat(field, h2BlockBytes-len(request))
	bomb := request + large + strings.Repeat("b", 4000) + strings.Repeat(again, 4)
	for _, test := range []struct {
		name, block string
		cut         func(block string) []string
		want        string
	}{
		{"one frame", request, inPieces(16 << 10), answered},
		{"a byte a frame", request, inPieces(1), answered},
		{"as many frames as the budget has", request, behindEmpty(frames), answered},
		{"one more", request, behindEmpty(frames + 1), calm},
		{"a flood without an end", "", behindEmpty(2 * frames), calm},
		{"a full block", full, inPieces(16 << 10), tooLarge},
		{"a full block in small pieces", full, inPieces(h2BlockBytes/frames + 1), tooLarge},
		{"a byte more", full + field, inPieces(16 << 10), calm},
		{"a flood of full frames", strings.Repeat(field, 1<<20), inPieces(16 << 10), calm},
		{"a list that is too large", bomb, inPieces(1000), tooLarge},
		{"a list beyond all bounds", bomb + strings.Repeat(again, 64<<10), inPieces(1000), calm},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := edge(t, nil)
			l, c, cancel := pipeLane(t, h)
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			newH2Raw(c)
			c.AllowIllegalWrites = true
			written := make(chan struct{})
			go func() {
				defer close(written)
				_, _ = io.WriteString(c.Conn, http2.ClientPreface)
				_ = c.WriteSettings()
				c.headers(1, test.cut(test.block))
			}()
			if got := c.outcome(); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			c.Close()
			<-written
			cancel()
			l.wait.Wait()
		})
	}
}

// outcome is the status of the answer that comes, or why the connection ends.
func (c *h2Raw) outcome() string {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			fields, err := hpack.NewDecoder(0, nil).DecodeFull(f.HeaderBlockFragment())
			if err != nil || len(fields) == 0 {
				return fmt.Sprint(fields, err)
			}
			return fields[0].Value // the first is :status
		case *http2.GoAwayFrame:
			return f.ErrCode.String()
		}
	}
}

// headers sends a request's header block in these pieces, a frame each, as far
// as the other side takes them.
func (c *h2Raw) headers(id uint32, pieces []string) {
	for i, piece := range pieces {
		kind, flags := http2.FrameContinuation, http2.Flags(0)
		if i == 0 {
			kind, flags = http2.FrameHeaders, http2.FlagHeadersEndStream
		}
		if i == len(pieces)-1 {
			flags |= http2.FlagHeadersEndHeaders // CONTINUATION has the same
		}
		if c.WriteRawFrame(kind, flags, id, []byte(piece)) != nil {
			return
		}
	}
}

// inPieces cuts a block into pieces of a size.
func inPieces(size int) func(string) []string {
	return func(block string) (pieces []string) {
		for ; len(block) > size; block = block[size:] {
			pieces = append(pieces, block[:size])
		}
		return append(pieces, block)
	}
}

// behindEmpty lets a block follow an empty HEADERS, as the last of n frames
// behind that; the others are empty.
func behindEmpty(n int) func(string) []string {
	return func(block string) []string { return append(make([]string, n), block) }
}
