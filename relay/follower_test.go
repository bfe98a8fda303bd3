package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// upstream is an origin over real HTTP that counts what it is asked.
type upstream struct {
	*httptest.Server
	feed *feed

	mu        sync.Mutex
	counts    map[string]int // by path, queries cut
	catalogue []byte
	intercept func(w http.ResponseWriter, r *http.Request) bool // true: answered
}

func newUpstream(t *testing.T, key ed25519.PrivateKey) *upstream {
	u := &upstream{counts: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var h http.Handler
	h, u.feed = edge(t, func(c *ServerConfig) {
		c.Redirect = func() string { return "http://nobody.invalid" }
		c.Pool = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(u.catalogue)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-ctx.Done():
			}
		})
	})
	line, err := Catalogue{Serial: 1, Epoch: 10, Streams: []CatalogueStream{{
		Name: "theatre", Renditions: []string{"main"}, Constants: DefaultConstants(), Live: true, Revision: 1,
	}}}.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	u.catalogue = line
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.counts[r.URL.Path]++
		intercept := u.intercept
		u.mu.Unlock()
		if intercept == nil || !intercept(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { stop(); u.Close() })
	return u
}

func (u *upstream) asked() map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.counts)
}

// follow starts a follower of u and returns its store.
func follow(t *testing.T, u *upstream, key ed25519.PublicKey, change ...func(*FollowerConfig)) (*Follower, *Store) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	c := FollowerConfig{
		Store: NewStore(), Credential: NewCredential([]byte("secret")), Authority: key, Client: client, Logger: discard(),
		Origins: func() []string { return []string{u.URL} },
	}
	for _, one := range change {
		one(&c)
	}
	f := NewFollower(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		client.CloseIdleConnections()
	})
	return f, f.Store
}

func keys(t *testing.T) (ed25519.PublicKey, ed25519.PrivateKey) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// awaitWarm waits until f has the whole window.
func awaitWarm(t *testing.T, f *Follower) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		changed := f.Changed()
		if f.Warm() {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatal("not warm after 10 s")
		}
	}
}

// awaitText waits until w holds the list.
func awaitText(t *testing.T, w *Window, text []byte) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		v, changed, _ := w.snapshot()
		if v != nil && string(v.Text) == string(text) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("the list did not come; here is\n%s\nwant\n%s", v.Text, text)
		}
	}
}

func TestARelayHoldsWhatItsUpstreamHolds(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	f, store := follow(t, u, public)
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	before := u.asked()
	const parts = 3 * feedParts
	for range parts {
		u.feed.part()
		awaitText(t, w, u.feed.window.Version().Text)
	}
	for name, o := range u.feed.window.objects {
		if got := w.objects[name]; got == nil && name.Kind == SegmentMedia {
			t.Errorf("%v is not at the relay", name)
		} else if got != nil && string(got.whole().Body) != string(o.whole().Body) {
			t.Errorf("%v differs", name)
		}
	}
	if string(store.Stream("theatre").Index()) == "" {
		t.Error("no multivariant playlist")
	}
	after := u.asked()
	if lists := after["/theatre/main/live.m3u8"] - before["/theatre/main/live.m3u8"]; lists < parts-1 || lists > parts+1 {
		t.Errorf("%d lists were asked for, want one a part: %d, and one more at either end may be held", lists, parts)
	}
	for path, n := range after {
		if strings.HasPrefix(path, "/theatre/main/0000000a/") && n != 1 {
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
	if after["/pool/control"] != 1 || after["/theatre/index.m3u8"] != 1 {
		t.Error(after)
	}
}

func TestARelayKeepsWhatItHasAgainstABadUpstream(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	f, store := follow(t, u, public)
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	good := string(w.Version().Text)

	bad := map[string]string{
		"HTML":          "<html>oops</html>",
		"a lower epoch": strings.ReplaceAll(good, "0000000a/", "00000009/"),
		"a high epoch":  strings.ReplaceAll(good, "0000000a/", "0000000b/"),
		"half a list":   good[:len(good)/2],
	}
	for name, text := range bad {
		served := make(chan struct{})
		var once sync.Once
		u.mu.Lock()
		u.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "live.m3u8") {
				return false
			}
			fmt.Fprint(rw, text)
			once.Do(func() { close(served) })
			return true
		}
		u.mu.Unlock()
		u.feed.part() // frees the held request
		<-served
		if got := string(w.Version().Text); strings.Contains(got, "html") || strings.Contains(got, "00000009") || strings.Contains(got, "0000000b") {
			t.Errorf("%s was published", name)
		}
	}
	u.mu.Lock()
	u.intercept = nil
	u.mu.Unlock()
	u.feed.part()
	awaitText(t, w, u.feed.window.Version().Text)
}

// A body that breaks off is not stored, it is asked for again.
// A follower ends at once also while it asks for what it does not get.
func TestAFollowerEndsWithoutTheIndex(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	asked := make(chan struct{}, 1)
	u.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/theatre/index.m3u8" {
			return false
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
		return true
	}
	ctx, end := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	f := NewFollower(FollowerConfig{
		Store: NewStore(), Credential: NewCredential([]byte("secret")), Authority: public, Client: client, Logger: discard(),
		Origins: func() []string { return []string{u.URL} },
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	<-asked
	end()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestAShortBodyIsNeverTaken(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	f, store := follow(t, u, public)
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	var broken atomic.Bool
	u.mu.Lock()
	u.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".3.m4s") || broken.Swap(true) {
			return false
		}
		rw.Header().Set("Content-Length", "100")
		fmt.Fprint(rw, "short")
		panic(http.ErrAbortHandler)
	}
	u.mu.Unlock()
	for range 2 * feedParts {
		u.feed.part()
		awaitText(t, w, u.feed.window.Version().Text)
	}
	if !broken.Load() {
		t.Error("the fault did not happen")
	}
}

func TestOnlyTheAuthorityMakesACatalogue(t *testing.T) {
	public, private := keys(t)
	_, other := keys(t)
	c := Catalogue{Serial: 3, Epoch: 10, Streams: []CatalogueStream{{Name: "theatre", Constants: DefaultConstants()}}}
	line, err := c.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	back, err := OpenCatalogue(line, public)
	if err != nil || back.Serial != 3 || back.Streams[0].Name != "theatre" {
		t.Error(back, err)
	}
	if line, _ := c.Sign(other); line != nil {
		if _, err := OpenCatalogue(line, public); !errors.Is(err, ErrSignature) {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "{}", "[]", strings.Replace(string(line), `"sig":"`, `"sig":"A`, 1)} {
		if _, err := OpenCatalogue([]byte(bad), public); err == nil {
			t.Errorf("%.40q was taken", bad)
		}
	}
	c.Streams[0].Name = "../etc"
	line, _ = c.Sign(private)
	if _, err := OpenCatalogue(line, public); !errors.Is(err, ErrCatalogue) {
		t.Error(err)
	}
}

func FuzzCatalogue(f *testing.F) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	line, err := Catalogue{Serial: 1}.Sign(private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, line []byte) { _, _ = OpenCatalogue(line, public) })
}

func FuzzDirectives(f *testing.F) {
	f.Add("_HLS_msn=1&_HLS_part=2&_HLS_skip=YES")
	f.Add("_HLS_part=00&CMCD=bl%3D3")
	f.Fuzz(func(t *testing.T, query string) {
		if d, err := parseDirectives(query); err == nil && d.part >= 0 && !d.block {
			t.Fatalf("%q: a part without a segment", query)
		}
	})
}

func TestMultivariant(t *testing.T) {
	text := MultivariantText([]Variant{{
		Rendition: "main", Bandwidth: 900_000, AverageBandwidth: 700_000,
		Codecs: []string{"avc1.4d401e", "mp4a.40.2"}, Width: 640, Height: 360, FrameRate: 29.97,
	}})
	golden(t, "index.m3u8", text)
	renditions, err := ParseMultivariant(text)
	if err != nil || len(renditions) != 1 || renditions[0] != "main" {
		t.Error(renditions, err)
	}
	for _, bad := range []string{"", "<html>", "#EXTM3U\n", strings.Replace(string(text), "main/", "http://x/", 1)} {
		if _, err := ParseMultivariant([]byte(bad)); !errors.Is(err, ErrMultivariant) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestMultivariantWithSounds(t *testing.T) {
	text := MultivariantText([]Variant{
		{Rendition: "main", Bandwidth: 900_000, AverageBandwidth: 700_000, Codecs: []string{"avc1.4d401e", "mp4a.40.2"}, Width: 640, Height: 360, FrameRate: 25},
		{Rendition: "low", Bandwidth: 400_000, Codecs: []string{"avc1.4d401e", "mp4a.40.2"}},
	},
		Sound{Rendition: "audio-0", Name: "de", Language: "de", Channels: 2, Default: true},
		Sound{Rendition: "audio-1", Name: "audio-1"})
	golden(t, "sounds.m3u8", text)
	renditions, err := ParseMultivariant(text)
	if err != nil || !slices.Equal(renditions, []string{"main", "low", "audio-0", "audio-1"}) {
		t.Error(renditions, err)
	}
	bad := strings.Replace(string(text), "audio-1/live", "../audio-1/live", 1)
	if _, err := ParseMultivariant([]byte(bad)); !errors.Is(err, ErrMultivariant) {
		t.Error(err)
	}
}

func FuzzMultivariant(f *testing.F) {
	f.Add(MultivariantText([]Variant{{Rendition: "main"}}, Sound{Rendition: "audio-0", Name: "audio-0"}))
	f.Add(MultivariantText([]Variant{{Rendition: "main", Bandwidth: 900_000}}))
	f.Fuzz(func(t *testing.T, text []byte) { _, _ = ParseMultivariant(text) })
}
