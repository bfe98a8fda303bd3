package relay

import (
	"fmt"
	"net"
	"testing"
	"time"
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
