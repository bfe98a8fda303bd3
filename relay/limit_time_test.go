package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/simnet"
)

// TestTimeOuts holds when connections that bring nothing are closed, by
// cleartext and by TLS.
func TestTimeOuts(t *testing.T) {
	const list = "GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: live\r\n\r\n"
	for _, test := range []struct {
		name   string
		secure bool
		send   []string      // with a second between them
		closed time.Duration // after the last one
	}{
		{"silent", false, nil, headerBound},
		{"silent, TLS", true, nil, headerBound},
		{"half a handshake", true, []string{"\x16\x03\x01\x02\x00\x01"}, headerBound - time.Second},
		{"half a header", false, []string{"GET /healthz HTTP/1.1\r\nHost: l"}, headerBound - time.Second},
		{"a header that drips", false, []string{"GET /heal", "t", "h", "z "}, headerBound - 4*time.Second},
		{"one that net/http serves, half", false, []string{"OPTIONS /healthz HTTP/1.1\r\nHost: l"}, headerBound - time.Second},
		{"idle", false, []string{list}, idleBound},
		{"idle, net/http", false, []string{"GET /healthz HTTP/1.1\r\nHost: live\r\n\r\n"}, idleBound},
		{"half a second request", false, []string{list, "GET /the"}, headerBound},
		{"a body that does not come", false, []string{"GET /healthz HTTP/1.1\r\nHost: live\r\nContent-Length: 9\r\n\r\n"}, headerBound},
		{"idle, HTTP/2 without TLS", false, []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"}, idleBound},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial, _, end := timed(t, test.secure)
				defer end()
				conn := dial()
				defer conn.Close()
				for _, text := range test.send {
					time.Sleep(time.Second)
					if _, err := io.WriteString(conn, text); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				_ = conn.SetReadDeadline(began.Add(time.Hour))
				_, err := io.Copy(io.Discard, conn)
				took := time.Since(began)
				// A lane looks at its connections each tick; net/http lingers for
				// half a second when it closes.
				if took < test.closed-time.Second/2 || took > test.closed+2*time.Second {
					t.Errorf("closed after %v, want %v (%v)", took, test.closed, err)
				}
			})
		})
	}
}

// TestSlowReaders: who takes a byte a second of 16 MiB, four times what the
// network itself holds, is not waited for.
func TestSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, window, end := timed(t, false)
		defer end()
		const size = 16 << 20
		large := MediaName{Kind: Init, Epoch: 10, Number: 7}
		window.Put(large, make([]byte, size), 0)
		conn := dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /theatre/main/"+large.String()+" HTTP/1.1\r\nHost: live\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		bound := writePatience + size/minRate*time.Second
		var head []byte
		for one := make([]byte, 1); len(head) < int((bound+2*time.Second)/time.Second); head = append(head, one[0]) {
			if _, err := conn.Read(one); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
			t.Fatalf("answered %s", head)
		}
		rest, err := io.Copy(io.Discard, conn)
		if rest > size/2 {
			t.Errorf("%d of %d bytes were sent to one who reads a byte a second (%v)", rest, size, err)
		}
	})
}

// timed serves on a network in memory.
func timed(t *testing.T, secure bool) (dial func() net.Conn, window *Window, end func()) {
	network := simnet.New(simnet.Config{})
	listener, err := network.Host("10.0.0.1").Listen("10.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	guarded := NewGate(GateConfig{}).Guard(listener, secure)
	if secure {
		guarded = tls.NewListener(guarded, newCertified(t).open("secret", discard()).Config())
	}
	handler, f := edge(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { _ = Serve(ctx, guarded, NewHTTPServer(handler, discard())) })
	dial = func() net.Conn {
		conn, err := network.Host("10.0.0.2").DialContext(t.Context(), "tcp", "10.0.0.1:8080")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	return dial, f.window, func() {
		stop()
		serving.Wait()
		time.Sleep(time.Minute) // what serves a connection ends with it
	}
}
