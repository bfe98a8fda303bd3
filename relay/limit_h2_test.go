package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// secureEdge serves a filled window by TLS on a real socket, as a node does.
func secureEdge(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	files := newCertified(t)
	handler, _ := edge(t, nil)
	gate := NewGate(GateConfig{})
	secure := NewTLSListener(gate.Guard(listener, true), files.open("secret", discard()).Config())
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { _ = Serve(ctx, secure, NewHTTPServer(handler, discard())) })
	t.Cleanup(func() {
		stop()
		serving.Wait()
	})
	return listener.Addr().String()
}

// attacker speaks HTTP/2 frame by frame.
type attacker struct {
	*http2.Framer
	conn    net.Conn
	block   bytes.Buffer
	encoder *hpack.Encoder
	goneBy  chan string // how the server ended the connection, said once
	through chan string // a token when it has answered all that was sent
	reading sync.WaitGroup
}

func attack(t *testing.T, address string) *attacker {
	t.Helper()
	config := viewer()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	a := &attacker{Framer: http2.NewFramer(conn, conn), conn: conn, goneBy: make(chan string, 1), through: make(chan string, 1)}
	a.encoder = hpack.NewEncoder(&a.block)
	a.AllowIllegalWrites = true
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	a.reading.Go(a.read)
	t.Cleanup(func() {
		conn.Close()
		a.reading.Wait()
	})
	return a
}

// read takes what the server says, until it ends the connection.
func (a *attacker) read() {
	for {
		frame, err := a.ReadFrame()
		var stream http2.StreamError
		switch {
		case errors.As(err, &stream):
			continue
		case err != nil:
			a.goneBy <- "closing"
			return
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			a.goneBy <- fmt.Sprint("GOAWAY ", f.ErrCode)
			_, _ = io.Copy(io.Discard, a.conn)
			return
		case *http2.PingFrame:
			if f.Data == lastPing {
				a.through <- "nobody"
			}
		}
	}
}

// lastPing is answered when the server has come to the end of what was sent.
var lastPing = [8]byte{'t', 'h', 'e', ' ', 'e', 'n', 'd'}

// outcome says who ended the connection.
func (a *attacker) outcome(t *testing.T) string {
	t.Helper()
	_ = a.WritePing(false, lastPing) // fails when it has ended
	select {
	case by := <-a.goneBy:
		return by
	case by := <-a.through:
		return by
	case <-time.After(10 * time.Second):
		t.Error("the server neither answers nor ends the connection")
		return ""
	}
}

func (a *attacker) fields(path string, more ...string) []byte {
	a.block.Reset()
	all := append([]string{":method", "GET", ":scheme", "https", ":authority", testName, ":path", path}, more...)
	for i := 0; i < len(all); i += 2 {
		_ = a.encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return a.block.Bytes()
}

// request sends the header of a request on a stream.
func (a *attacker) request(stream uint32, path string) error {
	return a.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: a.fields(path), EndStream: true, EndHeaders: true})
}

// held is a list that comes when nobody waits any more.
const held = "/theatre/main/live.m3u8?_HLS_msn=1018"

// attacks go on until the server ends the connection or all was sent.
var attacks = []struct {
	name string
	run  func(a *attacker) error
	ends bool // the server must end the connection
}{
	{"rapid reset of held requests", func(a *attacker) error {
		return repeat(30_000, func(i int) error {
			stream := uint32(2*i + 1)
			return errors.Join(a.request(stream, held), a.WriteRSTStream(stream, http2.ErrCodeCancel))
		})
	}, true},
	{"rapid reset of media", func(a *attacker) error {
		return repeat(30_000, func(i int) error {
			stream := uint32(2*i + 1)
			return errors.Join(a.request(stream, "/theatre/main/0000000a/1010.m4s"), a.WriteRSTStream(stream, http2.ErrCodeCancel))
		})
	}, true},
	{"more held requests than there are streams", func(a *attacker) error {
		return repeat(20_000, func(i int) error { return a.request(uint32(2*i+1), held) })
	}, false},
	{"CONTINUATION flood", func(a *attacker) error {
		first := http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.fields(held), EndStream: true}
		if err := a.WriteHeaders(first); err != nil {
			return err
		}
		a.block.Reset()
		for a.block.Len() < 15_000 {
			_ = a.encoder.WriteField(hpack.HeaderField{Name: "x-filler", Value: "y", Sensitive: true})
		}
		return repeat(20_000, func(int) error { return a.WriteContinuation(1, false, a.block.Bytes()) })
	}, true},
	// It costs the attacker as much as the server: it is only not to hurt others.
	{"empty CONTINUATION flood", func(a *attacker) error {
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.fields(held), EndStream: true}); err != nil {
			return err
		}
		return repeat(50_000, func(int) error { return a.WriteContinuation(1, false, nil) })
	}, false},
	{"100,000 trailer fields", func(a *attacker) error {
		more := make([]string, 0, 200_000)
		for range 100_000 {
			more = append(more, "trailer", "x")
		}
		block := slices.Clone(a.fields(held, more...))
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1000], EndStream: true}); err != nil {
			return err
		}
		for rest := block[1000:]; len(rest) > 0; {
			n := min(len(rest), 16_000)
			if err := a.WriteContinuation(1, n == len(rest), rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}, true},
	{"table size toggled", func(a *attacker) error {
		return repeat(100_000, func(i int) error {
			return a.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i%2) * 4096})
		})
	}, true},
	{"PING flood", func(a *attacker) error {
		return repeat(100_000, func(int) error { return a.WritePing(false, [8]byte{}) })
	}, true},
	{"window updates", func(a *attacker) error {
		return repeat(200_000, func(int) error { return a.WriteWindowUpdate(0, 1) })
	}, true},
	{"window beyond its limit", func(a *attacker) error {
		return repeat(3, func(int) error { return a.WriteWindowUpdate(0, 1<<31-1) })
	}, true},
	{"data for no stream", func(a *attacker) error {
		return repeat(10, func(int) error { return a.WriteRawFrame(http2.FrameData, 0, 0, make([]byte, 100)) })
	}, true},
	{"a block that is no HPACK", func(a *attacker) error {
		return a.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, bytes.Repeat([]byte{0xff}, 100))
	}, true},
}

func repeat(n int, do func(i int) error) error {
	if testing.Short() {
		n = min(n, 10_000)
	}
	for i := range n {
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// TestHTTP2Attacks attacks a real listener while a viewer asks it for lists.
func TestHTTP2Attacks(t *testing.T) {
	address := secureEdge(t)
	v := newWatching(t, address)
	v.during(t, "nothing", func() { v.atLeast(300) })
	for _, test := range attacks {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			ended := ""
			a := attack(t, address)
			v.during(t, test.name, func() {
				over := time.AfterFunc(20*time.Second, func() { a.conn.Close() })
				defer over.Stop()
				_ = test.run(a) // its error is that the connection has ended
				ended = a.outcome(t)
			})
			runtime.ReadMemStats(&after)
			t.Logf("the connection was ended by %s", ended)
			if test.ends && ended == "nobody" {
				t.Error("the server goes on with such a connection")
			}
			if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
				t.Errorf("memory grew by %d MB", grown>>20)
			}
		})
	}
}

// watching is a viewer who asks for the list again and again.
type watching struct {
	client *http.Client
	url    string
	asked  atomic.Int64
}

func newWatching(t *testing.T, address string) *watching {
	transport := &http.Transport{TLSClientConfig: viewer(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &watching{client: &http.Client{Transport: transport}, url: "https://" + address + "/theatre/main/live.m3u8"}
}

// tolerable is how late an answer may be while others do their worst, on a
// machine that also runs those others.
const tolerable = 2 * time.Second

// during asks while something happens, and holds that all answers are good.
func (v *watching) during(t *testing.T, what string, happens func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	var took []time.Duration
	asking.Go(func() {
		for len(took) == 0 || ctx.Err() == nil {
			began := time.Now()
			if err := v.ask(); err != nil {
				t.Errorf("the viewer: %v", err)
				return
			}
			took = append(took, time.Since(began))
		}
	})
	happens()
	stop()
	asking.Wait()
	slices.Sort(took)
	if len(took) == 0 {
		return // and said why
	}
	p99 := took[len(took)*99/100]
	t.Logf("%s: %d answers to the viewer, p99 %v, last %v", what, len(took), p99.Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
	if took[len(took)-1] > tolerable {
		t.Errorf("the viewer waited for %v", took[len(took)-1])
	}
}

func (v *watching) ask() error {
	response, err := v.client.Get(v.url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	v.asked.Add(1)
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s, %w", response.Status, err)
	}
	return nil
}

// atLeast waits until so many were answered.
func (v *watching) atLeast(n int64) {
	for until := v.asked.Load() + n; v.asked.Load() < until; {
		runtime.Gosched()
	}
}
