package relay

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// startLane serves a window's edge on a listener of its own, through a lane or,
// behind a wrapper, through net/http alone.
func startLane(t testing.TB, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Serve(ctx, listener, &http.Server{Handler: h, ReadHeaderTimeout: headPatience, Protocols: protocols})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return listener.Addr().String()
}

// wrapped hides a server from Serve.
func wrapped(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
}

// exchange sends raw bytes and returns all that comes back until the
// connection is quiet or closed.
func exchange(t testing.TB, addr, raw string, answers int) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	r := bufio.NewReader(conn)
	var out strings.Builder
	for range answers {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&out, "%v\n", err)
			break
		}
		body, err := io.ReadAll(resp.Body)
		resp.Header.Del("Date")
		fmt.Fprintln(&out, resp.Status, resp.Proto, resp.ContentLength, resp.Close, err)
		_ = resp.Header.Write(&out)
		out.Write(body)
	}
	return out.String()
}

// Every line of the golden table, over HTTP/1.1: what a lane answers is what
// net/http answers, to the header and byte.
func TestLaneAnswersAsNetHTTP(t *testing.T) {
	change := func(c *ServerConfig) {
		c.Player = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) })
	}
	h, _ := edge(t, change)
	ours, theirs := startLane(t, h), startLane(t, wrapped(h))
	table, err := os.ReadFile("testdata/answers.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range bytes.Lines(table) {
		if line[0] == ' ' {
			continue
		}
		lines++
		f := strings.SplitN(strings.TrimSpace(string(line)), " ", 3)
		raw := f[0] + " " + f[1] + " HTTP/1.1\r\nHost: a\r\n"
		if len(f) == 3 {
			raw += f[2] + "\r\n"
		}
		raw += "\r\n"
		if got, want := exchange(t, ours, raw, 1), exchange(t, theirs, raw, 1); got != want {
			t.Errorf("%sthe lane:\n%snet/http:\n%s", line, got, want)
		}
	}
	if lines < 30 {
		t.Errorf("the table has only %d requests", lines)
	}
}

// until waits for a state that another goroutine reaches.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !reached(); {
		if time.Now().After(end) {
			t.Fatal("not reached in 5 s: " + what)
		}
		time.Sleep(time.Millisecond)
	}
}

// laneOf serves an edge by a lane that the test can look into.
func laneOf(t *testing.T) (*lane, *feed, string) {
	t.Helper()
	h, f := edge(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := newLane(h.(*server), ctx, listener.Addr())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.run(ctx, listener)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l, f, listener.Addr().String()
}

func (l *lane) heldNow() (holds, waiters int) {
	l.holds.mu.Lock()
	defer l.holds.mu.Unlock()
	for _, one := range l.holds.byWhat {
		waiters += len(one.waiters)
	}
	return len(l.holds.byWhat), waiters
}

const blocked = "GET /theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=2 HTTP/1.1\r\nHost: a\r\n\r\n"

func TestHeldViewersShareOneWait(t *testing.T) {
	l, f, addr := laneOf(t)
	const viewers = 200
	lists := make(chan string)
	for range viewers {
		go func() { lists <- exchange(t, addr, blocked, 1) }()
	}
	until(t, "all are held", func() bool { holds, waiters := l.heldNow(); return holds == 1 && waiters == viewers })
	f.part()
	first := <-lists
	if !strings.HasPrefix(first, "200 OK") || !strings.Contains(first, "max-age=12") || !strings.Contains(first, "1017.2.m4s") {
		t.Error(first)
	}
	for range viewers - 1 {
		if list := <-lists; list != first {
			t.Fatal("another answer", list)
		}
	}
	until(t, "nobody is held", func() bool { holds, waiters := l.heldNow(); return holds+waiters == 0 })
}

func TestLeaverEndsItsHold(t *testing.T) {
	l, _, addr := laneOf(t)
	conns := make([]net.Conn, 10)
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, blocked)
		conns[i] = conn
	}
	until(t, "all are held", func() bool { _, waiters := l.heldNow(); return waiters == len(conns) })
	for _, conn := range conns {
		conn.Close()
	}
	until(t, "nobody is held", func() bool { holds, waiters := l.heldNow(); return holds+waiters == 0 })
	until(t, "no connection is left", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.conns) == 0
	})
}

// A request that is held, the part that comes next, and two that follow at
// once, sent as one: the answers come in this order.
func TestPipelinedBehindAHold(t *testing.T) {
	l, f, addr := laneOf(t)
	got := make(chan string)
	go func() {
		got <- exchange(t, addr, blocked+
			"GET /theatre/main/0000000a/1017.2.m4s HTTP/1.1\r\nHost: a\r\n\r\n"+
			"GET /theatre/main/0000000a/1017.3.m4s HTTP/1.1\r\nHost: a\r\n\r\n"+
			"GET /theatre/main/0000000a/1000.m4s HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3\r\n\r\n", 4)
	}()
	held := func() bool { _, waiters := l.heldNow(); return waiters == 1 }
	until(t, "the list is held", held)
	f.part()
	until(t, "the part is held", held)
	f.part()
	text := <-got
	at := 0
	for _, want := range []string{"max-age=12", "0000000a/1017.2.m4s;", "0000000a/1017.3.m4s;", "206 Partial Content"} {
		next := strings.Index(text[at:], want)
		if next < 0 {
			t.Fatalf("no %q behind %d in %q", want, at, text)
		}
		at += next
	}
}

// What may mean two things is refused, and nothing behind it is answered.
func TestAmbiguousRequestsEndTheConnection(t *testing.T) {
	_, _, addr := laneOf(t)
	for raw, v := range requests {
		if v != ambiguous {
			continue
		}
		got := exchange(t, addr, raw+"GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", 2)
		if !strings.HasPrefix(got, "400 Bad Request") || !strings.Contains(got, " 37 true") || strings.Contains(got, "#EXTM3U") {
			t.Errorf("%q: %s", raw, got)
		}
	}
}

// One who sends one request and closes its half gets the answer and is closed
// then; so does one who sends several at once.
func TestHalfClosed(t *testing.T) {
	_, _, addr := laneOf(t)
	for _, requests := range []int{1, 3} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(conn, strings.Repeat("GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", requests))
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		if got := strings.Count(string(all), "200 OK"); err != nil || got != requests {
			t.Errorf("%d answers to %d requests, %v", got, requests, err)
		}
	}
}
