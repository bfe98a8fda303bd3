package player

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// hashLength is the part of a file's SHA-256 that goes into its name, in hex digits: 48 bits among a handful of files.
const hashLength = 12

var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// file is one embedded text, ready to be sent plain or packed. It never changes.
type file struct {
	contentType string
	hash        string
	plain       []byte
	packed      func() []byte // made when the first one asks, who waits for it
}

func newFile(name string, body []byte) *file {
	sum := sha256.Sum256(body)
	return &file{
		contentType: contentTypes[path.Ext(name)],
		hash:        hex.EncodeToString(sum[:])[:hashLength],
		plain:       body,
		packed:      sync.OnceValue(func() []byte { return pack(body) }),
	}
}

// pack gzips body. Writing to memory has no errors to return.
func pack(body []byte) []byte {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	w.Write(body)
	w.Close()
	return packed.Bytes()
}

// serve answers a GET or HEAD with 200 or 304. The caller has set the caching rules.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	body, etag := f.plain, `"`+f.hash+`"`
	header := w.Header()
	header.Set("Vary", "Accept-Encoding")
	header.Set("X-Content-Type-Options", "nosniff")
	if acceptsGzip(r) {
		body, etag = f.packed(), `"`+f.hash+`-gzip"`
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", etag)
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	w.Write(body)
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if name == "gzip" && strings.TrimSpace(quality) != "q=0" {
			return true
		}
	}
	return false
}
