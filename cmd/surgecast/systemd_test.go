package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serviceManager is what systemd is to a relay with a socket unit: it has the
// socket, and gives it to each process that it starts.
type serviceManager struct {
	t      *testing.T
	e      *evening
	n      int
	socket *os.File
}

func newServiceManager(t *testing.T, e *evening, n int) *serviceManager {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(e.address(n), defaultViewerPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &serviceManager{t, e, n, socket}
}

// start starts the relay as systemd does: LISTEN_PID is the process's own id.
func (m *serviceManager) start() *exec.Cmd {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	log, err := openLog(filepath.Join(m.e.logs, "service.log"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close() // the process has its own copy
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh",
		self, "relay", "--config", filepath.Join(m.e.dir, "relay.yaml"), "--address", m.e.address(m.n).String())
	c.ExtraFiles = []*os.File{m.socket}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		if m.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			m.t.Logf("the relay's log:\n%s", text)
		}
	})
	return c
}

// A relay without others is restarted while viewers connect anew for each
// request: nobody is refused or reset, or told anything but the list or 503. A
// connection that is closed before a byte of an answer is begun again once, as
// browsers do it (RFC 9110 9.2.2); these are counted and must be few.
func TestRestartBehindAnInheritedSocket(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 10 s")
	}
	e := newEvening(t)
	e.relayDrain(t, "5s")
	manager := newServiceManager(t, e, 1)
	old := manager.start()
	eventually(t, "the relay is named", e.named(t, 1))
	e.awaitSegments(t, 3)

	asking, stop := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	var asked [8]int
	var again atomic.Int64
	for i := range asked {
		crowd.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for asking.Err() == nil {
				err := askAnew(asking, client, e.url(1))
				if errors.Is(err, io.EOF) {
					again.Add(1)
					err = askAnew(asking, client, e.url(1))
				}
				if err != nil && asking.Err() == nil {
					t.Errorf("viewer %d, request %d: %v", i, asked[i], err)
					return
				}
				asked[i]++
			}
		})
	}
	for range 2 {
		if err := old.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := old.Wait(); err != nil {
			t.Errorf("the old process: %v", err)
		}
		ended := time.Since(began)
		if ended > 5*time.Second {
			t.Errorf("a relay that is alone took %v to hand over", ended)
		}
		old = manager.start()
		eventually(t, "the relay is ready again", func() error { return getOK(t.Context(), e.url(1)+"/readyz") })
		t.Logf("ended after %v, ready %v after the signal", ended.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
	stop()
	crowd.Wait()
	for i, n := range asked {
		if n < 10 {
			t.Errorf("viewer %d was answered %d times", i, n)
		}
	}
	if n := again.Load(); n > 2*int64(len(asked)) {
		t.Errorf("%d connections were closed without an answer", n)
	}
	t.Logf("answered over new connections: %v; begun again: %d", asked, again.Load())
	if err := old.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := old.Wait(); err != nil {
		t.Error(err)
	}
}

// askAnew gets a list. That a node leaves is said by 503; all else is a failure.
func askAnew(ctx context.Context, client *http.Client, base string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/theatre/main/live.m3u8", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

func TestInheritedSocketsAreTakenByAddress(t *testing.T) {
	s := &inheritedSockets{}
	var ports []string
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		l, err := net.Listen("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s.listeners = append(s.listeners, l)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	if l := s.take("127.0.0.9:" + ports[0]); l != nil {
		t.Errorf("took %v for another address", l.Addr())
	}
	if l := s.take("127.0.0.9:" + ports[1]); l == nil || l.Addr().String() != "127.0.0.9:"+ports[1] {
		t.Error("the socket for all addresses is not taken, or under its own")
	}
	if rest := s.rest(); len(rest) != 1 || rest[0] != "127.0.0.1:"+ports[0] {
		t.Errorf("left: %v", rest)
	}
	if l := s.take("127.0.0.1:" + ports[0]); l == nil || len(s.rest()) != 0 {
		t.Error("the socket of the address is not taken")
	}
}
