package relay

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longListName is the file name of long lists, in URLs.
const longListName = "dvr.m3u8"

// longList answers with what viewers can look back on. It is a plain list:
// never held, and delivery directives mean nothing to it.
func (s *server) longList(w http.ResponseWriter, r *http.Request, window *Window, recording *Recording) {
	if recording == nil {
		s.fail(w, r, ErrNotFound, window.caching.refused)
		return
	}
	l, err := recording.source.newest(r.Context())
	if err != nil {
		s.fail(w, r, err, window.caching.refused)
		return
	}
	s.sendList(w, r, l.rendering, window.caching.list)
}

// lookBack answers with media that have left the live window.
func (s *server) lookBack(w http.ResponseWriter, r *http.Request, recording *Recording, name MediaName) {
	pull := !strings.Contains(r.Header.Get("Cache-Control"), onlyIfCached)
	f, size, media, err := recording.open(r.Context(), name, pull)
	switch {
	case err != nil && !pull:
		s.refuse(w, http.StatusGatewayTimeout, "this node does not have it")
		return
	case err != nil:
		s.fail(w, r, err, recording.window.caching.refused)
		return
	}
	defer f.Close()
	select {
	case recording.dvr.reads <- struct{}{}:
		defer func() { <-recording.dvr.reads }()
	default:
		s.fail(w, r, fmt.Errorf("%w: the disk is busy", ErrUnavailable), recording.window.caching.refused)
		return
	}
	h := w.Header()
	h["Content-Type"] = typeMedia
	h["Cache-Control"] = recording.window.cachingOf(name)
	h["Etag"] = []string{`"` + name.String() + `"`}
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // one range or all: no answer of many small pieces
	}
	setWriteDeadline(w, int(size))
	http.ServeContent(w, r, "", time.Time{}, f)
	sent, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64) // none: nothing was sent
	if sent == 0 || r.Method == http.MethodHead {
		sent, media = 0, 0
	}
	if s.fromNode(r) {
		media = 0
	}
	s.Load.Add(sent, media)
}

// longIndexText turns the multivariant playlist into that of the long lists.
func longIndexText(index []byte) []byte {
	return []byte(strings.ReplaceAll(string(index), "/live.m3u8", "/"+longListName))
}
