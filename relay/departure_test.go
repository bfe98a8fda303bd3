package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// leaver serves a node that may leave, by the lane or by net/http alone, and
// returns its address. Cancel ends it.
func leaver(t *testing.T, byLane bool, others string) (d *Departure, f *feed, addr string, end func()) {
	t.Helper()
	d = new(Departure)
	h, f := edge(t, func(c *ServerConfig) {
		c.Departure = d
		c.Elsewhere = func() string { return others }
	})
	if !byLane {
		h = wrapped(h)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Serve(ctx, listener, NewHTTPServer(h, discard()))
	}()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return d, f, listener.Addr().String(), end
}

// everyWay runs a test over HTTP/1.1 and HTTP/2, by the lane and by net/http.
func everyWay(t *testing.T, test func(t *testing.T, byLane bool, client func() *http.Client)) {
	for name, byLane := range map[string]bool{"lane": true, "net/http": false} {
		t.Run(name+" HTTP/1.1", func(t *testing.T) { test(t, byLane, func() *http.Client { return h1Client(t) }) })
		t.Run(name+" HTTP/2", func(t *testing.T) { test(t, byLane, func() *http.Client { return h2Client(t) }) })
	}
}

func h1Client(t testing.TB) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const (
	leaveIndex = "/theatre/index.m3u8"
	leaveList  = "/theatre/main/live.m3u8"
	leaveMedia = "/theatre/main/0000000a/1016.m4s"
)

// What a node answers in each stage, to new sessions and to those who watch.
func TestDepartureAnswers(t *testing.T) {
	everyWay(t, func(t *testing.T, byLane bool, client func() *http.Client) {
		for _, test := range []struct {
			stage  Stage
			others string
			want   string // of the multivariant playlist, of one that was sent here, of a list, of media
		}{
			{Staying, "http://b", "200 200 200 200"},
			{Draining, "http://b", "307 200 200 200"},
			{Draining, "", "200 200 200 200"},
			{Retiring, "http://b", "307 200 200 200"},
			{Parting, "http://b", "307 503 503 200"},
			{Parting, "", "503 503 503 200"},
		} {
			d, _, addr, end := leaver(t, byLane, test.others)
			d.Enter(test.stage)
			c := client()
			var got []string
			for _, path := range []string{leaveIndex + "?a=b", leaveIndex + "?_sc_sent=1", leaveList, leaveMedia} {
				text := ask(t, c, http.MethodGet, "http://"+addr+path, "")
				status, _, _ := strings.Cut(text, " ")
				got = append(got, status)
				if status == "503" && !(strings.Contains(text, "no-store") && strings.Contains(text, "Retry-After")) {
					t.Errorf("stage %d: %s", test.stage, text)
				}
				if status == "307" && !strings.Contains(text, "Location: http://b"+leaveIndex+"?a=b&_sc_sent=1") {
					t.Errorf("stage %d: %s", test.stage, text)
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("stage %d, others %q: %v, want %s", test.stage, test.others, got, test.want)
			}
			end()
		}
	})
}

// line is an HTTP/1.1 connection that shows whether it was said to be the end.
type line struct {
	net.Conn
	in *bufio.Reader
}

func dialLine(t testing.TB, addr string) *line {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &line{conn, bufio.NewReader(conn)}
}

// get returns the status, "close" behind it if the connection ends with it.
func (l *line) get(path string) (string, error) {
	if _, err := fmt.Fprintf(l, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		return "", err
	}
	return l.answer()
}

func (l *line) answer() (string, error) {
	response, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, response.Body)
	text := fmt.Sprint(response.StatusCode)
	if response.Close {
		text += " close"
	}
	return text, err
}

// Connections of before the stage end with their next answer, later ones stay;
// who asks for a session always ends; and all is over when the node stays.
func TestDepartureEndsConnections(t *testing.T) {
	for name, byLane := range map[string]bool{"lane": true, "net/http": false} {
		t.Run(name, func(t *testing.T) {
			d, _, addr, _ := leaver(t, byLane, "")
			expect := func(l *line, path, want string) {
				t.Helper()
				if got, err := l.get(path); got != want {
					t.Errorf("%s: %q, %v, want %q", path, got, err, want)
				}
			}
			old, other, session := dialLine(t, addr), dialLine(t, addr), dialLine(t, addr)
			expect(old, leaveList, "200")
			expect(other, leaveMedia, "200")
			expect(session, leaveList, "200")
			d.Enter(Draining)
			expect(old, leaveMedia, "200")
			expect(session, leaveIndex, "200 close")
			d.Enter(Retiring)
			old.soon(t, leaveMedia, "200", "200 close")
			other.soon(t, leaveList, "200", "200 close")
			if _, err := old.in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Error("the connection goes on:", err)
			}
			late := dialLine(t, addr)
			expect(late, leaveList, "200")
			expect(late, leaveMedia, "200")
			d.Enter(Parting)
			late.soon(t, leaveList, "503", "503 close")
			d.Enter(Staying)
			back := dialLine(t, addr)
			expect(back, leaveIndex, "200")
			expect(back, leaveList, "200")
		})
	}
}

// soon asks until it gets what is wanted, and until then something else: a lane
// tells its connections of a stage a moment later.
func (l *line) soon(t *testing.T, path, until, want string) {
	t.Helper()
	for range 1000 {
		got, err := l.get(path)
		switch {
		case err == nil && got == want:
			return
		case err != nil || got != until:
			t.Fatalf("%s: %q, %v, want %q", path, got, err, want)
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s: %q for ever, want %q", path, until, want)
}

// Over HTTP/2 a request on its way when the end is announced is answered; then
// the real end is said, and the connection closed.
func TestDepartureGoAway(t *testing.T) {
	d, _, addr, _ := leaver(t, true, "")
	c := dialH2(t, addr)
	_ = c.get(1, leaveList)
	_ = c.h2Said(t, "1 body")
	d.Enter(Retiring)
	var last []uint32
	answered := false
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			if last = append(last, f.LastStreamID); len(last) == 1 {
				_ = c.get(3, leaveMedia)
			}
		case *http2.DataFrame:
			answered = answered || f.StreamID == 3 && f.StreamEnded()
		}
	}
	if len(last) != 2 || last[0] != 1<<31-1 || last[1] != 3 || !answered {
		t.Errorf("GOAWAY named the streams %v; the one between was answered: %v", last, answered)
	}
}

// What is held when a node ends is answered, so that the player goes elsewhere
// at once.
func TestHeldAtTheEndGets503(t *testing.T) {
	everyWay(t, func(t *testing.T, byLane bool, client func() *http.Client) {
		_, _, addr, end := leaver(t, byLane, "")
		c := client()
		_ = ask(t, c, http.MethodGet, "http://"+addr+leaveList, "") // connected
		got := make(chan string, 2)
		for _, path := range []string{leaveList + "?_HLS_msn=1017&_HLS_part=2", "/theatre/main/0000000a/1017.2.m4s"} {
			go func() { got <- ask(t, c, http.MethodGet, "http://"+addr+path, "") }()
		}
		time.Sleep(300 * time.Millisecond) // both are held; one that is not would be refused
		end()
		for range 2 {
			if text := <-got; !strings.HasPrefix(text, "503") || !strings.Contains(text, "this node leaves") {
				t.Error(text)
			}
		}
	})
}

// Twenty who ask without a pause, each over a connection that it uses as long
// as it may, lose nothing when all connections are told to end.
func TestRetiringLosesNoRequest(t *testing.T) {
	for name, byLane := range map[string]bool{"lane": true, "net/http": false} {
		t.Run(name, func(t *testing.T) {
			d, _, addr, _ := leaver(t, byLane, "")
			var busy sync.WaitGroup
			var asked, ended [20]int
			stop := make(chan struct{})
			for i := range asked {
				busy.Go(func() {
					l := dialLine(t, addr)
					for {
						select {
						case <-stop:
							return
						default:
						}
						status, err := l.get([]string{leaveList, leaveMedia}[asked[i]%2])
						asked[i]++
						switch {
						case err != nil || !strings.HasPrefix(status, "200"):
							t.Errorf("request %d: %s, %v", asked[i], status, err)
							return
						case strings.HasSuffix(status, "close"):
							ended[i]++
							l = dialLine(t, addr)
						}
					}
				})
			}
			for range 3 {
				time.Sleep(50 * time.Millisecond)
				d.Enter(Retiring)
			}
			time.Sleep(50 * time.Millisecond)
			close(stop)
			busy.Wait()
			for i, n := range ended {
				if n < 1 || asked[i] < 4 {
					t.Errorf("viewer %d asked %d times over %d connections", i, asked[i], n+1)
				}
			}
		})
	}
}
