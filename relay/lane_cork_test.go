package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// corkedPair is a TLS connection as a lane has it, and the one at its other
// end, both after the handshake.
func corkedPair(t *testing.T) (secure *tls.Conn, other net.Conn) {
	t.Helper()
	pair := httptest.NewTLSServer(nil)
	pair.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := NewTLSListener(inner, &tls.Config{Certificates: pair.TLS.Certificates})
	defer listener.Close()
	raw, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	secure = conn.(*tls.Conn)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); client.Close() })
	return secure, client
}

// Answers of all sizes arrive whole and in order, though nobody reads at first.
func TestCorkedSend(t *testing.T) {
	secure, other := corkedPair(t)
	below := corkedBelow(secure)
	if below == nil || below.brief == nil {
		t.Fatal("a TLS connection over a socket is not corked")
	}
	var sent bytes.Buffer
	type answer struct{ head, body []byte }
	var answers []answer
	for i, size := range []int{1, recordBytes - 1, recordBytes, recordBytes + 1, 2 * recordBytes, 125_000, 3_000_000, 1} {
		a := answer{bytes.Repeat([]byte{'h'}, 300*(i%2)), bytes.Repeat([]byte{byte('0' + i)}, size)}
		answers = append(answers, a)
		sent.Write(a.head)
		sent.Write(a.body)
	}
	wrote := make(chan error, 1)
	go func() {
		for _, a := range answers {
			if n, err := below.send(secure, a.head, a.body, len(a.body) <= corkMost); err != nil || n != len(a.head)+len(a.body) {
				t.Errorf("%d of %d bytes left: %v", n, len(a.head)+len(a.body), err)
			}
		}
		wrote <- secure.CloseWrite()
	}()
	time.Sleep(20 * time.Millisecond) // the kernel takes no more by then
	got, err := io.ReadAll(other)
	if err != nil || !bytes.Equal(got, sent.Bytes()) {
		t.Errorf("%d bytes of %d arrived: %v", len(got), sent.Len(), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// pieces writes what it is given in pieces.
type pieces struct {
	net.Conn
	random *rand.Rand
}

func (p pieces) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := b[n:min(len(b), n+1+p.random.IntN(60))]
		var some int
		some, err = p.Conn.Write(piece)
		n += some
		time.Sleep(time.Duration(p.random.IntN(200)) * time.Microsecond) // mostly read by itself
	}
	return n, err
}

// However requests over TLS are cut into records and these into packets, each
// gets its answer: also when several come at once, and one after a pause.
func TestSecureRequestsInPieces(t *testing.T) {
	h, _ := edge(t, nil)
	addr := startSecure(t, h)
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	random := rand.New(rand.NewPCG(1, 2))
	conn := tls.Client(pieces{raw, random}, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err := conn.Handshake(); err != nil { // here, for afterwards only one goroutine writes
		t.Fatal(err)
	}
	const requests = 120
	all := strings.Repeat("GET /theatre/index.m3u8 HTTP/1.1\r\nHost: a\r\n\r\nGET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", requests/2)
	wrote := make(chan error, 1)
	go func() {
		var err error
		for rest := all; rest != "" && err == nil; {
			n := min(len(rest), 1+random.IntN(200))
			_, err = io.WriteString(conn, rest[:n])
			rest = rest[n:]
		}
		wrote <- err
	}()
	r := bufio.NewReader(conn)
	for i := range requests {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || len(body) != []int{168, 3504}[i%2] {
			t.Fatalf("answer %d: %s, %d bytes, %v", i, response.Status, len(body), err)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// During turns a read does not wait, and what it has not found does not end TLS.
func TestTurnsReadOn(t *testing.T) {
	secure, other := corkedPair(t)
	var got []byte
	empty := 0
	b := make([]byte, 100)
	turned := make(chan error, 1)
	go func() {
		turned <- corkedBelow(secure).brief.turns(func() bool {
			for {
				n, err := secure.Read(b)
				got = append(got, b[:n]...)
				switch {
				case err == errNotYet:
					empty++
					return false
				case err != nil:
					return true
				}
			}
		})
	}()
	for _, text := range []string{"one", "two", strings.Repeat("3", 5000)} {
		_, _ = io.WriteString(other, text)
		time.Sleep(5 * time.Millisecond) // mostly a turn of its own
	}
	_ = other.Close()
	if err := <-turned; err != nil {
		t.Error(err)
	}
	if want := "onetwo" + strings.Repeat("3", 5000); string(got) != want || empty == 0 {
		t.Errorf("%d bytes of %d, %d times nothing", len(got), len(want), empty)
	}
}
