package relay

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The oldest go first when the budget is used up, and no list names what is
// about to go.
func TestTheBudgetHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 200_000
		o := startLook(t, t.TempDir(), time.Hour, budget, nil)
		o.feed.pad = make([]byte, 200) // a segment of 1090 bytes
		o.segments(400)
		u := o.dvr.Usage()
		if u.Bytes > budget || u.Bytes < budget*9/10 {
			t.Errorf("%d bytes in %d files are kept", u.Bytes, u.Files)
		}
		l, err := parseLongList([]byte(o.list()))
		if err != nil {
			t.Fatal(err)
		}
		if len(l.runs) != 1 || l.runs[0].to != 1400 {
			t.Fatalf("the list has %+v", l.runs)
		}
		for msn := l.runs[0].from; msn < l.runs[0].to; msn++ {
			if w := o.get(at(10, int(msn))); w.Code != 200 {
				t.Errorf("%d is in the list: %d", msn, w.Code)
			}
		}
		// A viewer with an older list has some more time.
		if w := o.get(at(10, int(l.runs[0].from)-5)); w.Code != 200 {
			t.Errorf("what left the list just now: %d", w.Code)
		}
	})
}

// A full disk stops the DVR's growth with one line in the log; live goes on,
// and so does the DVR when there is room again.
func TestAFullDiskStopsTheDVRAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{count: map[string]int{}}
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil, func(c *DVRConfig) { c.Logger = slog.New(log) })
		o.segments(30)
		o.dvr.disk.mu.Lock()
		o.dvr.disk.free = func() int64 { return 0 }
		o.dvr.disk.mu.Unlock()
		before := o.list()
		o.segments(60)
		if o.window.Version().Playlist.OpenSequence() != 1090 {
			t.Error("live stopped")
		}
		if got := log.count["the DVR does not grow, live goes on"]; got != 1 {
			t.Errorf("the log says so %d times", got)
		}
		o.dvr.disk.mu.Lock()
		o.dvr.disk.free = o.dvr.disk.statfs
		o.dvr.disk.mu.Unlock()
		o.segments(1)
		if log.count["the DVR grows again"] != 1 {
			t.Error("the log does not say that it goes on")
		}
		l, err := parseLongList([]byte(o.list()))
		if err != nil {
			t.Fatal(err)
		}
		// What left the window meanwhile is a gap; every number means what it
		// meant.
		if last := l.runs[len(l.runs)-1]; l.sequence+uint64(strings.Count(o.list(), "#EXTINF")) != 1091 || last.from != 1071 || last.to != 1091 {
			t.Errorf("the list goes on with %+v, from %d", l.runs, l.sequence)
		}
		if !strings.Contains(o.list(), "#EXT-X-GAP\n#EXTINF:1.0,\n0000000a/1050.m4s\n") || len(before) == 0 {
			t.Errorf("no gap:\n%s", o.list())
		}
	})
}

func TestDiskTakesStock(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("theatre/main/0000000a/7.m4s", "seven")
	write("theatre/main/0000000a/init-0.mp4", "init")
	write("theatre/main/0000000a/8.m4s", "")
	write("theatre/main/00000009/7.m4s", "other")
	write("theatre/main/.writing-123", "half")
	write("theatre/main/0000000a/07.m4s", "not a name of ours")
	write("theatre/main/0000000a/7.1.m4s", "a part")
	write("Theatre/main/0000000a/7.m4s", "not a stream of ours")
	d, err := openDisk(dir, lookBytes, discard())
	if err != nil {
		t.Fatal(err)
	}
	f := d.folder("theatre", "main")
	seven := MediaName{Kind: SegmentMedia, Epoch: 10, Number: 7}
	if f.has(seven) {
		t.Error("served before a list confirmed it")
	}
	if n := f.claim(func(n MediaName) bool { return n.Epoch == 10 }); n != 2 {
		t.Errorf("%d files were taken up", n)
	}
	opened, size, err := f.open(seven)
	if err != nil || size != 5 {
		t.Fatal(size, err)
	}
	defer opened.Close()
	for path, want := range map[string]bool{
		"theatre/main/0000000a/8.m4s": false, "theatre/main/00000009/7.m4s": false, "theatre/main/.writing-123": false,
		"theatre/main/0000000a/07.m4s": true, "theatre/main/0000000a/7.m4s": true, "theatre/main/00000009": false,
	} {
		if _, err := os.Stat(filepath.Join(dir, path)); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	d.mu.Lock()
	d.delete(f.files[seven])
	d.mu.Unlock()
	if text, err := io.ReadAll(opened); string(text) != "seven" || err != nil {
		t.Errorf("whoever reads it reads on: %q %v", text, err)
	}
	if files, bytes := d.usage(); files != 1 || bytes != 4 {
		t.Errorf("%d files, %d bytes", files, bytes)
	}
	if err := d.removeAll("theatre"); err != nil || len(d.folder("theatre", "main").files) != 0 {
		t.Error(err)
	}
}

// What can't be written leaves nothing behind, under no name.
func TestAFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := openDisk(dir, lookBytes, discard())
	if err != nil {
		t.Fatal(err)
	}
	f, oops := d.folder("theatre", "main"), errors.New("oops")
	name := MediaName{Kind: SegmentMedia, Epoch: 10, Number: 7}
	err = f.write(name, birth, 10, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return oops
	})
	if !errors.Is(err, oops) || f.has(name) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "theatre/main/*")); len(left) != 1 { // the epoch's folder
		t.Error(left)
	}
	if err := f.write(name, birth, lookBytes+1, nil); !errors.Is(err, errDiskFull) {
		t.Error(err)
	}
}
