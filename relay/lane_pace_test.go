package relay

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Who takes bodies fast may have more under way; not for ever, and not many.
func TestFastReaders(t *testing.T) {
	l, f, addr := laneOf(t)
	name := MediaName{Kind: SegmentMedia, Epoch: f.epoch, Number: 1}
	body := make([]byte, 1<<20)
	f.window.Put(name, body, time.Second)
	var conns []net.Conn
	for range fastMost + 5 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		fmt.Fprintf(conn, "GET /theatre/main/%s HTTP/1.1\r\nHost: a\r\n\r\n", name)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(body)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if fast := l.fast.Load(); fast == 0 || fast > fastMost {
		t.Errorf("%d connections are fast", fast)
	}
	for _, conn := range conns {
		conn.Close()
	}
	until(t, "none is fast", func() bool { return l.fast.Load() == 0 })
}

// A body that takes its time makes a fast connection a slow one.
func TestPaceIsOfTheLastBody(t *testing.T) {
	l := &lane{}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	c := &laneConn{lane: l}
	c.open(server)
	for _, step := range []struct {
		bytes int
		took  time.Duration
		fast  bool
	}{
		{1 << 20, time.Second, false},
		{1 << 20, 10 * time.Millisecond, true},
		{1 << 20, 10 * time.Millisecond, true},
		{1 << 20, 200 * time.Millisecond, false},
	} {
		c.pace(step.bytes, step.took)
		if want := map[bool]int64{true: 1}[step.fast]; c.fast != step.fast || l.fast.Load() != want {
			t.Errorf("%d bytes in %v: fast %v, %d in all", step.bytes, step.took, c.fast, l.fast.Load())
		}
	}
}

// Before the first large body a connection is trusted, once.
func TestTrust(t *testing.T) {
	l := &lane{}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	c := &laneConn{lane: l}
	c.open(server)
	if c.trust(unsentBytes); c.fast {
		t.Error("a body that is not large needs no trust")
	}
	if c.trust(unsentBytes + 1); !c.fast {
		t.Error("the first large body is not trusted")
	}
	c.pace(unsentBytes+1, time.Second)
	if c.trust(unsentBytes + 1); c.fast {
		t.Error("one who was slow is trusted again")
	}
}
