package relay

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLookingBackAtTheOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), 2*time.Minute, lookBytes, nil)
		if w := o.get("/theatre/main/dvr.m3u8"); w.Code != 404 {
			t.Errorf("before the first segment: %d", w.Code)
		}
		o.segments(40)
		golden(t, "dvr.m3u8", []byte(o.list()))
		golden(t, "dvr-index.m3u8", o.get("/theatre/dvr.m3u8").Body.Bytes())
		for _, header := range []string{"", "Range:bytes=2-5", "Range:bytes=0-1,3-4", `If-None-Match:"` + media(10, 1002) + `"`} {
			name, value, _ := strings.Cut(header, ":")
			w := o.get(at(10, 1002), name, value)
			h := w.Header()
			got := fmt.Sprintf("%d %q %s %s %s %s", w.Code, w.Body, h.Get("Content-Type"), h.Get("Cache-Control"), h.Get("Etag"), h.Get("Content-Range"))
			whole, _ := os.ReadFile(filepath.Join(o.dir, "theatre/main", media(10, 1002)))
			const rest = ` video/mp4 public, max-age=180, immutable "0000000a/1002.m4s" `
			want := map[string]string{
				"":                    fmt.Sprintf("200 %q", whole) + rest,
				"Range:bytes=2-5":     fmt.Sprintf("206 %q", whole[2:6]) + rest + "bytes 2-5/100",
				"Range:bytes=0-1,3-4": fmt.Sprintf("200 %q", whole) + rest,
			}[header]
			if strings.HasPrefix(header, "If-None") {
				want = `304 ""  public, max-age=180, immutable "0000000a/1002.m4s" `
			}
			if got != want {
				t.Errorf("%s\n got %s\nwant %s", header, got, want)
			}
		}
		if got := o.get(at(10, 1039)).Header().Get("Cache-Control"); got != "public, max-age=180, immutable" {
			t.Errorf("a live segment that will be on disk: %s", got)
		}
		for path, want := range map[string]int{
			at(10, 999): 404, at(10, 1002) + "x": 404, "/theatre/main/0000000a/1002.1.m4s": 404,
			at(9, 1002): 404, "/theatre/main/0000000a/init-0.mp4": 200, "/theatre/audio-1/dvr.m3u8": 404,
			"/other/dvr.m3u8": 404,
		} {
			if w := o.get(path); w.Code != want {
				t.Errorf("%s: %d, want %d", path, w.Code, want)
			}
		}

		o.segments(300)
		list := o.list()
		if !strings.Contains(list, "EXT-X-MEDIA-SEQUENCE:1220\n") || strings.Count(list, "#EXTINF") != 120 {
			t.Errorf("the list is not bounded by two minutes:\n%.200s", list)
		}
		// Two minutes, a tenth of it and a minute stay on disk.
		if files := o.files(); len(files) < 190 || len(files) > 210 || files["theatre/main/"+media(10, 1100)] {
			t.Errorf("%d files are kept", len(files))
		}
		if o.get(at(10, 1100)).Code != 404 || o.get(at(10, 1190)).Code != 200 {
			t.Error("what is kept and what is served differ")
		}
	})
}

// Every segment of the live list has the same number in the long one.
func TestTheLongListAgreesWithTheLiveOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), 2*time.Minute, lookBytes, nil)
		o.segments(30)
		live := o.window.Version().Playlist
		numbers := map[uint64]MediaName{}
		var b longBuilder
		header, err := scanLongList([]byte(o.list()), func(s *Segment) { numbers[b.sequence+uint64(len(numbers))] = s.Name })
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range live.Segments {
			if got := numbers[live.MediaSequence+uint64(i)-header.sequence]; got != s.Name {
				t.Errorf("%d is %v in the long list, %v in the live one", live.MediaSequence+uint64(i), got, s.Name)
			}
		}
	})
}

func TestLookingBackAtARelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(100)
		r := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
		r.see(o)
		synctest.Wait()
		if n := len(r.files()); n != feedWindow+1 {
			t.Errorf("a new clone has %d files, want the live window and its init segment", n)
		}
		if o.count("/theatre/main/dvr.m3u8") != 0 {
			t.Error("the long list was fetched before a viewer wanted it")
		}
		for range 20 {
			if r.list() != o.list() {
				t.Error("the relay's list is not the origin's to the letter")
			}
		}
		if n := o.count("/theatre/main/dvr.m3u8") - 20; n != 1 {
			t.Errorf("20 viewers cost %d requests for the list", n)
		}

		var crowd sync.WaitGroup
		for range 50 {
			crowd.Go(func() {
				if w := r.get(at(10, 1003)); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "0000000a/1003.0.m4s;") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		crowd.Wait()
		if n := o.count(at(10, 1003)); n != 1 {
			t.Errorf("50 viewers cost %d requests for a segment", n)
		}
		if !r.files()["theatre/main/"+media(10, 1003)] {
			t.Error("what was pulled through is not kept")
		}
		if w := r.get(at(10, 1004), "Cache-Control", "only-if-cached"); w.Code != 504 || o.count(at(10, 1004)) != 0 {
			t.Errorf("a peer's request: %d", w.Code)
		}
		if w := r.get(at(10, 900)); w.Code != 404 || o.count(at(10, 900)) != 0 {
			t.Errorf("what the list does not name: %d, and the origin was asked", w.Code)
		}
		o.segments(5, r)
		time.Sleep(time.Second)
		if r.list() != o.list() {
			t.Error("the relay's list stands still")
		}
	})
}

func TestPeersAreAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(60)
		first := startLook(t, t.TempDir(), time.Hour, lookBytes, o)
		first.see(o)
		second := startLook(t, t.TempDir(), time.Hour, lookBytes, o, func(c *DVRConfig) {
			c.Peers = func() []string { return []string{"http://gone", "http://first", "http://third"} }
			c.Client = &http.Client{Transport: looking{"http://origin": o, "http://first": first}}
		})
		second.see(o)
		synctest.Wait()
		for _, msn := range []int{1001, 1002} {
			if msn == 1001 {
				first.get(at(10, msn))
			}
			if w := second.get(at(10, msn)); w.Code != 200 {
				t.Errorf("%d: %d", msn, w.Code)
			}
		}
		if o.count(at(10, 1001)) != 1 || first.count(at(10, 1001)) != 2 {
			t.Error("the peer had it, and the origin was asked")
		}
		if o.count(at(10, 1002)) != 1 || first.count(at(10, 1002)) != 1 {
			t.Error("the peer did not have it: want the origin asked, and the peer not sent looking")
		}
	})
}

// A body that breaks off is neither kept nor served, and what is wrong with
// the upstream is not the viewer's fault.
func TestABrokenPullLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(60)
		fault := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/1001.m4s"):
				w.Header().Set("Content-Length", "90")
				_, _ = io.WriteString(w, "0000000a/1001.0.m4s;")
				panic(http.ErrAbortHandler)
			case strings.HasSuffix(r.URL.Path, "/1002.m4s"):
				w.WriteHeader(503)
			default:
				o.ServeHTTP(w, r)
			}
		})
		r := startLook(t, t.TempDir(), time.Hour, lookBytes, o, func(c *DVRConfig) {
			c.Client = &http.Client{Transport: looking{"http://origin": fault}}
		})
		r.see(o)
		synctest.Wait()
		before := len(r.files())
		for msn, want := range map[int]int{1001: 503, 1002: 503, 1003: 200} {
			if w := r.get(at(10, msn)); w.Code != want {
				t.Errorf("%d: %d, want %d", msn, w.Code, want)
			}
		}
		if files := r.files(); len(files) != before+1 {
			t.Errorf("%d files came: %v", len(files)-before, files)
		}
		if r.dvr.disk.trouble != nil {
			t.Error("the upstream's fault was taken for the disk's:", r.dvr.disk.trouble)
		}
	})
}

func TestOneReaderTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Hour, lookBytes, nil)
		o.segments(60)
		for range maxDiskReads {
			o.dvr.reads <- struct{}{}
		}
		w := o.get(at(10, 1001))
		if w.Code != 503 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if w := o.get(at(10, 1055)); w.Code != 200 {
			t.Errorf("a live segment: %d", w.Code)
		}
		<-o.dvr.reads
		if w := o.get(at(10, 1001)); w.Code != 200 {
			t.Errorf("with a place free: %d", w.Code)
		}
	})
}

// TestMemoryStaysFlat holds that what is kept for looking back is not held in
// memory, at 3 Mbit/s and on a relay that pulls all of it through too.
func TestMemoryStaysFlat(t *testing.T) {
	minutes := sized(2, 60)
	if testing.Short() {
		t.Skip("writes many files")
	}
	synctest.Test(t, func(t *testing.T) {
		o := startLook(t, t.TempDir(), time.Duration(minutes)*time.Minute, 8<<30, nil)
		o.feed.pad = make([]byte, 75_000)
		r := startLook(t, t.TempDir(), time.Duration(minutes)*time.Minute, 8<<30, o)
		o.segments(30, r)
		base := heapBytes()
		for minute := range minutes {
			o.segments(60, r)
			if grown := heapBytes() - base; grown > 16<<20 {
				t.Fatalf("after %d minutes the heap has grown by %d bytes", minute+1, grown)
			}
		}
		kept, oldest := r.dvr.Usage(), 1000+60*minutes/2
		late := startLook(t, t.TempDir(), time.Duration(minutes)*time.Minute, 8<<30, o)
		late.see(o)
		synctest.Wait()
		for msn := oldest; msn < oldest+60; msn++ {
			if w := late.get(at(10, msn)); w.Code != 200 || w.Body.Len() < 375_000 {
				t.Fatalf("%d: %d with %d bytes", msn, w.Code, w.Body.Len())
			}
		}
		grown := heapBytes() - base
		t.Logf("%d files of %d MB kept in %d minutes at 3 Mbit/s; the heap grew by %d kB", kept.Files, kept.Bytes/1e6, minutes, grown/1000)
		if grown > 32<<20 { // the late relay's own live window is 7.5 MB of it
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		runtime.KeepAlive(o)
	})
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
