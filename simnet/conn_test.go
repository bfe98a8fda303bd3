package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connected returns the two ends of a stream between two hosts.
func connected(t *testing.T, n *Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Host("10.0.0.1").Listen("10.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client, err = n.Host("10.0.0.2").DialContext(t.Context(), "tcp", "10.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestDelayIsPaidOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		client, server := connected(t, New(Config{Delay: 10 * time.Millisecond}))
		if took := time.Since(start); took != 20*time.Millisecond {
			t.Errorf("handshake took %v, want one round trip", took)
		}
		start = time.Now()
		client.Write([]byte("hello"))
		buf := make([]byte, 16)
		n, err := server.Read(buf)
		if err != nil || string(buf[:n]) != "hello" || time.Since(start) != 10*time.Millisecond {
			t.Errorf("read %q, %v after %v", buf[:n], err, time.Since(start))
		}
	})
}

func TestCloseLetsWrittenBytesArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t, New(Config{Delay: time.Millisecond}))
		client.Write([]byte("last words"))
		client.Close()
		got, err := io.ReadAll(server)
		if string(got) != "last words" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed peer: %v", err)
		}
		if _, err := client.Read(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
}

func TestWriteBlocksWhenFullUntilDeadlineOrReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t, New(Config{}))
		start := time.Now()
		client.SetWriteDeadline(start.Add(time.Second))
		n, err := client.Write(make([]byte, pipeBytes+1))
		if n != pipeBytes || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("wrote %d, %v after %v", n, err, time.Since(start))
		}
		client.SetWriteDeadline(time.Time{})
		go io.Copy(io.Discard, server)
		if n, err = client.Write(make([]byte, 3*pipeBytes)); n != 3*pipeBytes || err != nil {
			t.Errorf("with a reader: wrote %d, %v", n, err)
		}
		client.Close()
	})
}

func TestDeadlineInThePastWakesTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connected(t, New(Config{}))
		time.AfterFunc(time.Second, func() { client.SetReadDeadline(time.Unix(1, 0)) })
		_, err := client.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v, want a time-out", err)
		}
	})
}

func TestCloseWakesReaderAndWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t, New(Config{}))
		errs := make(chan error, 2)
		go func() {
			_, err := client.Read(make([]byte, 1))
			errs <- err
		}()
		go func() {
			_, err := client.Write(make([]byte, 2*pipeBytes))
			errs <- err
		}()
		synctest.Wait()
		client.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		server.Close()
	})
}

func TestCloseWriteLeavesTheOtherDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connected(t, New(Config{Delay: time.Millisecond}))
		client.(*conn).CloseWrite()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %v, want EOF", err)
		}
		server.Write([]byte("answer"))
		server.Close()
		if got, _ := io.ReadAll(client); string(got) != "answer" {
			t.Errorf("got %q", got)
		}
	})
}

func TestCutHoldsTheStreamBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Delay: 10 * time.Millisecond})
		client, server := connected(t, n)
		start := time.Now()
		client.Write([]byte("a"))
		time.Sleep(5 * time.Millisecond) // the byte is halfway
		n.Cut("10.0.0.1", "10.0.0.2")
		time.AfterFunc(time.Second, func() { n.Heal("10.0.0.2", "10.0.0.1") })
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 1015*time.Millisecond {
			t.Errorf("arrived after %v, want one delay after the link was healed", took)
		}
	})
}

func TestDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Delay: time.Millisecond})
		from := n.Host("10.0.0.2")
		n.Host("10.0.0.1")
		dial := func(address string) (time.Duration, error) {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := from.DialContext(ctx, "tcp", address)
			return time.Since(start), err
		}
		if took, err := dial("10.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) || took != 2*time.Millisecond {
			t.Errorf("nobody listens: %v after %v", err, took)
		}
		if took, err := dial("10.9.9.9:1"); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
			t.Errorf("no such host: %v after %v", err, took)
		}
		n.Cut("10.0.0.1", "10.0.0.2")
		if took, err := dial("10.0.0.1:1"); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
			t.Errorf("cut link: %v after %v", err, took)
		}
		if _, err := from.DialContext(t.Context(), "tcp", "localhost:1"); err == nil {
			t.Error("a name was dialled")
		}
	})
}

func TestKillResetsAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Delay: time.Millisecond})
		client, server := connected(t, n)
		n.Host("10.0.0.1").Kill()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("peer of a killed host read %v", err)
		}
		if _, err := server.Write([]byte("x")); err == nil {
			t.Error("a killed host could write")
		}
		if _, err := n.Host("10.0.0.2").DialContext(t.Context(), "tcp", "10.0.0.1:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial to a killed host: %v", err)
		}
		if _, err := n.Host("10.0.0.1").Listen(":8080"); err != nil {
			t.Errorf("restart under the same address: %v", err)
		}
	})
}

func TestListenAddresses(t *testing.T) {
	h := New(Config{}).Host("10.0.0.1")
	for _, bad := range []string{"10.0.0.2:80", "name:80", "10.0.0.1", "10.0.0.1:http"} {
		if _, err := h.Listen(bad); err == nil {
			t.Errorf("listened on %q", bad)
		}
	}
	a, err := h.Listen("10.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Listen(a.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second listener on one port: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
}
