package relay

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longListName is the file name of long lists, in URLs.
const longListName = "dvr.m3u8"

// longList answers with what viewers can look back on. It is a plain list:
// delivery directives mean nothing to it, and it is held only at the start of a
// stream, until there is a first one.
func (s *server) longList(w http.ResponseWriter, r *http.Request, st *Stream, rendition string, window *Window) {
	l, err := st.awaitLongList(r.Context(), rendition, window)
	if err != nil {
		s.fail(w, r, err, window.caching.refused)
		return
	}
	s.sendList(w, r, l.rendering, window.caching.list)
}

// awaitLongList returns a rendition's long list. It begins later than the live
// one, when the first segment has closed and is on disk; but the multivariant
// playlist and the player's page may name it by then, and players take 404 for
// the last word. So where there is a live list, the first long one is waited
// for, as long as any request is held.
//
// Errors: ErrNotFound; ErrStalled; ErrUnavailable; the context's.
func (st *Stream) awaitLongList(ctx context.Context, rendition string, window *Window) (*longList, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, window.constants.maxHold(), ErrStalled)
	defer cancel()
	recording, err := st.awaitRecording(ctx, rendition)
	if err != nil {
		return nil, err
	}
	if v := window.Version(); v == nil || v.Playlist.Ended {
		return recording.source.newest(ctx)
	}
	return recording.source.first(ctx)
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
