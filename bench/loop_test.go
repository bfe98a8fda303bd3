package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestParseHead(t *testing.T) {
	for _, c := range []struct {
		head string
		want answer
		bad  bool
	}{
		{head: "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nEtag: \"a\"\r\nContent-Encoding: gzip", want: answer{status: 200, etag: `"a"`, gzip: true, size: 12}},
		{head: "HTTP/1.1 404 Not Found\r\ncontent-length:0", want: answer{status: 404}},
		{head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", bad: true},
		{head: "HTTP/1.1 200 OK\r\nContent-Length: -1", bad: true},
		{head: "HTTP/1.0 200 OK\r\nContent-Length: 1", bad: true},
		{head: "nonsense", bad: true},
	} {
		var a answer
		err := a.parseHead([]byte(c.head))
		if (err != nil) != c.bad {
			t.Errorf("%q: %v", c.head, err)
		}
		if !c.bad && (a.status != c.want.status || a.etag != c.want.etag || a.gzip != c.want.gzip || a.size != c.want.size) {
			t.Errorf("%q: got %+v, want %+v", c.head, a, c.want)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nEtag: \"a\"\r\nContent-Encoding: gzip"))
	f.Add([]byte("HTTP/1.1 200\r\n:\r\n\r\nContent-Length"))
	f.Fuzz(func(t *testing.T, head []byte) {
		var a answer
		if err := a.parseHead(head); err == nil && (a.size < 0 || a.status < 0) {
			t.Errorf("%q: taken as %+v", head, a)
		}
	})
}

// Bodies that are wanted come whole, others are counted, and a connection that
// breaks is told.
func TestLoop(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		body := strings.Repeat("0123456789", 100_000)
		w.Header().Set("ETag", `"big"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().(*net.TCPAddr).String())
	l, err := newLoop(address.String(), browserFields)
	if err != nil {
		t.Fatal(err)
	}
	defer l.stop()
	c, err := l.dial(sourceAddress(0), address)
	if err != nil {
		t.Fatal(err)
	}
	var sizes, kept []int
	var broken error
	c.get("/big", always, func(a *answer) {
		sizes, kept = append(sizes, a.size), append(kept, len(a.body))
		c.get("/big", func(etag string) bool { return etag != `"big"` }, func(a *answer) {
			sizes, kept = append(sizes, a.size), append(kept, len(a.body))
			c.get("/broken", nil, func(a *answer) { broken = a.err })
		})
	})
	deadline := time.Now().Add(10 * time.Second)
	if err := l.run(t.Context(), func() bool { return broken != nil || time.Now().After(deadline) }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(sizes, kept) != "[1000000 1000000] [1000000 0]" || broken == nil {
		t.Errorf("sizes %v, kept %v, then %v", sizes, kept, broken)
	}
}

func TestTimers(t *testing.T) {
	var all timers
	var done []int
	now := time.Unix(1000, 0)
	for _, ms := range []int{30, 10, 20} {
		all.add(now.Add(time.Duration(ms)*time.Millisecond), func() { done = append(done, ms) })
	}
	if wait := all.wait(now); wait != 10 {
		t.Errorf("waits %d ms, want 10", wait)
	}
	all.fire(now.Add(25 * time.Millisecond))
	if fmt.Sprint(done) != "[10 20]" {
		t.Errorf("did %v", done)
	}
}
