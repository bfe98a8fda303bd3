package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reborn starts the origin of a folder again, as a timeline under the next
// epoch that begins at msn.
func reborn(t *testing.T, before *lookNode, msn uint64) *lookNode {
	t.Helper()
	before.stop()
	o := startLook(t, before.dir, time.Hour, lookBytes, nil)
	f := o.feed
	f.epoch = before.feed.epoch + 1
	f.list.MediaSequence, f.list.DiscontinuitySequence = msn, before.feed.list.DiscontinuitySequence
	f.open()
	f.list.Open.Discontinuity = true
	f.window.Put(f.list.Open.Map, []byte("init"), 0)
	return o
}

func TestAnOriginGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		first.segments(40)
		was := first.list()
		o := reborn(t, first, 1050)
		if o.list() != was {
			t.Errorf("before the feed is back:\n%s\nwant\n%s", o.list(), was)
		}
		o.segments(12)
		golden(t, "dvr-restart.m3u8", []byte(o.list()))
		for _, path := range []string{at(10, 1000), at(10, 1039), at(11, 1050), "/theatre/main/0000000a/init-0.mp4", "/theatre/main/0000000b/init-0.mp4"} {
			if w := o.get(path); w.Code != 200 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
		if w := o.get(at(10, 1045)); w.Code != 404 {
			t.Errorf("a gap: %d", w.Code)
		}

		// A relay that saw the first life takes the mixed list.
		r := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
		r.see(o)
		synctest.Wait()
		if r.list() != o.list() || r.get(at(10, 1007)).Code != 200 {
			t.Error("the relay does not follow")
		}

		// Once more, and a file was lost.
		if err := os.Remove(filepath.Join(o.dir, "theatre/main", media(10, 1020))); err != nil {
			t.Fatal(err)
		}
		again := reborn(t, o, 1100)
		if !strings.Contains(again.list(), "#EXT-X-GAP\n#EXTINF:1.0,\n0000000a/1020.m4s\n") {
			t.Errorf("what was lost is no gap:\n%s", again.list())
		}
	})
}

// A relay that starts again serves what it had, as far as the origin's list
// still names it.
func TestARelayTakesUpWhatItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(10)
		first := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
		o.segments(40, first)
		first.stop()
		foreign := filepath.Join(first.dir, "theatre/main/00000005/1003.m4s")
		if err := os.MkdirAll(filepath.Dir(foreign), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(foreign, []byte("of a timeline that is no more"), 0o600); err != nil {
			t.Fatal(err)
		}

		r := startLook(t, first.dir, time.Hour, lookBytes, o)
		r.see(o)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		asked := o.count("/theatre/main/dvr.m3u8")
		if asked != 1 {
			t.Errorf("the list was fetched %d times to take up what is here", asked)
		}
		if w := r.get(at(10, 1005)); w.Code != 200 || o.count(at(10, 1005)) != 0 {
			t.Errorf("%d, or fetched again", w.Code)
		}
		if w := r.get(at(5, 1003)); w.Code != 404 || r.files()["theatre/main/00000005/1003.m4s"] {
			t.Errorf("another timeline's: %d", w.Code)
		}
	})
}

// An index that a crash cut off anywhere is read up to there.
func TestAnIndexIsReadAsFarAsItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(12)
		o.stop()
		x := longIndex{path: filepath.Join(o.dir, "theatre/main", indexName)}
		whole, err := os.ReadFile(x.path)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range whole {
			if err := os.WriteFile(x.path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			_, segments, err := x.load()
			if want := strings.Count(string(whole[:cut]), ".m4s\n"); err != nil || len(segments) != want {
				t.Fatalf("cut at %d: %d segments, want %d: %v", cut, len(segments), want, err)
			}
		}
	})
}

func TestAStreamThatIsNoMoreIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(12)
		o.stop()
		d, err := OpenDVR(DVRConfig{Dir: o.dir, Bytes: lookBytes, Logger: discard()})
		if err != nil {
			t.Fatal(err)
		}
		d.Keep([]string{"theatre"})
		if d.Usage().Files == 0 {
			t.Error("a stream that is there was deleted")
		}
		d.Keep([]string{"lobby"})
		if len(o.files()) != 0 {
			t.Error(o.files())
		}
	})
}
