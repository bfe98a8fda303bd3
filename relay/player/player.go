// Package player is the page on which a viewer watches a stream: /{stream}/ and the scripts, style and licences
// that it needs under /assets/. It is not for media or playlists; the page asks the relay for those by relative
// URLs, so that whatever prefix stands before the stream's name is inherited.
//
//	/{stream}/ ─▶ page.html ─▶ ../assets/page.{hash}.js, …  ─▶ index.m3u8 (the relay's)
//
// The player library, hls.js, is third-party and not committed: make build puts it into dist. Without it the page
// says what is missing and plays where the browser knows HLS itself.
package player

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed web dist
var files embed.FS

// The page may load what this node serves and nothing else, but for media and lists, which may come from any relay
// of the pool. It may be framed by anyone: portals embed it. hls.js runs its worker from a blob.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src *; media-src * blob:; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors *"

// Handler serves GET and HEAD of /{stream}/ (the page, for any name: a stream that is not there yet is told so by
// the page) and of /assets/{name}, both also below an access prefix /~{token}. Everything is in memory and never
// changes, so all nodes of a process share it.
func Handler() http.Handler { return embedded() }

// A page and its files are made once. Packing the library, which takes a tenth of a second, is left to the first
// who asks for it: a new relay has its viewers' lists and media to see to first.
var embedded = sync.OnceValue(func() *handler { return newHandler(files) })

type handler struct {
	page   *file
	assets map[string]*file // by hashed name
	plain  map[string]*file // by name without hash
}

// newHandler panics when the embedded files do not fit together: a build that no test has seen.
func newHandler(from fs.FS) *handler {
	h := &handler{assets: map[string]*file{}, plain: map[string]*file{}}
	urls := struct{ Icon, Style, Library, Rest, Session, Page, Licences string }{
		Icon:     h.add("icon.svg", read(from, "web/icon.svg")),
		Style:    h.add("player.css", read(from, "web/player.css")),
		Rest:     h.add("rest.js", read(from, "web/rest.js")),
		Session:  h.add("session.js", read(from, "web/session.js")),
		Page:     h.add("page.js", read(from, "web/page.js")),
		Licences: h.add("licences.txt", licences(from)),
	}
	if library, err := fs.ReadFile(from, "dist/hls.min.js"); err == nil {
		urls.Library = h.add("hls.js", library)
	}
	var page bytes.Buffer
	layout := template.Must(template.ParseFS(from, "web/page.html"))
	if err := layout.Execute(&page, urls); err != nil {
		panic(err)
	}
	h.page = newFile("page.html", page.Bytes())
	return h
}

func read(from fs.FS, name string) []byte {
	body, err := fs.ReadFile(from, name)
	if err != nil {
		panic(err)
	}
	return body
}

// licences is the text behind the page's about button: ours, the library's as it came with it, and the Apache
// License that both name.
func licences(from fs.FS) []byte {
	text := read(from, "web/licences.txt")
	if library, err := fs.ReadFile(from, "dist/hls.LICENSE.txt"); err == nil {
		text = append(append(text, "\nhls.js\n"...), library...)
		text = append(text, "\n\n"...)
	}
	return append(text, read(from, "web/apache-2.0.txt")...)
}

// add stores an asset and returns its URL as the page sees it.
func (h *handler) add(name string, body []byte) string {
	f := newFile(name, body)
	extension := path.Ext(name)
	hashed := strings.TrimSuffix(name, extension) + "." + f.hash + extension
	h.assets[hashed] = f
	h.plain[name] = f
	return "../assets/" + hashed
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	path := withoutAccess(r.URL.Path)
	if name, ok := strings.CutPrefix(path, "/assets/"); ok {
		h.serveAsset(w, r, name)
		return
	}
	if stream, ok := strings.CutSuffix(path, "/"); ok && len(stream) > 1 && strings.Count(stream, "/") == 1 {
		h.servePage(w, r)
		return
	}
	notFound(w)
}

// withoutAccess takes an access prefix, /~{token}, off a path.
func withoutAccess(path string) string {
	if !strings.HasPrefix(path, "/~") {
		return path
	}
	_, rest, _ := strings.Cut(path[1:], "/")
	return "/" + rest
}

func (h *handler) servePage(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	// The page's own URL may hold an access token: it is told to nobody.
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "public, max-age=60")
	h.page.serve(w, r)
}

func (h *handler) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	if f := h.assets[name]; f != nil {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		f.serve(w, r)
		return
	}
	// While a pool changes its version, a page from one relay may ask another one for its scripts. Ours are near
	// enough, and better than none; but nobody may keep them under that name.
	if f := h.plain[unhashed(name)]; f != nil {
		w.Header().Set("Cache-Control", "no-store")
		f.serve(w, r)
		return
	}
	notFound(w)
}

// unhashed takes the hash out of name: "page.0123456789ab.js" becomes "page.js".
func unhashed(name string) string {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || len(parts[1]) != hashLength {
		return ""
	}
	return parts[0] + "." + parts[2]
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "public, max-age=2")
	http.Error(w, "not found", http.StatusNotFound)
}
