package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// briefPair is a brief connection and the one at its other end.
func briefPair(t *testing.T) (brief, other net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if other, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	brief = newBriefConn(conn)
	if _, ok := brief.(*briefConn); !ok {
		t.Fatalf("a socket is a %T", brief)
	}
	t.Cleanup(func() { brief.Close(); other.Close() })
	return brief, other
}

// Short and long writes arrive whole and in order, though nobody reads at first.
func TestBriefWrites(t *testing.T) {
	brief, other := briefPair(t)
	var sent []byte
	for i := range 2000 {
		sent = append(sent, bytes.Repeat([]byte{byte(i)}, 1+i*i%(2*briefBytes))...)
	}
	wrote := make(chan error, 1)
	go func() {
		at := 0
		for i := range 2000 {
			n, err := brief.Write(sent[at : at+1+i*i%(2*briefBytes)])
			if at += n; err != nil {
				wrote <- err
				return
			}
		}
		wrote <- brief.Close()
	}()
	time.Sleep(20 * time.Millisecond) // the kernel takes no more by then
	got, err := io.ReadAll(other)
	if err := errors.Join(err, <-wrote); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
}

// Reads end as those of any connection: with bytes, by a deadline, at the end.
func TestBriefReads(t *testing.T) {
	brief, other := briefPair(t)
	b := make([]byte, 10)
	_ = brief.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := brief.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = brief.SetReadDeadline(time.Time{})
	_, _ = other.Write([]byte("hello"))
	if n, err := brief.Read(b); n != 5 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = other.Close()
	if n, err := brief.Read(b); n != 0 || err != io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = brief.Close()
	if _, err := brief.Read(b); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := brief.Write(b); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
