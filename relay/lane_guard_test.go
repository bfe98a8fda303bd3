package relay

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// pass lets seconds pass on the lane's clock.
func (l *lane) pass(seconds int) {
	for range seconds {
		l.sweep()
	}
}

// Half a head, a reader that takes nothing and one who says nothing at all are
// closed in time, and hold no buffer when they are.
func TestSlowOnesAreClosed(t *testing.T) {
	for name, c := range map[string]struct {
		raw     string
		seconds int
	}{
		"half a head":    {"GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost:", 7},
		"silence":        {"", 7},
		"takes nothing":  {"GET /theatre/main/0000000a/1.m4s HTTP/1.1\r\nHost: a\r\n\r\n", 12 + 32<<20/minRate},
		"half a preface": {"PRI * HTTP/2.0\r\n\r\nSM", 80},
	} {
		t.Run(name, func(t *testing.T) {
			l, f, addr := laneOf(t)
			f.window.Put(MediaName{Kind: SegmentMedia, Epoch: f.epoch, Number: 1}, make([]byte, 32<<20), time.Second)
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, c.raw)
			count := func() int {
				l.mu.Lock()
				defer l.mu.Unlock()
				return len(l.conns)
			}
			until(t, "what was sent is read", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				for c := range l.conns {
					return c.idle.Load() == (name == "silence")
				}
				return false
			})
			l.pass(c.seconds)
			until(t, "it is closed", func() bool { return count() == 0 })
		})
	}
}

// A flood that was told to go is not read to its end.
func TestLingeringHasABound(t *testing.T) {
	for name, flood := range map[string]string{
		"HTTP/1.1": "GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/2":   http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x01\x00\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := edge(t, nil)
			ours, theirs := net.Pipe() // it holds nothing: what was written was read
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l := newLane(h.(*server), ctx, ours.LocalAddr())
			conn := halfPipe{ours}
			l.wait.Go(func() { l.start(l.enter(conn), conn) })
			defer l.wait.Wait()
			defer theirs.Close()
			l.wait.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
			_, err := io.WriteString(theirs, flood)
			taken := 0
			for n := 0; err == nil && taken <= 2*lingerBytes; taken += n {
				n, err = theirs.Write(make([]byte, 1000))
			}
			if err == nil || taken < lingerBytes/2 {
				t.Errorf("%d bytes were taken, then %v", taken, err)
			}
		})
	}
}

// halfPipe is a pipe that can be ended on one side, as a socket can.
type halfPipe struct{ net.Conn }

func (halfPipe) CloseWrite() error { return nil }
