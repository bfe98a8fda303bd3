package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/simnet"
)

// seated is a connection that only has an address.
type seated struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (s *seated) RemoteAddr() net.Addr { return s.from }
func (s *seated) Close() error         { s.closed = true; return nil }

func from(address string) *seated {
	return &seated{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 4711))}
}

func TestSeatsOfOneAddress(t *testing.T) {
	g := NewGate(GateConfig{PerAddress: 2, Node: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.9") }})
	for _, test := range []struct {
		address string
		seats   int // of three that are asked for
	}{
		{"198.51.100.1", 2},
		{"198.51.100.2", 2},
		{"::ffff:198.51.100.2", 0}, // the same one
		{"2001:db8:0:1::1", 2},
		{"2001:db8:0:1:ffff::1", 0}, // the same customer's network
		{"2001:db8:0:2::1", 2},
		{"fe80::1%eth0", 2},
		{"127.0.0.1", 3}, // a proxy on this machine
		{"192.0.2.9", 3}, // a node of the pool
		{"::1", 3},
		{"2001:db8:0:1:eeee::1", 0},
		{"::ffff:127.0.0.1", 3},
		{"198.51.100.1", 0},         // still
		{"fe80::1:0:0:0:1%eth1", 2}, // another network
		{"fe80::2%eth7", 0},         // zones are no addresses
		{"2001:db8:0:2:1:2:3:4", 0},
		{"2001:db8:0:200:1:2:3:4", 2},
	} {
		got := 0
		for range 3 {
			if g.admit(from(test.address)) != nil {
				got++
			}
		}
		if got != test.seats {
			t.Errorf("%s got %d seats, want %d", test.address, got, test.seats)
		}
	}
}

func TestSeatIsGivenBackOnce(t *testing.T) {
	g := NewGate(GateConfig{Connections: 3, PerAddress: 1})
	first := g.admit(from("198.51.100.1"))
	if g.admit(from("198.51.100.1")) != nil {
		t.Fatal("two seats for one")
	}
	_ = first.Close()
	_ = first.Close()
	if g.admit(from("198.51.100.1")) == nil {
		t.Error("the seat was not given back")
	}
	if got := g.Snapshot(); got.Connections != 1 || len(g.byAddress) != 1 {
		t.Errorf("%+v, %d addresses", got, len(g.byAddress))
	}
}

// TestLastSeatsAreForNodes: who hangs on another relay hangs on this one too.
func TestLastSeatsAreForNodes(t *testing.T) {
	node := netip.MustParseAddr("192.0.2.9")
	g := NewGate(GateConfig{Connections: 64, Node: func(a netip.Addr) bool { return a == node }})
	seats := 0
	for g.admit(from("127.0.0.1")) != nil {
		seats++
	}
	if seats != 60 || g.admit(from(node.String())) == nil {
		t.Errorf("viewers have %d of 64 seats, and the node none", seats)
	}
}

func TestSeatsFollowTheDescriptorLimit(t *testing.T) {
	for limit, want := range map[int]int{64: 32, 1000: 744, 1024: 768, 20000: 17500, 1 << 20: DefaultConnections} {
		if got := NewGate(GateConfig{Descriptors: limit}).Snapshot().Seats; got != want {
			t.Errorf("of %d descriptors %d are seats, want %d", limit, got, want)
		}
	}
	if got := NewGate(GateConfig{Descriptors: 1000, Connections: 10}).Snapshot().Seats; got != 10 {
		t.Errorf("%d seats where 10 are configured", got)
	}
}

// TestLongestIdleMakesRoom fills a gate with connections in all states.
func TestLongestIdleMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Connections: 32, Descriptors: 1 << 20})
		var all []*seated
		sit := func() *seat {
			c := from("127.0.0.1")
			all = append(all, c)
			return g.admit(c)
		}
		for i := range 26 {
			s := sit()
			if i%2 == 0 {
				s.SetIdle(true)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(idlePatience)
		again := g.admit(from("127.0.0.1"))
		again.SetIdle(true)
		if s := g.Snapshot(); s.Purged != 0 {
			t.Fatalf("with free seats: %+v", s)
		}
		for range 10 {
			time.Sleep(purgeInterval)
			if sit() == nil {
				t.Fatal("no room was made")
			}
		}
		var closed []int
		for i, c := range all {
			if c.closed {
				closed = append(closed, i)
			}
		}
		if want := []int{0, 2, 4, 6, 8, 10}; len(closed) < 6 || fmt.Sprint(closed[:6]) != fmt.Sprint(want) || closed[len(closed)-1]%2 != 0 {
			t.Errorf("closed: %v", closed)
		}
		if again.conn.(*seated).closed {
			t.Error("one that has just become idle was closed")
		}
	})
}

// TestBusyAreNotPurged: nobody who watches has to go for one who comes.
func TestBusyAreNotPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Connections: 20, Descriptors: 1 << 20})
		for g.admit(from("127.0.0.1")) != nil {
		}
		time.Sleep(time.Hour)
		if g.admit(from("127.0.0.1")) != nil || g.Snapshot().Purged != 0 {
			t.Errorf("%+v", g.Snapshot())
		}
	})
}

// full serves one seat on an in-memory network, and it is taken.
func full(t *testing.T, g *Gate) (dial func() net.Conn, end func()) {
	network := simnet.New(simnet.Config{Delay: 20 * time.Millisecond})
	listener, err := network.Host("10.0.0.1").Listen("10.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	guarded := g.Guard(listener, false)
	server := &http.Server{ConnState: TrackState, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(guarded) }()
	dial = func() net.Conn {
		conn, err := network.Host("10.0.0.2").DialContext(t.Context(), "tcp", "10.0.0.1:8080")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := dial()
	time.Sleep(time.Second)
	return dial, func() {
		first.Close()
		server.Close()
		<-done
		time.Sleep(time.Second)
	}
}

// TestFullGateSaysSo holds the whole text of a refusal.
func TestFullGateSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elsewhere := ""
		log := &logged{}
		g := NewGate(GateConfig{Connections: 1, Logger: log.logger(), Elsewhere: func() string { return elsewhere }})
		dial, end := full(t, g)
		defer end()
		ask := func(request string) string {
			conn := dial()
			defer conn.Close()
			began := time.Now()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if took := time.Since(began); err != nil || took > 100*time.Millisecond {
				t.Errorf("%q: after %v: %v", request, took, err)
			}
			return string(answer)
		}
		const get = "GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
		answer := ask(fmt.Sprintf(get, "/theatre/index.m3u8"))
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		h := response.Header
		if response.StatusCode != 503 || h.Get("Cache-Control") != "no-store" || h.Get("Retry-After") == "" ||
			h.Get("Access-Control-Allow-Origin") != "*" || !response.Close || body != "this relay is full, try again\n" {
			t.Errorf("got %s\n%s", head, body)
		}

		elsewhere = "http://10.0.0.3:8080"
		for target, location := range map[string]string{
			"/theatre/index.m3u8":               "http://10.0.0.3:8080/theatre/index.m3u8?_sc_sent=1",
			"/~tok/theatre/index.m3u8?a=b":      "http://10.0.0.3:8080/~tok/theatre/index.m3u8?a=b&_sc_sent=1",
			"/theatre/index.m3u8?_sc_sent=1":    "",
			"//evil.example/theatre/index.m3u8": "",
			"/theatre/main/live.m3u8":           "",
			"/theatre/\x01/index.m3u8":          "",
		} {
			answer := ask(fmt.Sprintf(get, target))
			want := "HTTP/1.1 503 "
			if location != "" {
				want = "HTTP/1.1 307 "
			}
			if !strings.HasPrefix(answer, want) || !strings.Contains(answer, "there is another one at http://10.0.0.3:8080") ||
				location != "" && !strings.Contains(answer, "\r\nLocation: "+location+"\r\n") {
				t.Errorf("%q:\n%s", target, answer)
			}
		}
		if text := log.take(); strings.Count(text, "\n") != 1 || strings.Contains(text, "10.0.0.2") {
			t.Errorf("logged: %s", text)
		}
	})
}

// TestSilentOnesAreNotWaitedFor: who sends nothing, or half a request, does not
// keep the ones behind it from being told.
func TestSilentOnesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Connections: 1})
		dial, end := full(t, g)
		defer end()
		var silent []net.Conn
		for range maxRefusals - 1 {
			silent = append(silent, dial())
		}
		conn := dial()
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 503 ")) {
			t.Errorf("among silent ones: %q, %v", answer, err)
		}
		began := time.Now()
		for _, c := range silent {
			_, _ = c.Read(make([]byte, 1))
			c.Close()
		}
		if took := time.Since(began); took > refusalBound+100*time.Millisecond {
			t.Errorf("silent ones stay for %v", took)
		}
	})
}

// TestGuardedListenerEnds: what is being refused does not hold it up.
func TestGuardedListenerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateConfig{Connections: 1})
		dial, end := full(t, g)
		waiting := dial()
		defer waiting.Close()
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		end()
		if took := time.Since(began); took > time.Second { // end itself waits for a second
			t.Errorf("ended after %v", took)
		}
	})
}

// TestAdmittedConnectionIsTCP: what a server looks for on a socket is there.
func TestAdmittedConnectionIsTCP(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := NewGate(GateConfig{}).Guard(inner, false)
	defer listener.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(io.ReaderFrom); !ok {
		t.Error("no sendfile")
	}
	if _, ok := conn.(interface{ CloseWrite() error }); !ok {
		t.Error("no half close")
	}
	parts := net.Buffers{[]byte("one "), []byte("write\n")}
	if _, err := parts.WriteTo(conn); err != nil {
		t.Error(err)
	}
	line, err := bufio.NewReader(client).ReadString('\n')
	if err != nil || line != "one write\n" {
		t.Errorf("%q, %v", line, err)
	}
	listener.Close()
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func FuzzNewSession(f *testing.F) {
	f.Add([]byte("GET /theatre/index.m3u8?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET //evil/index.m3u8 HTTP/1.1\r\n"))
	f.Add([]byte("GET /a\\b/index.m3u8 HTTP/1.1\r\n"))
	f.Add([]byte("GET /a#/index.m3u8 HTTP/1.1\r\n"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	g := NewGate(GateConfig{Elsewhere: func() string { return "http://192.0.2.1:8080" }, Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, head []byte) {
		answer := g.fullAnswer(head)
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		defer response.Body.Close()
		if location, err := response.Location(); err == nil && (location.Host != "192.0.2.1:8080" || !strings.HasSuffix(location.Path, "/index.m3u8")) {
			t.Errorf("%q is sent to %s", head, location)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Error(err)
		}
	})
}
