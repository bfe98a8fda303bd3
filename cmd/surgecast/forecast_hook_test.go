package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// hookLog is what a hook logs, for tests.
type hookLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *hookLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *hookLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func testHook(change func(*HookConfig)) (*hook, *hookLog) {
	log := &hookLog{}
	c := defaultHookConfig()
	c.DryRun = false
	change(&c)
	return newHook(c, slog.New(slog.NewTextHandler(log, nil))), log
}

// soon is a pool that will be full in so many seconds.
func soon(seconds float64) *poolOutlook {
	return &poolOutlook{outlook: outlook{FullIn: seconds, Rising: 1e6}, relays: []poolRelay{{"a", 100e6, 60e6}, {"b", 100e6, 20e6}}}
}

// A real child gets the forecast in its environment, and runs once in the time
// that is set, however long the pool is about to be full.
func TestHookRunsACommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs")
	h, log := testHook(func(c *HookConfig) {
		c.Command = []string{"/bin/sh", "-c", `env | grep '^SURGECAST_' | grep -vE '^SURGECAST_(PROVE|TEST_AS_MAIN)=' | sort | tr '\n' ' ' >> "$1"; echo >> "$1"; echo started`, "sh", file}
	})
	for seconds := range 1000 { // fullest at once, then for 1000 s
		h.offer(t.Context(), evening0.Add(time.Duration(seconds)*time.Second), soon(44.6), "surgecast")
		if seconds%100 == 0 {
			h.running.Wait()
		}
	}
	h.running.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	runs := strings.Split(strings.TrimSpace(string(text)), "\n")
	const want = "SURGECAST_CAPACITY_BITS_PER_SECOND=200000000 SURGECAST_FULL_IN_SECONDS=45 SURGECAST_LOAD_BITS_PER_SECOND=80000000 " +
		"SURGECAST_POOL=surgecast SURGECAST_RELAYS=2 SURGECAST_RELAYS_WANTED=7"
	if len(runs) != 4 { // after 0, 300, 600 and 900 s
		t.Errorf("ran %d times in 1000 s", len(runs))
	}
	for _, run := range runs {
		if !strings.HasPrefix(run, want) {
			t.Errorf("got %q\nwant %q", run, want)
		}
	}
	if text := log.String(); strings.Count(text, "hook ran") != 4 || !strings.Contains(text, `said="started\n"`) {
		t.Errorf("logged: %s", text)
	}
}

func TestHookKeepsStillUntilItIsTime(t *testing.T) {
	h, log := testHook(func(c *HookConfig) { c.Command = []string{"/bin/false"} })
	h.offer(t.Context(), evening0, soon(300), "surgecast")
	off, offLog := testHook(func(*HookConfig) {})
	off.offer(t.Context(), evening0, soon(1), "surgecast")
	h.running.Wait()
	if text := log.String() + offLog.String(); text != "" {
		t.Errorf("logged: %s", text)
	}
}

func TestHookDryRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	h, log := testHook(func(c *HookConfig) {
		c.Command, c.DryRun = []string{"/usr/bin/touch", file}, true
	})
	for seconds := range 400 {
		h.offer(t.Context(), evening0.Add(time.Duration(seconds)*time.Second), soon(10), "surgecast")
	}
	h.running.Wait()
	if _, err := os.Stat(file); err == nil {
		t.Error("a dry run ran the command")
	}
	if text := log.String(); strings.Count(text, "would run") != 2 || strings.Contains(text, file) {
		t.Errorf("logged: %s", text)
	}
}

// At the bound the command is killed with all that it started.
func TestHookIsKilledWithItsGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	h, log := testHook(func(c *HookConfig) {
		c.Command = []string{"/bin/sh", "-c", `sleep 300 & echo $! > "$1"; echo waiting; wait`, "sh", file}
	})
	h.bound = time.Second
	began := time.Now()
	h.offer(t.Context(), evening0, soon(10), "surgecast")
	h.running.Wait()
	if took := time.Since(began); took < time.Second || took > 10*time.Second {
		t.Errorf("ended after %v", took)
	}
	if text := log.String(); !strings.Contains(text, "hook failed") || !strings.Contains(text, "killed after 1s") || !strings.Contains(text, "waiting") {
		t.Errorf("logged: %s", text)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grandchild is gone", func() error { return runs(pid) })
}

// runs tells whether a process lives; one that is dead and not waited for does
// not.
func runs(pid int) error {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "Z") {
		return nil
	}
	return &stillRuns{pid}
}

type stillRuns struct{ pid int }

func (s *stillRuns) Error() string { return "process " + strconv.Itoa(s.pid) + " still runs" }

// The end of the node is the end of what it runs.
func TestHookEndsWithTheNode(t *testing.T) {
	h, log := testHook(func(c *HookConfig) { c.Command = []string{"/bin/sleep", "300"} })
	ctx, cancel := context.WithCancel(t.Context())
	h.offer(ctx, evening0, soon(10), "surgecast")
	cancel()
	h.running.Wait()
	if !strings.Contains(log.String(), "hook failed") {
		t.Errorf("logged: %s", log)
	}
}

func TestHookOutputIsBounded(t *testing.T) {
	h, log := testHook(func(c *HookConfig) { c.Command = []string{"/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"} })
	h.offer(t.Context(), evening0, soon(10), "surgecast")
	h.running.Wait()
	if n := strings.Count(log.String(), "x"); n < maxHookBytes || n > maxHookBytes+100 {
		t.Errorf("%d bytes of 1000000 were logged", n)
	}
}

func TestHookPostsToAWebhook(t *testing.T) {
	var got []string
	status := http.StatusAccepted
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.Header.Get("Content-Type")+" "+string(body))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "quota")
	}))
	defer server.Close()
	h, log := testHook(func(c *HookConfig) { c.Webhook = server.URL + "/hush" })
	h.offer(t.Context(), evening0, soon(44), "surgecast")
	h.running.Wait()
	var report forecastReport
	if len(got) != 1 || !strings.HasPrefix(got[0], "POST application/json {") ||
		json.Unmarshal([]byte(strings.TrimPrefix(got[0], "POST application/json ")), &report) != nil || report != soon(44).report("surgecast") {
		t.Fatalf("got %q", got)
	}
	for i, bad := range []int{http.StatusTooManyRequests, http.StatusFound} {
		status = bad
		h.offer(t.Context(), evening0.Add(time.Duration(i+1)*time.Hour), soon(44), "surgecast")
		h.running.Wait()
	}
	text := log.String()
	if len(got) != 3 || strings.Count(text, "hook ran") != 1 || !strings.Contains(text, "429 Too Many Requests: quota") || !strings.Contains(text, "302 Found") {
		t.Errorf("%d requests, logged: %s", len(got), text)
	}
	server.Close()
	h.offer(t.Context(), evening0.Add(9*time.Hour), soon(44), "surgecast")
	h.running.Wait()
	if text := log.String(); !strings.Contains(text, "connection refused") || strings.Contains(text, "hush") {
		t.Errorf("logged: %s", text)
	}
}
