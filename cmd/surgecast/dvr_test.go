package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

// A relay as a process of its own, in what a small machine has (900 MB, one
// processor), carries 3 Mbit/s with an hour to look back on, told by a feed
// that is faster than life. Then players seek in it, and the relay is killed
// and takes up what it had. The short run has two minutes and no browser.
func TestLookingBack(t *testing.T) {
	if testing.Short() {
		t.Skip("writes many files")
	}
	length, pace := sized(2*time.Minute, time.Hour), sized(10*time.Millisecond, 40*time.Millisecond)
	t.Setenv("GOMEMLIMIT", "300MiB")
	t.Setenv("GOMAXPROCS", "1")
	e := newLookingEvening(t, length)
	small := e.startRelay(t, 1)
	where := confine(t, small.PID())
	eventually(t, "the relay is ready", func() error { return getOK(t.Context(), e.url(1)+"/readyz") })

	f := newFastFeed(t, e, length+time.Minute)
	memory := f.fill(t, length+time.Minute, pace, small.PID())
	t.Logf("%v at 3 Mbit/s on a relay %s; resident memory, in tenths of that: %s", length, where, memory)
	if proving() { // what left the window stays for 6 s, which is all of the short run
		memory.requireFlat(t)
	}
	background(t, "feed", f.live)

	list := e.requireLongList(t, length)
	e.startRelay(t, 2) // a clone: warm with the live window alone
	eventually(t, "a clone is ready", func() error { return getOK(t.Context(), e.url(2)+"/readyz") })
	if n := countFiles(t, e, 2); n > 100 {
		t.Errorf("a new clone has %d files: it copies what nobody asked for", n)
	}
	for n := 1; n <= 2; n++ {
		e.readBack(t, n)
	}
	if proving() {
		seekInBrowser(t, e.url(2)+"/theatre/dvr.m3u8", length)
	}

	if err := small.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-small.ended
	again := e.startRelay(t, 1)
	eventually(t, "the relay is ready again", func() error { return getOK(t.Context(), e.url(1)+"/readyz") })
	eventually(t, "it takes up what it had", func() error {
		log, _ := os.ReadFile(again.Log)
		if !bytes.Contains(log, []byte("the DVR of an earlier start is served on")) {
			return fmt.Errorf("its log does not say so")
		}
		return nil
	})
	if n := countFiles(t, e, 1); n < len(list)*9/10 {
		t.Errorf("of a list of %d segments %d files are left", len(list), n)
	}
	e.get(t, e.url(1)+"/theatre/main/"+list[len(list)/2].String())
}

// newLookingEvening is an evening on which viewers can look back.
func newLookingEvening(t *testing.T, length time.Duration) *evening {
	t.Helper()
	e := &evening{
		first: someLoopback(),
		logs:  t.TempDir(),
	}
	if !bindable(t.Context(), e.first) {
		t.Skip("this machine has only one loopback address")
	}
	e.dir = newPoolDir(t, poolSettings{
		Origin:     e.first,
		OriginMore: []setting{{"drain", "0s"}, {"streams.dvr", length.String()}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	config, err := loadOriginConfig(filepath.Join(e.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	e.origin, err = newOriginNode(t.Context(), config, nodeOptions{Address: e.first, Env: realEnvironment(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "origin", e.origin.Run)
	return e
}

// fastFeed publishes faster than life until it is asked to go on live.
type fastFeed struct {
	e           *evening
	source      *origintest.Source
	publication *origin.Publication
}

// newFastFeed begins a feed of 3 Mbit/s whose dates lie that far back.
func newFastFeed(t *testing.T, e *evening, back time.Duration) *fastFeed {
	t.Helper()
	s := &origintest.Source{
		FPS: 25, GOP: 25, Audio: true, Width: 320, Height: 192, PictureBytes: 15_000,
		Start: time.Now().Add(-back),
	}
	p, err := e.origin.origin.Publish("theatre", s.Tracks())
	if err != nil {
		t.Fatal(err)
	}
	return &fastFeed{e: e, source: s, publication: p}
}

// fill publishes that much, a second of it in no less than pace and no faster
// than the relay follows, and returns the relay's memory meanwhile.
func (f *fastFeed) fill(t *testing.T, media, pace time.Duration, pid int) residentMemory {
	t.Helper()
	var memory residentMemory
	window := f.e.origin.store.Stream("theatre").Window("main")
	seconds := int(media / time.Second)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for second := range seconds {
		<-tick.C
		for range 25 {
			f.write(t)
		}
		if v := window.Version(); v != nil && second > 3 {
			url := fmt.Sprintf("%s/theatre/main/live.m3u8?_HLS_msn=%d", f.e.url(1), v.Playlist.OpenSequence()-2)
			eventually(t, "the relay follows", func() error { return getOK(t.Context(), url) })
		}
		if (second+1)%(seconds/10) == 0 {
			memory = append(memory, residentOf(t, pid))
		}
	}
	return memory
}

func (f *fastFeed) write(t *testing.T) {
	t.Helper()
	for _, u := range f.source.Next() {
		if err := f.publication.Write(u); err != nil {
			t.Fatal(err)
		}
	}
}

// live goes on in real time until ctx ends.
func (f *fastFeed) live(ctx context.Context) error {
	defer f.publication.Close()
	tick := time.NewTicker(time.Second / 25)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for _, u := range f.source.Next() {
			if err := f.publication.Write(u); err != nil {
				return err
			}
		}
	}
}

// residentMemory is a process's own memory over time, in bytes.
type residentMemory []int64

func (m residentMemory) String() string {
	var texts []string
	for _, bytes := range m {
		texts = append(texts, strconv.FormatInt(bytes/1e6, 10))
	}
	return strings.Join(texts, " ") + " MB"
}

// requireFlat holds the second half of the time to the first.
func (m residentMemory) requireFlat(t *testing.T) {
	t.Helper()
	var first, second int64
	for i, bytes := range m {
		if i < len(m)/2 {
			first = max(first, bytes)
		} else {
			second = max(second, bytes)
		}
	}
	if second > first+first/4+(32<<20) || second > 400<<20 {
		t.Errorf("the relay's memory grows: %v", m)
	}
}

// residentOf is what a process holds in memory of its own; the kernel's copies
// of files are not of it.
func residentOf(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kB << 10
		}
	}
	t.Fatal("no RssAnon in /proc")
	return 0
}

// confine gives a process no more memory than 900 MB, kernel's copies of files
// included, where this machine lets us; it says what it could do.
func confine(t *testing.T, pid int) string {
	t.Helper()
	for _, group := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(group.root, fmt.Sprintf("surgecast-test-%d", pid))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		if os.WriteFile(filepath.Join(dir, group.limit), []byte("900000000"), 0o644) == nil &&
			os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644) == nil {
			return "under GOMEMLIMIT=300MiB, one processor and a group of 900 MB"
		}
	}
	return "under GOMEMLIMIT=300MiB and one processor (this machine makes no group)"
}

// requireLongList checks the list of the first relay and returns its media.
func (e *evening) requireLongList(t *testing.T, length time.Duration) []relay.MediaName {
	t.Helper()
	e.get(t, e.url(1)+"/theatre/dvr.m3u8")
	text, header := e.get(t, e.url(1)+"/theatre/main/dvr.m3u8")
	if header.Get("Cache-Control") != "public, max-age=1" {
		t.Errorf("the list's Cache-Control is %q", header.Get("Cache-Control"))
	}
	var names []relay.MediaName
	for line := range strings.Lines(string(text)) {
		if name, err := relay.ParseMediaName(strings.TrimSpace(line)); err == nil {
			names = append(names, name)
		}
	}
	if n := len(names); n < int(length/time.Second)-2 || n > int(length/time.Second)+2 {
		t.Errorf("the long list has %d segments of a second, want %v", n, length)
	}
	return names
}

// readBack has ffmpeg read 10 s from near the list's beginning.
func (e *evening) readBack(t *testing.T, n int) {
	t.Helper()
	out := command(t, "ffmpeg", "-hide_banner", "-xerror", "-live_start_index", "5",
		"-i", e.url(n)+"/theatre/dvr.m3u8", "-t", "10", "-f", "null", "-")
	if !strings.Contains(out, "time=00:00:1") && !strings.Contains(out, "time=00:00:09") {
		t.Errorf("ffmpeg did not read 10 s of relay %d:\n%s", n, out)
	}
}

// countFiles is how many media files the nth relay keeps.
func countFiles(t *testing.T, e *evening, n int) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.dir, "state", e.address(n).String(), dvrFolder, "theatre/main/*/*.m4s"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
