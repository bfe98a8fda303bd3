package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// h2Said is what a server says to a raw client, as short text: one line a
// frame, without its settings.
func (c *h2Raw) h2Said(t testing.TB, until string) string {
	t.Helper()
	var out strings.Builder
	for !strings.Contains(out.String(), until) {
		frame, err := c.ReadFrame()
		if err != nil {
			fmt.Fprintln(&out, "end")
			break
		}
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			fmt.Fprintf(&out, "%d headers\n", f.StreamID)
		case *http2.DataFrame:
			if f.StreamEnded() {
				fmt.Fprintf(&out, "%d body\n", f.StreamID)
			}
		case *http2.RSTStreamFrame:
			fmt.Fprintf(&out, "%d reset %v\n", f.StreamID, f.ErrCode)
		case *http2.GoAwayFrame:
			fmt.Fprintf(&out, "goaway %v\n", f.ErrCode)
		case *http2.PingFrame:
			fmt.Fprintln(&out, "pong")
		}
	}
	return out.String()
}

const h2List = "/theatre/main/live.m3u8"

// What RFC 9113 says of frames that should not be: a stream ends with its
// code, or the connection.
func TestH2Rules(t *testing.T) {
	h, _ := edge(t, nil)
	addr := startLane(t, h)
	raw := func(kind http2.FrameType, flags http2.Flags, id uint32, payload string) func(*h2Raw) {
		return func(c *h2Raw) { _ = c.WriteRawFrame(kind, flags, id, []byte(payload)) }
	}
	const whole = http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream
	for _, test := range []struct {
		name string
		do   func(c *h2Raw)
		want string
	}{
		{"ping", raw(http2.FramePing, 0, 0, "12345678"), "pong"},
		{"ping of 7 bytes", raw(http2.FramePing, 0, 0, "1234567"), "goaway FRAME_SIZE_ERROR"},
		{"ping on a stream", raw(http2.FramePing, 0, 1, "12345678"), "goaway PROTOCOL_ERROR"},
		{"frame too large", raw(http2.FrameData, 0, 1, strings.Repeat("x", 16<<10+1)), "goaway FRAME_SIZE_ERROR"},
		{"data on stream 0", raw(http2.FrameData, 0, 0, "x"), "goaway PROTOCOL_ERROR"},
		{"data on no stream", raw(http2.FrameData, 0, 1, "x"), "goaway PROTOCOL_ERROR"},
		{"data padded beyond its end", raw(http2.FrameData, http2.FlagDataPadded, 1, "\x09x"), "goaway PROTOCOL_ERROR"},
		{"data after the end", func(c *h2Raw) { _ = c.get(1, h2List); _ = c.WriteRawFrame(http2.FrameData, 0, 1, []byte("x")) }, "1 reset STREAM_CLOSED"},
		{"headers of stream 0", raw(http2.FrameHeaders, whole, 0, "\x82"), "goaway PROTOCOL_ERROR"},
		{"headers of an even stream", raw(http2.FrameHeaders, whole, 2, "\x82"), "goaway PROTOCOL_ERROR"},
		{"headers of an old stream", func(c *h2Raw) { _ = c.get(5, h2List); _ = c.get(3, h2List) }, "goaway PROTOCOL_ERROR"},
		{"headers padded beyond their end", raw(http2.FrameHeaders, whole|http2.FlagHeadersPadded, 1, "\xff\x82"), "goaway PROTOCOL_ERROR"},
		{"a block that is no HPACK", raw(http2.FrameHeaders, whole, 1, "\xff\xff\xff\xff\xff\xff\xff\xff"), "goaway COMPRESSION_ERROR"},
		{"a block cut short", raw(http2.FrameHeaders, whole, 1, "\x82\x40\x05ab"), "goaway COMPRESSION_ERROR"},
		{"no path", raw(http2.FrameHeaders, whole, 1, "\x82\x86"), "1 reset PROTOCOL_ERROR"},
		{"two methods", raw(http2.FrameHeaders, whole, 1, "\x82\x82\x86\x84"), "1 reset PROTOCOL_ERROR"},
		{"a status in a request", raw(http2.FrameHeaders, whole, 1, "\x82\x86\x84\x88"), "1 reset PROTOCOL_ERROR"},
		{"upper case", raw(http2.FrameHeaders, whole, 1, "\x82\x86\x84\x00\x01A\x01b"), "1 reset PROTOCOL_ERROR"},
		{"connection", raw(http2.FrameHeaders, whole, 1, "\x82\x86\x84\x00\x0aconnection\x01b"), "1 reset PROTOCOL_ERROR"},
		{"te", raw(http2.FrameHeaders, whole, 1, "\x82\x86\x84\x00\x02te\x01b"), "1 reset PROTOCOL_ERROR"},
		{"a newline in a value", raw(http2.FrameHeaders, whole, 1, "\x82\x86\x84\x00\x01a\x01\n"), "1 reset PROTOCOL_ERROR"},
		{"a path that is none", raw(http2.FrameHeaders, whole, 1, "\x82\x86\x04\x01x"), "1 reset PROTOCOL_ERROR"},
		{"continuation of nothing", raw(http2.FrameContinuation, 0, 1, "\x82"), "goaway PROTOCOL_ERROR"},
		{"another frame in a block", func(c *h2Raw) {
			raw(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, "\x82")(c)
			_ = c.WritePing(false, [8]byte{})
		}, "goaway PROTOCOL_ERROR"},
		{"push", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02"), "goaway PROTOCOL_ERROR"},
		{"reset of no stream", raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08"), "goaway PROTOCOL_ERROR"},
		{"reset of 3 bytes", raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x08"), "goaway FRAME_SIZE_ERROR"},
		{"window of no stream", raw(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x08"), "goaway PROTOCOL_ERROR"},
		{"window by 0", raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00"), "goaway PROTOCOL_ERROR"},
		{"window of a stream by 0", func(c *h2Raw) {
			_ = c.get(1, h2List)
			raw(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x00")(c)
		}, "1 reset PROTOCOL_ERROR"},
		{"window of an answered stream", func(c *h2Raw) {
			_ = c.get(1, h2List)
			raw(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x01")(c)
			_ = c.WritePing(false, [8]byte{})
		}, "pong"},
		{"window of a stream beyond its limit", func(c *h2Raw) {
			_ = c.get(1, h2List+"?_HLS_msn=1018")
			raw(http2.FrameWindowUpdate, 0, 1, "\x7f\xff\xff\xff")(c)
		}, "1 reset FLOW_CONTROL_ERROR"},
		{"settings on a stream", raw(http2.FrameSettings, 0, 1, ""), "goaway PROTOCOL_ERROR"},
		{"settings of 5 bytes", raw(http2.FrameSettings, 0, 0, "12345"), "goaway FRAME_SIZE_ERROR"},
		{"settings ack with settings", raw(http2.FrameSettings, http2.FlagSettingsAck, 0, "\x00\x01\x00\x00\x00\x00"), "goaway FRAME_SIZE_ERROR"},
		{"push enabled by 2", raw(http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x02"), "goaway PROTOCOL_ERROR"},
		{"initial window beyond its limit", raw(http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"), "goaway FLOW_CONTROL_ERROR"},
		{"frames too small", raw(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x00\x10"), "goaway PROTOCOL_ERROR"},
		{"a priority on itself", raw(http2.FramePriority, 0, 1, "\x00\x00\x00\x01\x10"), "1 reset PROTOCOL_ERROR"},
		{"a body that is not wanted", func(c *h2Raw) {
			raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\x83\x86\x84\x41\x01a")(c)
		}, "1 reset NO_ERROR"},
		{"a header list that is too large", func(c *h2Raw) {
			raw(http2.FrameHeaders, whole, 1, "\x82\x86\x84\x40\x01a\x7f\x81\x1e"+strings.Repeat("b", 0x7f+0x81-0x80+0x1e<<7)+strings.Repeat("\xbe", 9))(c)
		}, "1 body"},
		{"what nobody knows", func(c *h2Raw) {
			raw(0x77, 0xff, 7, "x")(c)
			_ = c.WritePing(false, [8]byte{})
		}, "pong"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialH2(t, addr)
			c.AllowIllegalWrites = true
			test.do(c)
			if got := c.h2Said(t, test.want); !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// A hundred reloads that are held on a connection do not keep media waiting;
// with the part all of them come; those that were reset don't.
func TestH2HeldReloadsBlockNothing(t *testing.T) {
	l, f, addr := laneOf(t)
	c := dialH2(t, addr)
	_ = c.WriteWindowUpdate(0, 1<<20)
	for i := range uint32(100) {
		_ = c.get(2*i+1, h2List+"?_HLS_msn=1017&_HLS_part=2")
	}
	_ = c.get(201, "/theatre/main/0000000a/1016.m4s")
	if got := c.h2Said(t, "201 body"); strings.Contains(got, "\n1 ") || !strings.Contains(got, "201 body") {
		t.Error(got)
	}
	until(t, "all are held", func() bool { holds, waiters := l.heldNow(); return holds == 1 && waiters == 100 })
	for i := range uint32(50) {
		_ = c.WriteRSTStream(4*i+1, http2.ErrCodeCancel)
	}
	until(t, "half of them have left", func() bool { _, waiters := l.heldNow(); return waiters == 50 })
	f.part()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	got := c.h2Said(t, "nothing")
	if n := strings.Count(got, "body"); n != 50 || strings.Contains(got, "\n5 ") {
		t.Errorf("%d answers: %s", n, got)
	}
}

// Who is gone, with all his streams, waits for nothing.
func TestH2LeaverEndsItsHolds(t *testing.T) {
	l, _, addr := laneOf(t)
	c := dialH2(t, addr)
	for i := range uint32(20) {
		_ = c.get(2*i+1, h2List+"?_HLS_msn=1017&_HLS_part=2")
	}
	until(t, "all are held", func() bool { _, waiters := l.heldNow(); return waiters == 20 })
	c.Close()
	until(t, "nobody is held", func() bool { holds, waiters := l.heldNow(); return holds+waiters == 0 })
	until(t, "no connection is left", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.conns) == 0 })
}

// A viewer whose table has no room hears that ours is empty, once.
func TestH2HeaderTableOfNoSize(t *testing.T) {
	h, _ := edge(t, nil)
	c := dialH2(t, startLane(t, h))
	_ = c.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	_ = c.get(1, h2List)
	_ = c.get(3, h2List)
	for first := true; ; {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := frame.(*http2.HeadersFrame); ok {
			if said := f.HeaderBlockFragment()[0] == 0x20; said != first {
				t.Errorf("stream %d begins with %#x", f.StreamID, f.HeaderBlockFragment()[0])
			}
			if !first {
				return
			}
			first = false
		}
	}
}

// pipeLane serves HTTP/2 on one end of a pipe and returns the other.
func pipeLane(t testing.TB, h http.Handler) (*lane, *h2Raw, context.CancelFunc) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	l := newLane(h.(*server), ctx, ours.LocalAddr())
	base := l.enter(ours)
	base.deadline.Store(0) // HTTP/2's own bounds are under test
	l.wait.Go(func() { l.serveH2(base) })
	return l, &h2Raw{Framer: http2.NewFramer(theirs, theirs), Conn: theirs}, cancel
}

// One who reads nothing, or not enough, is closed at the least rate; one who
// begins a frame and does not end it after five seconds; one who asks for
// nothing after 75 s. One who is held is not.
func TestH2Deadlines(t *testing.T) {
	for name, test := range map[string]struct {
		send   func(c *h2Raw)
		reads  bool
		closed time.Duration
	}{
		"rests":         {func(*h2Raw) {}, true, 76 * time.Second},
		"reads nothing": {func(c *h2Raw) { _ = c.get(1, h2List) }, false, 11 * time.Second},
		"widens no window": {func(c *h2Raw) {
			_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
			_ = c.get(1, h2List)
		}, true, 11 * time.Second},
		"half a frame": {func(c *h2Raw) { _, _ = c.Conn.Write([]byte{0, 0, 9, 1}) }, true, 6 * time.Second},
		"half a block": {func(c *h2Raw) { _ = c.WriteRawFrame(http2.FrameHeaders, 0, 1, []byte{0x82}) }, true, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := edge(t, nil)
				l, c, cancel := pipeLane(t, h)
				stop := make(chan struct{})
				l.wait.Go(func() {
					for {
						select {
						case <-time.After(tick):
							l.sweep()
						case <-stop:
							return
						}
					}
				})
				began := time.Now()
				gone := make(chan time.Duration, 1)
				go func() {
					_, _ = io.WriteString(c.Conn, http2.ClientPreface)
					newH2Raw(c)
					_ = c.WriteSettings()
					test.send(c)
				}()
				go func() {
					if test.reads {
						_, _ = io.Copy(io.Discard, c.Conn)
					} else {
						for open := 1; open > 0; {
							time.Sleep(tick)
							l.mu.Lock()
							open = len(l.conns)
							l.mu.Unlock()
						}
					}
					gone <- time.Since(began)
				}()
				if took := <-gone; took < test.closed-2*time.Second || took > test.closed+2*time.Second {
					t.Errorf("closed after %v, want %v", took, test.closed)
				}
				c.Close()
				close(stop)
				cancel()
				l.wait.Wait()
			})
		})
	}
}

// A node that ends says so, and ends what is held.
func TestH2Drain(t *testing.T) {
	h, _ := edge(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, listener, &http.Server{Handler: h}) }()
	c := dialH2(t, listener.Addr().String())
	_ = c.get(1, h2List)
	_ = c.get(3, h2List+"?_HLS_msn=1017&_HLS_part=2")
	_ = c.h2Said(t, "1 body")
	cancel()
	if got := c.h2Said(t, "end"); !strings.Contains(got, "goaway NO_ERROR") {
		t.Errorf("%q", got)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Whatever a viewer sends, the connection ends when he does, and nothing
// panics.
func FuzzH2(f *testing.F) {
	h := NewServer(ServerConfig{Store: NewStore(), Load: NewLoad(), Logger: discard()})
	var seed bytes.Buffer
	c := newH2Raw(&h2Raw{Framer: http2.NewFramer(&seed, nil)})
	c.AllowIllegalWrites = true
	_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	_ = c.get(1, "/theatre/main/live.m3u8")
	_ = c.get(3, "/healthz")
	_ = c.WriteWindowUpdate(0, 100)
	_ = c.WriteRSTStream(3, http2.ErrCodeCancel)
	_ = c.WriteData(1, true, []byte("x"))
	_ = c.WritePing(false, [8]byte{})
	_ = c.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	_ = c.WriteGoAway(1, http2.ErrCodeNo, nil)
	f.Add(seed.Bytes())
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x04\x00\x00\x00\x01\x82"))
	f.Fuzz(func(t *testing.T, frames []byte) {
		l, c, cancel := pipeLane(t, h)
		go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c.Conn, http2.ClientPreface)
		_, _ = c.Conn.Write(frames)
		c.Close()
		l.wait.Wait() // the fuzzer's own time-out is the test
		cancel()
	})
}
