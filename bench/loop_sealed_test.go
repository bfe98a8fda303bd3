package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// sealedLine is a line over TLS to a server whose answers are n bytes long for
// the path /n.
func sealedLine(t *testing.T) (*loop, *line) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &n)
		w.Header().Set("ETag", `"`+r.URL.Path[1:]+`"`)
		w.Header().Set("Content-Length", fmt.Sprint(n))
		_, _ = w.Write([]byte(strings.Repeat("x", n)))
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	address := netip.MustParseAddrPort(server.Listener.Addr().(*net.TCPAddr).String())
	l, err := newLoop(address.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.stop)
	c, err := l.dial(sourceAddress(0), address)
	if err == nil {
		err = c.secure()
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// Bodies of all sizes are counted to the byte without being read, and read
// where they are wanted.
func TestSealedLoop(t *testing.T) {
	l, c := sealedLine(t)
	sizes := []int{0, 1, 1500, 16 << 10, 16<<10 + 1, 125_000, 1_300_000, 3}
	var got []string
	var next func()
	next = func() {
		i := len(got)
		if i == 2*len(sizes) {
			return
		}
		size := sizes[i/2]
		c.get(fmt.Sprintf("/%d", size), func(string) bool { return i%2 == 1 }, func(a *answer) {
			got = append(got, fmt.Sprintf("%v %d %s %d %d", a.err, a.status, a.etag, a.size, len(a.body)))
			next()
		})
	}
	next()
	end := time.Now().Add(20 * time.Second)
	if err := l.run(t.Context(), func() bool { return len(got) == 2*len(sizes) || time.Now().After(end) }); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, size := range sizes {
		want = append(want, fmt.Sprintf("<nil> 200 \"%d\" %d 0", size, size), fmt.Sprintf("<nil> 200 \"%d\" %d %d", size, size, size))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What is no record, or more than was announced, ends the line with an error.
func TestSealedNonsense(t *testing.T) {
	for name, b := range map[string][]byte{
		"too long":   {recordData, 3, 3, 0xff, 0xff},
		"too short":  {recordData, 3, 3, 0, 1, 0},
		"not sealed": append([]byte{recordData, 3, 3, 0, 40}, make([]byte, 40)...),
	} {
		_, c := sealedLine(t)
		if err := c.takeSealed(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	_, c := sealedLine(t)
	c.left = 10
	if err := c.takeSealed(append([]byte{recordData, 3, 3, 0, 28}, make([]byte, 28)...)); err == nil {
		t.Error("a body may be longer than announced")
	}
}
