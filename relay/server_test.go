package relay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// edge returns a server with a filled window and what feeds it.
func edge(t *testing.T, change func(*ServerConfig)) (http.Handler, *feed) {
	store := NewStore()
	st := store.Create("theatre", DefaultConstants())
	st.SetIndex(MultivariantText([]Variant{{
		Rendition: "main", Bandwidth: 900_000, AverageBandwidth: 700_000,
		Codecs: []string{"avc1.4d401e", "mp4a.40.2"}, Width: 640, Height: 360, FrameRate: 25,
	}}))
	f := newFeed(t, st.CreateWindow("main"))
	f.parts(17*feedParts + 2)
	c := ServerConfig{Store: store, Credential: NewCredential([]byte("secret")), Load: NewLoad(), Logger: discard()}
	if change != nil {
		change(&c)
	}
	return NewServer(c), f
}

func request(h http.Handler, method, url string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The surface of a node as text: status, headers and the length of the body.
func TestAnswers(t *testing.T) {
	h, _ := edge(t, func(c *ServerConfig) {
		c.Ready = func() error { return errors.New("warming") }
		c.Player = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) })
	})
	var out strings.Builder
	for _, line := range []string{
		"GET /theatre/index.m3u8",
		"GET /theatre/main/live.m3u8",
		"GET /theatre/main/live.m3u8 Accept-Encoding:gzip",
		"HEAD /theatre/main/live.m3u8",
		"GET /theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=1",
		"GET /theatre/main/live.m3u8?_HLS_skip=YES",
		"GET /theatre/main/live.m3u8?_HLS_part=1&CMCD=x&_HLS_msn=1017",
		"GET /theatre/main/live.m3u8?_HLS_part=1",
		"GET /theatre/main/live.m3u8?_HLS_msn=-1",
		"GET /theatre/main/live.m3u8?_HLS_msn=1017&_HLS_msn=1018",
		"GET /theatre/main/live.m3u8?_HLS_msn=9999999999",
		"GET /theatre/main/live.m3u8?_HLS_skip=maybe",
		"GET /theatre/main/0000000a/init-0.mp4",
		"GET /theatre/main/0000000a/1016.m4s",
		"GET /theatre/main/0000000a/1016.m4s Range:bytes=0-9",
		"GET /theatre/main/0000000a/1016.m4s Range:bytes=9999-",
		"GET /theatre/main/0000000a/1016.m4s If-None-Match:\"0000000a/1016.m4s\"",
		"GET /theatre/main/0000000a/1016.3.m4s",
		"GET /~token-of-a-viewer/theatre/main/0000000a/1016.3.m4s",
		"GET /theatre/main/0000000a/1.m4s",
		"GET /theatre/main/0000000a/1016.40.m4s",
		"GET /theatre/main/0000000a/%31016.m4s",
		"GET /theatre/other/live.m3u8",
		"GET /nothing/index.m3u8",
		"GET /theatre/",
		"GET /theatre",
		"GET /~t/theatre",
		"GET /~t/assets/page.js",
		"GET /../etc/passwd",
		"GET /healthz",
		"GET /readyz",
		"GET /pool/control",
		"OPTIONS /theatre/index.m3u8 Access-Control-Request-Method:GET",
		"POST /theatre/index.m3u8",
	} {
		method, rest, _ := strings.Cut(line, " ")
		url, header, _ := strings.Cut(rest, " ")
		name, value, _ := strings.Cut(header, ":")
		var headers []string
		if name != "" {
			headers = []string{name, value}
		}
		w := request(h, method, url, headers...)
		fmt.Fprintf(&out, "%s\n  %d, %d bytes\n", line, w.Code, w.Body.Len())
		for _, k := range slices.Sorted(maps.Keys(w.Header())) {
			if !strings.HasPrefix(k, "Access-Control-Expose") && k != "Access-Control-Allow-Origin" && k != "Date" {
				fmt.Fprintf(&out, "  %s: %s\n", k, w.Header().Get(k))
			} else if k == "Access-Control-Allow-Origin" && w.Header().Get(k) != "*" {
				t.Errorf("%s: %s", line, w.Header().Get(k))
			}
		}
	}
	golden(t, "answers.txt", []byte(out.String()))
}

func TestGzipCarriesTheSameList(t *testing.T) {
	h, f := edge(t, nil)
	w := request(h, "GET", "/theatre/main/live.m3u8", "Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(text, f.window.Version().Text) {
		t.Error(err, string(text))
	}
	if w := request(h, "GET", "/theatre/main/live.m3u8", "Accept-Encoding", "gzip;q=0"); w.Header().Get("Content-Encoding") != "" {
		t.Error("gzip for a client that forbids it")
	}
}

func TestNewSessionsAreSentToThePool(t *testing.T) {
	target := "http://127.0.0.3:8080"
	h, _ := edge(t, func(c *ServerConfig) { c.Redirect = func() string { return target } })
	for url, want := range map[string]string{
		"/theatre/index.m3u8":              target + "/theatre/index.m3u8?_sc_sent=1",
		"/~token/theatre/index.m3u8?a=%20": target + "/~token/theatre/index.m3u8?a=%20&_sc_sent=1",
		"/theatre/index.m3u8?_sc_sent=1":   "", // one hop, not two
		"/theatre/main/live.m3u8":          "", // never below the multivariant playlist
	} {
		w := request(h, "GET", url)
		if got := w.Header().Get("Location"); got != want || want != "" && (w.Code != 307 || w.Header().Get("Cache-Control") != "no-store") {
			t.Errorf("%s: %d to %q, want %q", url, w.Code, got, want)
		}
	}
	r := httptest.NewRequest("GET", "/theatre/index.m3u8", nil)
	NewCredential([]byte("secret")).Authorize(r)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("a node of the pool got %d", w.Code)
	}
	target = ""
	if w := request(h, "GET", "/theatre/index.m3u8"); w.Code != 200 {
		t.Errorf("with an empty pool: %d", w.Code)
	}
}

// Where no session may begin, none does: neither while there is no relay nor
// when it was sent on. Nodes are let through, and what lies below is served.
func TestNodesOnly(t *testing.T) {
	target := ""
	redirect := func() string { return target }
	for name, change := range map[string]func(*ServerConfig){
		"with a pool": func(c *ServerConfig) { c.NodesOnly, c.Redirect = true, redirect },
		"alone":       func(c *ServerConfig) { c.NodesOnly = true },
	} {
		h, _ := edge(t, change)
		addr := startLane(t, h)
		for _, path := range []string{"/theatre/index.m3u8", "/~token/theatre/dvr.m3u8?a=b", "/theatre/index.m3u8?_sc_sent=1"} {
			got := exchange(t, addr, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", 1)
			if !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "no-store") || !strings.Contains(got, "Retry-After: 2\r\n") {
				t.Errorf("%s, %s: %s", name, path, got)
			}
		}
		if got := exchange(t, addr, "GET /theatre/main/live.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", 1); !strings.HasPrefix(got, "200 ") {
			t.Errorf("%s: a list: %s", name, got)
		}
		r := httptest.NewRequest("GET", "/theatre/index.m3u8", nil)
		NewCredential([]byte("secret")).Authorize(r)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("%s: a node of the pool got %d", name, w.Code)
		}
	}
	target = "http://127.0.0.3:8080"
	h, _ := edge(t, func(c *ServerConfig) { c.NodesOnly, c.Redirect = true, redirect })
	if w := request(h, "GET", "/theatre/index.m3u8"); w.Code != 307 {
		t.Errorf("with a relay: %d", w.Code)
	}
}

func TestPoolPathsAreForNodes(t *testing.T) {
	h, _ := edge(t, func(c *ServerConfig) {
		c.Pool = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	})
	for secret, want := range map[string]int{"secret": 200, "guess": 401} {
		r := httptest.NewRequest("GET", "/pool/hello", nil)
		NewCredential([]byte(secret)).Authorize(r)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d, want %d", secret, w.Code, want)
		}
	}
	if w := request(h, "GET", "/pool/hello"); w.Code != 401 {
		t.Errorf("without a credential: %d", w.Code)
	}
}

func TestCredentialTakesNeighbourDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		c := NewCredential([]byte("secret"))
		r := httptest.NewRequest("GET", "/", nil)
		c.Authorize(r)
		for day, want := range []bool{true, true, false} {
			if got := c.Valid(r); got != want {
				t.Errorf("on day %d: %v, want %v", day, got, want)
			}
			time.Sleep(24 * time.Hour)
		}
	})
}

func TestStalledStreamGets503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := edge(t, nil)
		began := time.Now()
		w := request(h, "GET", "/theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=2")
		if w.Code != 503 || w.Header().Get("Cache-Control") != "no-store" || time.Since(began) != 6*time.Second {
			t.Errorf("%d %q after %v", w.Code, w.Header(), time.Since(began))
		}
	})
}

func TestLoadCountsWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoad()
		h, f := edge(t, func(c *ServerConfig) { c.Load = l })
		const watchers = 7
		for range 20 * feedParts {
			time.Sleep(feedPart)
			f.part()
			last := f.window.Version().Playlist
			name := last.Segments[len(last.Segments)-1].Parts[feedParts-1].Name
			if n := len(last.Open.Parts); n > 0 {
				name = last.Open.Parts[n-1].Name
			}
			for range watchers {
				request(h, "GET", "/theatre/main/live.m3u8")
				request(h, "GET", "/theatre/main/"+name.String())
			}
		}
		if s := l.Snapshot(); s.Viewers < watchers-.2 || s.Viewers > watchers+.2 || s.BitsPerSecond == 0 {
			t.Errorf("%+v, want %d viewers", s, watchers)
		}
	})
}

// A node that does not know yet what there is says so (503), of lists and media,
// by every way; what it has it serves, and once it knows, what is not there is
// not there (404).
func TestRestoring(t *testing.T) {
	var knows atomic.Bool
	h, _ := edge(t, func(c *ServerConfig) {
		c.Store.Stream("theatre").CreateWindow("empty") // as of a stream whose lists are still to come
		c.Restoring = func() bool { return !knows.Load() }
	})
	clear := new(http.Protocols)
	clear.SetUnencryptedHTTP2(true)
	ways := map[string]struct {
		base   string
		client *http.Client
	}{
		"lane":     {startLane(t, h), &http.Client{Transport: &http.Transport{}}},
		"lane, h2": {startLane(t, h), &http.Client{Transport: &http.Transport{Protocols: clear}}},
		"net/http": {startLane(t, wrapped(h)), &http.Client{Transport: &http.Transport{}}},
	}
	for name, way := range ways {
		defer way.client.CloseIdleConnections()
		for _, known := range []bool{false, true} {
			knows.Store(known)
			for path, want := range map[string]int{
				"/theatre/index.m3u8":                        200,
				"/theatre/main/live.m3u8":                    200,
				"/theatre/empty/live.m3u8":                   503,
				"/theatre/empty/live.m3u8?_HLS_msn=1":        503,
				"/theatre/empty/0000000a/1016.m4s":           503,
				"/theatre/other/live.m3u8":                   503,
				"/theatre/dvr.m3u8":                          503,
				"/nothing/index.m3u8":                        503,
				"/~token/nothing/main/live.m3u8?_HLS_msn=10": 503,
			} {
				if known && want == 503 {
					want = 404
				}
				response, err := way.client.Get("http://" + way.base + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				later, cache := response.Header.Get("Retry-After"), response.Header.Get("Cache-Control")
				if response.StatusCode != want || response.Header.Get("Access-Control-Allow-Origin") != "*" ||
					want == 503 && (later == "" || cache != "no-store") || want != 503 && later != "" {
					t.Errorf("%s, known %v, %s: %s, Retry-After %q, %q; want %d", name, known, path, response.Status, later, cache, want)
				}
			}
		}
	}
}
