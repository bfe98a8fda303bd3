package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lookNode is a node that viewers can look back on: an origin with a feed, or a
// relay that is given what the origin's window has. All in one bubble, files on
// a real disk.
type lookNode struct {
	t       *testing.T
	dir     string
	dvr     *DVR
	store   *Store
	window  *Window
	feed    *feed
	handler http.Handler
	stop    func() // ends it as its process would

	mu    sync.Mutex
	asked map[string]int // by path
}

const lookBytes = 1 << 30

// startLook starts a node that keeps length in dir; upstream is nil for an
// origin.
func startLook(t *testing.T, dir string, length time.Duration, budget int64, upstream *lookNode, change ...func(*DVRConfig)) *lookNode {
	t.Helper()
	n := &lookNode{t: t, dir: dir, store: NewStore(), asked: map[string]int{}}
	config := DVRConfig{Dir: dir, Bytes: budget, Logger: discard()}
	var epoch func() Epoch
	if upstream != nil {
		config.Upstreams = func() []string { return []string{"http://origin"} }
		config.Client = &http.Client{Transport: &looking{"http://origin": upstream}}
		config.Credential = NewCredential([]byte("secret"))
		epoch = func() Epoch { return upstream.feed.epoch }
	}
	for _, f := range change {
		f(&config)
	}
	var err error
	if n.dvr, err = OpenDVR(config); err != nil {
		t.Fatal(err)
	}
	st := n.store.Create("theatre", DefaultConstants())
	st.SetIndex(MultivariantText([]Variant{{Rendition: "main", Bandwidth: 900_000}}))
	n.window = st.CreateWindow("main")
	if upstream == nil {
		n.feed = newFeed(t, n.window)
	}
	n.handler = NewServer(ServerConfig{Store: n.store, Credential: NewCredential([]byte("secret")), Load: NewLoad(), Logger: discard()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.dvr.Run(ctx, st, length, epoch); err != context.Canceled {
			t.Error(err)
		}
	}()
	n.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(n.stop)
	synctest.Wait()
	return n
}

// segments publishes n more, each kept before the next comes; relays see them.
func (n *lookNode) segments(count int, relays ...*lookNode) {
	n.t.Helper()
	for range count {
		n.feed.parts(feedParts)
		for _, r := range relays {
			r.see(n)
		}
		time.Sleep(feedParts * feedPart)
		synctest.Wait()
	}
}

// see gives a relay what the origin's window has.
func (n *lookNode) see(origin *lookNode) {
	n.t.Helper()
	for name, o := range origin.window.objects {
		n.window.Put(name, o.Body, o.Duration)
	}
	if err := n.window.Publish(bytes.Clone(origin.window.Version().Text)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *lookNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.asked[r.URL.Path]++
	n.mu.Unlock()
	n.handler.ServeHTTP(w, r)
}

func (n *lookNode) count(path string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[path]
}

func (n *lookNode) get(path string, headers ...string) *httptest.ResponseRecorder {
	return request(n, "GET", path, headers...)
}

// list returns the long list as the node serves it.
func (n *lookNode) list() string {
	n.t.Helper()
	w := n.get("/theatre/main/dvr.m3u8")
	if w.Code != 200 {
		n.t.Fatalf("the long list: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// files are the names below the node's folder.
func (n *lookNode) files() map[string]bool {
	found := map[string]bool{}
	_ = filepath.WalkDir(n.dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(n.dir, path)
			found[name] = true
		}
		return err
	})
	return found
}

// looking carries requests to nodes of the same process, by base URL.
type looking map[string]http.Handler

func (l looking) RoundTrip(r *http.Request) (*http.Response, error) {
	h := l["http://"+r.URL.Host]
	if h == nil {
		return nil, fmt.Errorf("no node %s", r.URL.Host)
	}
	w := httptest.NewRecorder()
	aborted := func() (aborted bool) {
		defer func() { aborted = recover() != nil }()
		h.ServeHTTP(w, r)
		return false
	}()
	response := w.Result()
	if aborted {
		response.Body = io.NopCloser(io.MultiReader(response.Body, brokenBody{}))
	}
	return response, nil
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func media(epoch, msn int) string { return fmt.Sprintf("%08x/%d.m4s", epoch, msn) }

func at(epoch, msn int) string { return "/theatre/main/" + media(epoch, msn) }

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
	minutes := 3
	if os.Getenv("SURGECAST_PROVE") != "" {
		minutes = 60
	}
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

// lines counts the lines of a log by their message.
type lines struct {
	mu    sync.Mutex
	count map[string]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[r.Message]++
	return nil
}
