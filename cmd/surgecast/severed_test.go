package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Real processes on machines of their own: the name servers are killed and all
// gossip is cut while a crowd plays, and nobody notices. The same on fake time,
// below a tree, is TestStoryWithoutGossipAndDNS.
func testGossipAndDNSKilled(t *testing.T) {
	const (
		origin, firstRelay, lastRelay, firstServer, lastServer, watching = 1, 2, 4, 5, 6, 7
		viewers                                                          = 60
	)
	m := newMachines(t, watching)
	dir := newPoolDir(t, poolSettings{
		Origin:     m.address(origin),
		OriginMore: []setting{{"drain", "0s"}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	replaceIn(t, filepath.Join(dir, "nameserver.yaml"), "  port: 53 ", "  port: 5300 ")
	m.start(origin, "origin", dir)
	for i := firstRelay; i <= lastRelay; i++ {
		m.start(i, "relay", dir)
	}
	for i := firstServer; i <= lastServer; i++ {
		m.start(i, "nameserver", dir)
	}
	m.startFeed(t, watching, dir, origin)
	asked := m.dial(watching, m.at(firstServer, 5300))
	for i := firstRelay; i <= lastRelay; i++ {
		eventually(t, "a relay is named", func() error { return m.named(asked, i) })
	}
	client := &http.Client{Transport: &http.Transport{DialContext: m.dialer(watching)}}
	t.Cleanup(client.CloseIdleConnections)
	eventually(t, "the stream plays", func() error {
		_, err := get(t.Context(), client, "http://"+m.at(firstRelay, defaultViewerPort)+"/theatre/main/live.m3u8", "")
		return err
	})

	crowd := m.startCrowd(t, watching, viewers, asked)
	time.Sleep(10 * time.Second)
	before := map[int]string{}
	for i := firstRelay; i <= lastRelay; i++ {
		before[i] = m.metric(t, client, dir, i, "surgecast_parent_switches_total")
	}
	for i := firstServer; i <= lastServer; i++ {
		m.kill(i)
	}
	for i := origin; i <= lastRelay; i++ {
		for _, protocol := range []string{"udp", "tcp"} {
			m.ip("-n", m.name(i), "rule", "add", "pref", "1", "ipproto", protocol, "dport", "7946", "blackhole")
		}
	}
	time.Sleep(time.Minute) // gossip finds the last ones dead only then
	for i := firstRelay; i <= lastRelay; i++ {
		eventually(t, "a relay is isolated", func() error {
			if got := m.metric(t, client, dir, i, "surgecast_isolated"); got != "1" {
				return fmt.Errorf("relay %d: isolated is %s", i, got)
			}
			return nil
		})
	}
	time.Sleep(10 * time.Second)
	for i := firstRelay; i <= lastRelay; i++ {
		if got := m.metric(t, client, dir, i, "surgecast_parent_switches_total"); got != before[i] {
			t.Errorf("relay %d: %s changes of parent, before it was %s", i, got, before[i])
		}
		if _, err := get(t.Context(), client, "http://"+m.at(i, defaultViewerPort)+"/readyz", ""); err != nil {
			t.Errorf("relay %d: %v", i, err)
		}
	}
	// A machine that is busy with other things stalls pictures by itself: how long
	// tells more than how often. That there is none is the story's to show.
	if sum := crowd.end(); sum.gap > severedGap || sum.switches > 0 {
		t.Errorf("%v between two parts, %d lists refused", sum.gap, sum.switches)
	}
}

// severedGap is what the buffer of a page hides.
const severedGap = 2 * time.Second

// startFeed pushes the clip to a machine from another one.
func (m *machines) startFeed(t *testing.T, from int, dir string, to int) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "theatre.key"))
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("rtsp://publish:%s@%s/theatre", strings.TrimSpace(string(key)), m.at(to, defaultRTSPPort))
	c := exec.Command("ip", "netns", "exec", m.name(from), os.Args[0], "feed", url)
	c.Env = append(os.Environ(), asMain+"=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
}

// kill ends what runs on a machine.
func (m *machines) kill(i int) {
	m.t.Helper()
	text, err := exec.CommandContext(m.t.Context(), "ip", "netns", "pids", m.name(i)).Output()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			m.t.Errorf("end process %s: %v", field, err)
		}
	}
}

// dialer connects from a machine: each socket is opened on a thread that went
// there for it and is given up.
func (m *machines) dialer(i int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		var there sync.WaitGroup
		there.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			var namespace *os.File
			if namespace, err = os.Open("/run/netns/" + m.name(i)); err != nil {
				return
			}
			defer namespace.Close()
			if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err == nil {
				conn, err = new(net.Dialer).DialContext(ctx, network, address)
			}
		})
		there.Wait()
		return conn, err
	}
}

// startCrowd lets viewers of all kinds come to a machine, who are told by a name
// server where to go.
func (m *machines) startCrowd(t *testing.T, i, n int, server net.Conn) *stayers {
	var mu sync.Mutex // a resolver asks one question at a time
	lookup := func() (bases []string) {
		mu.Lock()
		defer mu.Unlock()
		found, _ := m.answers(server) // none: no name server answers
		for _, address := range found {
			bases = append(bases, "http://"+net.JoinHostPort(address, strconv.Itoa(defaultViewerPort)))
		}
		return bases
	}
	return startStayers(t, n, 2*time.Second, func(int) *stayer {
		return &stayer{
			pool:   poolName{lookup: lookup},
			client: &http.Client{Transport: &http.Transport{DialContext: m.dialer(i), MaxIdleConnsPerHost: 2}},
		}
	})
}

// metric reads a figure of the node on a machine from its private API.
func (m *machines) metric(t *testing.T, client *http.Client, dir string, i int, name string) string {
	t.Helper()
	api, err := readAPIFile(filepath.Join(dir, "state", m.address(i).String(), apiFileName))
	if err != nil {
		t.Fatal(err)
	}
	text, err := get(t.Context(), client, api.URL+"/metrics", api.Token)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in:\n%s", name, text)
	return ""
}

// get asks for what must be there.
func get(ctx context.Context, client *http.Client, url, token string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(text), err
}
