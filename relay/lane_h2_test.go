package relay

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Client speaks HTTP/2 by prior knowledge over one connection.
func h2Client(t testing.TB) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask returns an answer as text.
func ask(t testing.TB, c *http.Client, method, url, header string) string {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if name, value, ok := strings.Cut(header, ":"); ok {
		r.Header.Set(name, value)
	}
	resp, err := c.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	resp.Header.Del("Date")
	var out strings.Builder
	fmt.Fprintln(&out, resp.Status, resp.Proto, resp.ContentLength, err)
	_ = resp.Header.Write(&out)
	out.Write(body)
	return out.String()
}

// Every line of the golden table, over HTTP/2: what a lane answers is what
// net/http answers.
func TestH2LaneAnswersAsNetHTTP(t *testing.T) {
	h, _ := edge(t, func(c *ServerConfig) {
		c.Player = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "page ", r.URL.Path)
			if strings.HasPrefix(r.URL.Path, "/~") { // a long answer, in pieces
				_ = http.NewResponseController(w).Flush()
				w.Write(bytes.Repeat([]byte("0123456789abcdef"), 10<<10))
			}
		})
	})
	ours, theirs := startLane(t, h), startLane(t, wrapped(h))
	client := h2Client(t)
	table, err := os.ReadFile("testdata/answers.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(table) {
		if line[0] == ' ' {
			continue
		}
		f := strings.SplitN(strings.TrimSpace(string(line))+" ", " ", 3)
		header := strings.TrimSpace(f[2])
		got, want := ask(t, client, f[0], "http://"+ours+f[1], header), ask(t, client, f[0], "http://"+theirs+f[1], header)
		if strings.ReplaceAll(got, ours, theirs) != want || !strings.Contains(got, "HTTP/2.0") {
			t.Errorf("%sthe lane:\n%.900s\nnet/http:\n%.900s", line, got, want)
		}
	}
}

func TestSecureLaneSpeaksBoth(t *testing.T) {
	h, f := edge(t, nil)
	addr := startSecure(t, h)
	for _, protocol := range []string{"h2", "http/1.1"} {
		transport := &http.Transport{ForceAttemptHTTP2: protocol == "h2", DisableCompression: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{protocol},
		}}
		client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
		base := "https://" + addr
		got := make(chan string)
		msn, part := f.list.OpenSequence(), len(f.list.Open.Parts)
		go func() {
			got <- ask(t, client, "GET", fmt.Sprintf("%s/theatre/main/live.m3u8?_HLS_msn=%d&_HLS_part=%d", base, msn, part), "")
		}()
		if text := ask(t, client, "GET", base+"/theatre/main/0000000a/1016.m4s", ""); !strings.HasPrefix(text, "200") {
			t.Error(protocol, text)
		}
		if text := ask(t, client, "GET", base+"/healthz", ""); !strings.HasSuffix(text, "ok\n") {
			t.Error(protocol, text)
		}
		f.part()
		if text := <-got; !strings.Contains(text, fmt.Sprintf("%d.%d.m4s", msn, part)) {
			t.Error(protocol, text)
		}
		transport.CloseIdleConnections()
	}
}

// h2Raw is a client that sends the frames it wants to.
type h2Raw struct {
	*http2.Framer
	net.Conn
	block bytes.Buffer
	coder *hpack.Encoder
}

func dialH2(t testing.TB, addr string) *h2Raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	c := newH2Raw(&h2Raw{Framer: http2.NewFramer(conn, conn), Conn: conn})
	_ = c.WriteSettings()
	return c
}

func newH2Raw(c *h2Raw) *h2Raw {
	c.coder = hpack.NewEncoder(&c.block)
	return c
}

// get begins a GET.
func (c *h2Raw) get(id uint32, path string, fields ...[2]string) error {
	c.block.Reset()
	for _, f := range append([][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", path}}, fields...) {
		_ = c.coder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true})
}

// goAway reads until the server ends the connection, and returns why.
func (c *h2Raw) goAway() (http2.ErrCode, error) {
	code := http2.ErrCodeNo
	for {
		frame, err := c.ReadFrame()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return code, err
		case err != nil:
			return code, nil
		}
		if f, ok := frame.(*http2.GoAwayFrame); ok {
			code = f.ErrCode
		}
	}
}

func TestH2FloodsEndTheConnection(t *testing.T) {
	h, _ := edge(t, nil)
	addr := startLane(t, h)
	held := "/theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=2"
	for name, flood := range map[string]func(c *h2Raw, i uint32) error{
		"rapid reset": func(c *h2Raw, i uint32) error {
			return errors.Join(c.get(2*i+1, held), c.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		},
		"ping":            func(c *h2Raw, i uint32) error { return c.WritePing(false, [8]byte{}) },
		"settings":        func(c *h2Raw, i uint32) error { return c.WriteSettings(http2.Setting{ID: 1, Val: i % 2 * 4096}) },
		"priority":        func(c *h2Raw, i uint32) error { return c.WritePriority(1, http2.PriorityParam{Weight: 1}) },
		"window update":   func(c *h2Raw, i uint32) error { return c.WriteWindowUpdate(0, 1) },
		"window overflow": func(c *h2Raw, i uint32) error { return c.WriteWindowUpdate(0, 1<<31-1) },
		"continuation": func(c *h2Raw, i uint32) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true})
			}
			return c.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 1000))
		},
		"unknown": func(c *h2Raw, i uint32) error { return c.WriteRawFrame(99, 0, 0, nil) },
		"push":    func(c *h2Raw, i uint32) error { return c.WriteRawFrame(5, 4, 1, make([]byte, 4)) },
		"empty data": func(c *h2Raw, i uint32) error {
			if i == 0 {
				return c.get(1, held)
			}
			return c.WriteRawFrame(0, 0, 1, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dialH2(t, addr)
			c.AllowIllegalWrites = true
			go func() {
				for i := range uint32(100_000) {
					if flood(c, i) != nil {
						return
					}
				}
			}()
			if code, err := c.goAway(); err != nil {
				t.Errorf("%v, %v", code, err)
			}
		})
	}
}

// Behind a proxy, viewers and nodes share a connection. As many requests of
// viewers as may be held by handlers do not keep a node waiting, however many
// lists and parts it waits for itself.
func TestH2NodesFindRoomBesideViewers(t *testing.T) {
	_, f, addr := laneOf(t)
	c := dialH2(t, addr)
	_ = c.WriteWindowUpdate(0, 1<<20)
	const held = "/theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=2"
	r := httptest.NewRequest("GET", "/", nil)
	NewCredential([]byte("secret")).Authorize(r)
	viewer, node := [2]string{"authorization", "Basic eDp5"}, [2]string{"authorization", r.Header.Get("Authorization")}
	id := uint32(1)
	next := func(path string, who [2]string) string {
		_ = c.get(id, path, who)
		id += 2
		return fmt.Sprintf("%d ", id-2)
	}
	for range h2Handlers {
		next(held, viewer)
	}
	refused := next(held, viewer) + "reset REFUSED_STREAM"
	if got := c.h2Said(t, refused); got != refused+"\n" {
		t.Errorf("one viewer too many: %q", got)
	}
	for range h2Streams - h2Handlers - 1 {
		next(held, node)
	}
	list := next("/theatre/main/live.m3u8", node) + "body"
	if got := c.h2Said(t, list); !strings.HasSuffix(got, list+"\n") || strings.Contains(got, "reset") {
		t.Errorf("a node's request beside them: %q", got)
	}
	f.part()
	for n := 0; n < h2Streams-1; n++ {
		if got := c.h2Said(t, "body"); !strings.Contains(got, "body") {
			t.Fatalf("of %d who waited %d are answered: %q", h2Streams-1, n, got)
		}
	}
}

// A client that lets little through at a time gets all of it, in its order.
func TestH2FlowControl(t *testing.T) {
	h, _ := edge(t, nil)
	c := dialH2(t, startLane(t, h))
	_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7})
	_ = c.get(1, "/theatre/main/live.m3u8")
	_ = c.get(3, "/theatre/main/0000000a/1016.m4s")
	got, ended := map[uint32]string{}, 0
	for ended < 2 {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		f, ok := frame.(*http2.DataFrame)
		if !ok {
			continue
		}
		if got[f.StreamID] += string(f.Data()); len(f.Data()) > 7 {
			t.Fatalf("%d bytes where 7 were allowed", len(f.Data()))
		}
		if f.StreamEnded() {
			ended++
			continue
		}
		_ = c.WriteWindowUpdate(f.StreamID, uint32(len(f.Data())))
	}
	if len(got[3]) != 100 || !strings.HasSuffix(got[1], "\n") || !strings.HasPrefix(got[1], "#EXTM3U") {
		t.Errorf("%v", got)
	}
}
