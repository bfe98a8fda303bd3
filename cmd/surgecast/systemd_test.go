package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// serviceManager is what systemd is to a relay with a socket unit: it has the
// socket, gives it to each process that it starts, and hears what that says.
type serviceManager struct {
	t      *testing.T
	e      *evening
	n      int
	socket *os.File
	notify string // path of the socket on which it hears

	mu   sync.Mutex
	said []said
}

// said is a message of sd_notify(3).
type said struct {
	what string
	at   time.Time
}

// watchdog is WatchdogSec= of this manager.
const watchdog = 3 * time.Second

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
	m := &serviceManager{t: t, e: e, n: n, socket: socket, notify: filepath.Join(t.TempDir(), "notify")}
	hears, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var hearing sync.WaitGroup
	hearing.Go(func() { m.hear(hears) })
	t.Cleanup(func() {
		hears.Close()
		hearing.Wait()
	})
	return m
}

// hear notes what is said until the socket is closed.
func (m *serviceManager) hear(from *net.UnixConn) {
	for buffer := make([]byte, 256); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.said = append(m.said, said{string(buffer[:n]), time.Now()})
		m.mu.Unlock()
	}
}

// check holds what the process said that has just ended to the protocol: ready
// once, never silent for longer than the watchdog's time after it, and at last
// that it stops.
func (m *serviceManager) check() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var words []string
	var last time.Time
	for _, s := range append(m.said, said{"ended", time.Now()}) {
		if !slices.Contains(words, s.what) || s.what == "READY=1" {
			words = append(words, s.what)
		}
		if silent := s.at.Sub(last); len(words) == 2 && silent > watchdog { // who stops is not watched any more
			m.t.Errorf("silent for %v, which systemd ends", silent)
		}
		last = s.at
	}
	if got := strings.Join(words, " "); got != "READY=1 WATCHDOG=1 STOPPING=1 ended" {
		m.t.Errorf("it said %s", got)
	}
	m.said = nil
}

// start starts the relay as systemd does: LISTEN_PID and WATCHDOG_PID are the
// process's own id.
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
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 WATCHDOG_PID=$$ exec "$@"`, "sh",
		self, "relay", "--config", filepath.Join(m.e.dir, "relay.yaml"), "--address", m.e.address(m.n).String())
	c.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.notify, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()))
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
// request: nobody is refused, reset or left without an answer, or told anything
// but the list or 503.
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
	for i := range asked {
		crowd.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for asking.Err() == nil {
				if err := askAnew(asking, client, e.url(1)); err != nil && asking.Err() == nil {
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
		manager.check()
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
	t.Logf("answered over new connections: %v", asked)
	if err := old.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := old.Wait(); err != nil {
		t.Error(err)
	}
	manager.check()
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

// The unit files fit the sample configuration, and systemd takes them.
func TestUnitFiles(t *testing.T) {
	config := defaultNodeConfig()
	units := map[string]string{}
	dir := t.TempDir()
	for _, name := range []string{"surgecast-relay.service", "surgecast-relay.socket"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "configs", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		units[name] = string(text)
		// A program that is there, as systemd wants it.
		writeFile(t, filepath.Join(dir, name), strings.Replace(string(text), "/usr/local/bin/surgecast", "/bin/true", 1), 0o600)
	}
	for _, port := range []Port{config.Ports.Viewers, config.TLS.Port} {
		if line := fmt.Sprintf("ListenStream=0.0.0.0:%d\n", port); !strings.Contains(units["surgecast-relay.socket"], line) {
			t.Errorf("the socket unit lacks %s", line)
		}
	}
	var patience int
	if _, rest, found := strings.Cut(units["surgecast-relay.service"], "\nTimeoutStopSec="); found {
		_, _ = fmt.Sscan(rest, &patience)
	}
	if limit := time.Duration(patience) * time.Second; limit < time.Duration(config.Drain)+30*time.Second {
		t.Errorf("the service may take %v to stop, with a drain of %v", limit, time.Duration(config.Drain))
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here to read the units")
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no",
		filepath.Join(dir, "surgecast-relay.service"), filepath.Join(dir, "surgecast-relay.socket")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
