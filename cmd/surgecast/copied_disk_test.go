package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged are the first lines of a log that hold each of the words; "" for none.
func logged(file string, words ...string) []string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	found := make([]string, len(words))
	for i, word := range words {
		if at := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, word) }); at >= 0 {
			found[i] = lines[at]
		}
	}
	return found
}

var (
	loggedTime = regexp.MustCompile(`time=(\S+)`)
	loggedNode = regexp.MustCompile(`node=([0-9a-f]{32})`)
)

// A relay's disk is copied while it runs, and started on three other machines at
// once, one of which has a clock that is 36 h ahead: each is a node of its own,
// named in DNS within 3 s, and the original is in each answer.
func TestCopiedDisk(t *testing.T) {
	const origin, original, first, last = 1, 2, 3, 5
	beside(t)
	m := newMachines(t, last)
	dir := newPoolDir(t, poolSettings{
		Origin:     m.address(origin),
		OriginMore: []setting{{"dns.port", "5300"}, {"dns.rate_limit", "100000"}, {"drain", "0s"}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	m.start(origin, "origin", dir)
	relayDir := copyDisk(t, dir)
	originalLog := m.start(original, "relay", relayDir)
	conn := m.dial(origin, m.at(origin, 5300))
	eventually(t, "the original is named", func() error { return m.named(conn, original) })
	cached := filepath.Join("state", m.address(original).String(), dvrFolder, "theatre", "1.m4s")
	if err := os.MkdirAll(filepath.Dir(filepath.Join(relayDir, cached)), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(relayDir, cached), "what a viewer looked back on", 0o600)

	var copies [last + 1]string
	for i := first; i <= last; i++ {
		copies[i] = copyDisk(t, relayDir)
	}
	watched, stop := make(chan struct{}), make(chan struct{})
	own := m.dial(origin, m.at(origin, 5300))
	go func() {
		defer close(watched)
		m.keepsAnswering(own, original, stop)
	}()
	began := time.Now()
	var logs [last + 1]string
	for i := first; i <= last; i++ {
		ahead := time.Duration(0)
		if i == last {
			ahead = 36 * time.Hour
		}
		logs[i] = m.startAhead(i, "relay", copies[i], ahead)
	}
	var asking sync.WaitGroup
	var took [last + 1]time.Duration
	for i := first; i <= last; i++ {
		each := m.dial(origin, m.at(origin, 5300))
		asking.Go(func() {
			for took[i] = 0; m.named(each, i) != nil && time.Since(began) < 20*time.Second; {
				time.Sleep(5 * time.Millisecond)
			}
			took[i] = time.Since(began)
		})
	}
	asking.Wait()
	time.Sleep(time.Second)
	close(stop)
	<-watched

	names := []string{nodeName(t, originalLog)}
	for i := first; i <= last; i++ {
		if took[i] > listingBound() {
			t.Errorf("the copy on machine %d is named %v after its start", i, took[i])
		}
		var steps []string
		words := []string{"clone of", "relay up", "node warming", "node serving"}
		for j, line := range logged(logs[i], words...) {
			at, err := time.Parse(time.RFC3339Nano, firstGroup(loggedTime, line))
			if err != nil {
				t.Errorf("machine %d never said %q", i, words[j])
				continue
			}
			steps = append(steps, fmt.Sprintf("%s %d ms", words[j], at.Sub(began).Milliseconds()))
		}
		t.Logf("machine %d after its process began: %s, named in DNS %d ms", i, strings.Join(steps, ", "), took[i].Milliseconds())
		names = append(names, nodeName(t, logs[i]))
		if _, err := os.Stat(filepath.Join(copies[i], cached)); err == nil {
			t.Errorf("machine %d kept the original's cache", i)
		}
	}
	if logged(logs[last], "this machine's clock is wrong")[0] == "" {
		t.Error("nothing tells that a clock is wrong")
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != last-original+1 {
		t.Errorf("names are not distinct: %v", names)
	}
	if _, err := os.Stat(filepath.Join(relayDir, cached)); err != nil {
		t.Error("the original lost its cache")
	}
}

// listingBound is how soon a copy must be named. The race detector makes the
// start itself several times longer, and other tests run beside this one then;
// there the bound only tells that it happens.
func listingBound() time.Duration {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 15 * time.Second
	}
	return 3 * time.Second
}

// named says nil when a machine is in an answer.
func (m *machines) named(conn net.Conn, i int) error {
	addrs, err := m.answers(conn)
	if err == nil && !slices.Contains(addrs, m.address(i).String()) {
		err = fmt.Errorf("only %v", addrs)
	}
	return err
}

// keepsAnswering fails the test when a machine is not in each answer until stop.
func (m *machines) keepsAnswering(conn net.Conn, i int, stop <-chan struct{}) {
	asked := 0
	for tick := time.NewTicker(5 * time.Millisecond); ; asked++ {
		select {
		case <-stop:
			tick.Stop()
			m.t.Logf("the original is in each of %d answers", asked)
			return
		case <-tick.C:
		}
		if err := m.named(conn, i); err != nil {
			m.t.Errorf("an answer without the original: %v", err)
			return
		}
	}
}

// copyDisk copies a folder in which a node may be running. An image is of one
// moment; a copy file by file may miss one that is just being replaced, and is
// then made anew.
func copyDisk(t *testing.T, from string) (to string) {
	t.Helper()
	eventually(t, "the disk is copied", func() error {
		to = t.TempDir()
		return os.CopyFS(to, os.DirFS(from))
	})
	secretsStayPrivate(t, to)
	return to
}

// secretsStayPrivate gives copied secrets the rights that a disk image keeps.
func secretsStayPrivate(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"*.secret", "*.key"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range files {
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func firstGroup(pattern *regexp.Regexp, line string) string {
	if found := pattern.FindStringSubmatch(line); found != nil {
		return found[1]
	}
	return ""
}

func nodeName(t *testing.T, log string) string {
	t.Helper()
	name := firstGroup(loggedNode, logged(log, "relay up")[0])
	if name == "" {
		t.Errorf("%s: no name in the log", log)
	}
	return name
}
