package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseH2load(t *testing.T) {
	const good = `finished in 1.00s, 48.00 req/s, 60MB/s
requests: 48 total, 64 started, 48 done, 48 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 50 2xx, 0 3xx, 0 4xx, 0 5xx`
	a, err := parseH2load(good)
	if err != nil || a.requests != 48 || a.failed != 0 {
		t.Errorf("got %+v, %v", a, err)
	}
	a, err = parseH2load(strings.Replace(good, "50 2xx, 0 3xx, 0 4xx", "40 2xx, 0 3xx, 8 4xx", 1))
	if err != nil || a.failed != 8 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestParseProcess(t *testing.T) {
	if d, err := parseSchedstat("1234567 89 10\n"); err != nil || d != 1234567*time.Nanosecond {
		t.Errorf("got %v, %v", d, err)
	}
	if v, err := parseMetric("# HELP go_goroutines x\ngo_goroutines 55\n", "go_goroutines"); err != nil || v != 55 {
		t.Errorf("got %v, %v", v, err)
	}
	if d, stolen, err := parseStat("cpu  1 2 3 400 50 6 7 8 0 0\ncpu0 1\n"); err != nil || d != 190*time.Millisecond || stolen != 80*time.Millisecond {
		t.Errorf("got %v, %v", d, err)
	}
	if d, err := cpuTime(os.Getpid()); err != nil || d <= 0 {
		t.Errorf("own CPU time: %v, %v", d, err)
	}
}

func TestSet(t *testing.T) {
	const sample = "ports:\n  # a comment\n  api: 9090 # why\nrtsp:\n  port: 8554\ndns:\n  port: 0\nstreams:\n  - name: a\n"
	const want = "ports:\n  # a comment\n  api: 1\nrtsp:\n  port: 2\ndns:\n  port: 0\nstreams:\n  - name: b\n"
	if got := set(sample, []setting{{"ports.api", "1"}, {"rtsp.port", "2"}, {"name", "b"}, {"none", "c"}}); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		f    figure
		want string
	}{
		{figure{name: "a", ours: sample{3, 1, 2}, nginx: sample{4}, unit: "µs", goal: 0.75}, "a\t2 µs\t4 µs\t0.50\t≤ 0.75\tmet\tours 1–3, nginx 4–4"},
		{figure{name: "b", ours: sample{3}, unit: "ms", goal: 2, note: "n"}, "b\t3 ms\t-\t-\t≤ 2 ms\tmissed\tn"},
		{figure{name: "c", ours: sample{3}, goal: noGoal}, "c\t3\t-\t-\t-\t-\t"},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// nginx itself says whether its configuration is good, where it is installed.
func TestNginx(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("no nginx here: make bench installs it")
	}
	n, err := newNginx(t.TempDir(), nginxConfig)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("nginx", "-t", "-p", n.dir, "-c", "nginx.conf").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	if err := n.put("/1/a.m4s", []byte("body")); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join(n.dir, "root", "1", "a.m4s"))
	if err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
}
