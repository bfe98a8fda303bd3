package player

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// builds are the two that there are: with hls.js brought by make build, and a plain go build.
func builds(t *testing.T) (with, without http.Handler) {
	t.Helper()
	bare := fstest.MapFS{}
	err := fs.WalkDir(files, "web", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, path)
		bare[path] = &fstest.MapFile{Data: body}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	full := fstest.MapFS{
		"dist/hls.min.js":      {Data: []byte("class Hls {}")},
		"dist/hls.LICENSE.txt": {Data: []byte("Copyright of the library")},
	}
	for path, file := range bare {
		full[path] = file
	}
	return newHandler(full), newHandler(bare)
}

func get(t *testing.T, h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// headText is the status and headers as sorted text, with what changes with every edit of the page taken out.
func headText(w *httptest.ResponseRecorder) string {
	lines := []string{}
	for name := range w.Header() {
		lines = append(lines, name+": "+w.Header().Get(name)+"\n")
	}
	slices.Sort(lines)
	text := fmt.Sprintf("%d\n", w.Code) + strings.Join(lines, "")
	text = regexp.MustCompile(`[0-9a-f]{12}`).ReplaceAllString(text, "HASH")
	return regexp.MustCompile(`Content-Length: \d+`).ReplaceAllString(text, "Content-Length: N")
}

var assetURL = regexp.MustCompile(`\.\./(assets/[a-z]+\.[0-9a-f]{12}\.[a-z]+)`)

// asset is the path of the asset that the page names with this beginning.
func asset(t *testing.T, h http.Handler, name string) string {
	t.Helper()
	page := get(t, h, "GET", "/theatre/").Body.String()
	for _, match := range assetURL.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(match[1], "assets/"+name+".") {
			return "/" + match[1]
		}
	}
	t.Fatalf("the page names no %s:\n%s", name, page)
	return ""
}

func TestHeaders(t *testing.T) {
	h, _ := builds(t)
	script := asset(t, h, "page")
	tests := []struct{ name, method, path, header, value, want string }{
		{"page", "GET", "/theatre/", "", "", `200
Cache-Control: public, max-age=60
Content-Length: N
Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src *; media-src * blob:; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors *
Content-Type: text/html; charset=utf-8
Etag: "HASH"
Referrer-Policy: no-referrer
Vary: Accept-Encoding
X-Content-Type-Options: nosniff
`},
		{"script", "GET", script, "", "", `200
Cache-Control: public, max-age=31536000, immutable
Content-Length: N
Content-Type: text/javascript; charset=utf-8
Etag: "HASH"
Vary: Accept-Encoding
X-Content-Type-Options: nosniff
`},
		{"packed", "HEAD", script, "Accept-Encoding", "br, gzip;q=0.8", `200
Cache-Control: public, max-age=31536000, immutable
Content-Encoding: gzip
Content-Length: N
Content-Type: text/javascript; charset=utf-8
Etag: "HASH-gzip"
Vary: Accept-Encoding
X-Content-Type-Options: nosniff
`},
		{"style of another release", "GET", "/assets/player.000000000000.css", "", "", `200
Cache-Control: no-store
Content-Length: N
Content-Type: text/css; charset=utf-8
Etag: "HASH"
Vary: Accept-Encoding
X-Content-Type-Options: nosniff
`},
		{"unknown asset", "GET", "/assets/player.css", "", "", `404
Cache-Control: public, max-age=2
Content-Type: text/plain; charset=utf-8
X-Content-Type-Options: nosniff
`},
		{"wrong method", "POST", "/theatre/", "", "", `405
Allow: GET, HEAD
Content-Type: text/plain; charset=utf-8
X-Content-Type-Options: nosniff
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := get(t, h, test.method, test.path, test.header, test.value)
			if got := headText(w); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			if test.method == "HEAD" && w.Body.Len() > 0 {
				t.Errorf("a HEAD was answered with %d bytes", w.Body.Len())
			}
		})
	}
}

func TestNotModified(t *testing.T) {
	h, _ := builds(t)
	for _, encoding := range []string{"", "gzip"} {
		etag := get(t, h, "GET", "/theatre/", "Accept-Encoding", encoding).Header().Get("ETag")
		w := get(t, h, "GET", "/theatre/", "Accept-Encoding", encoding, "If-None-Match", `"x", W/`+etag)
		if w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("encoding %q: got %d with %d bytes, want 304 without", encoding, w.Code, w.Body.Len())
		}
	}
}

func TestPackedIsTheSame(t *testing.T) {
	h, _ := builds(t)
	plain := get(t, h, "GET", "/theatre/").Body.Bytes()
	unpacker, err := gzip.NewReader(get(t, h, "GET", "/theatre/", "Accept-Encoding", "gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := io.ReadAll(unpacker)
	if err != nil || !bytes.Equal(plain, packed) {
		t.Errorf("unpacked page differs from the plain one (%v)", err)
	}
	if w := get(t, h, "GET", "/theatre/", "Accept-Encoding", "gzip;q=0"); w.Header().Get("Content-Encoding") != "" {
		t.Error("gzip was sent to a client that refuses it")
	}
}

func TestPaths(t *testing.T) {
	h, _ := builds(t)
	for path, want := range map[string]int{
		"/theatre/": 200, "/not-there-yet/": 200, "/~token/theatre/": 200, "/~token" + asset(t, h, "page"): 200,
		"/": 404, "//": 404, "/theatre": 404, "/a/b/": 404, "/assets/": 404, "/assets/../web/page.js": 404, "/assets/page.js": 404,
		"/~token/": 404, "/~token": 404, "/~token/a/b/": 404,
	} {
		if w := get(t, h, "GET", path); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}

// Whatever stands before the stream's name, an access prefix or a portal's path, is inherited by relative URLs only.
func TestPageHasRelativeURLsOnly(t *testing.T) {
	h, _ := builds(t)
	page := get(t, h, "GET", "/theatre/").Body.String()
	for _, match := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if url := match[1]; !strings.HasPrefix(url, "../assets/") && !strings.HasPrefix(url, "#") {
			t.Errorf("the page names %q", url)
		}
	}
	for _, name := range []string{"page", "session", "rest", "player", "icon", "hls", "licences"} {
		if w := get(t, h, "GET", asset(t, h, name)); w.Code != 200 || w.Header().Get("Cache-Control") == "no-store" {
			t.Errorf("%s: the page's own URL got %d, %s", name, w.Code, w.Header().Get("Cache-Control"))
		}
	}
}

func TestWithoutLibraryThePageSaysSo(t *testing.T) {
	with, without := builds(t)
	note := `<p class="note" id="library-note">`
	bare := get(t, without, "GET", "/theatre/").Body.String()
	if !strings.Contains(bare, `data-library="missing"`) || !strings.Contains(bare, note) || strings.Contains(bare, "assets/hls.") {
		t.Errorf("a build without hls.js does not say so:\n%s", bare)
	}
	full := get(t, with, "GET", "/theatre/").Body.String()
	if strings.Contains(full, "data-library") || strings.Contains(full, note) {
		t.Errorf("a build with hls.js says that it is missing:\n%s", full)
	}
}

func TestLicences(t *testing.T) {
	with, _ := builds(t)
	text := get(t, with, "GET", asset(t, with, "licences")).Body.String()
	for _, want := range []string{"surgecast", "Copyright of the library", "Apache License\n", "END OF TERMS AND CONDITIONS"} {
		if !strings.Contains(text, want) {
			t.Errorf("the licence texts lack %q", want)
		}
	}
	ours, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if embedded, _ := fs.ReadFile(files, "web/apache-2.0.txt"); !bytes.Equal(ours, embedded) {
		t.Error("web/apache-2.0.txt differs from LICENSE")
	}
}

// Every element that the script asks for is on the page.
func TestPageAndScriptAgree(t *testing.T) {
	h, _ := builds(t)
	page := get(t, h, "GET", "/theatre/").Body.String()
	script := get(t, h, "GET", asset(t, h, "page")).Body.String()
	ids := regexp.MustCompile(`\$\('([a-z-]+)'\)`).FindAllStringSubmatch(script, -1)
	if len(ids) < 10 {
		t.Fatalf("only %d elements found in the script", len(ids))
	}
	for _, id := range ids {
		if !strings.Contains(page, `id="`+id[1]+`"`) {
			t.Errorf("the script asks for #%s, which the page lacks", id[1])
		}
	}
}

func TestEmbeddedBuild(t *testing.T) {
	if w := get(t, Handler(), "GET", "/theatre/"); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
}
