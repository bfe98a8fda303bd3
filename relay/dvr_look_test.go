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
	feed    *feed // its own, or that of the origin that it follows
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
		n.feed = upstream.feed
		epoch = func() Epoch { return n.feed.epoch }
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
		n.window.Put(name, o.whole().Body, o.Duration)
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
