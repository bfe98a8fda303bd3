package relay

import (
	"errors"
	"net/http"
	"strconv"
)

// relayOn answers another node, which may have an object's bytes as they come:
// so a part reaches the next relay while it still reaches this one. Players get
// it when it is whole, since they would measure our upstream's speed for
// theirs. It returns false when the request is to be answered as any other.
func (s *server) relayOn(w http.ResponseWriter, r *http.Request, window *Window, name MediaName) bool {
	if r.Method != http.MethodGet || r.Header.Get("Range") != "" {
		return false
	}
	o, in, err := window.arriving(r.Context(), name)
	switch {
	case errors.Is(err, ErrNotFound):
		return false // it may be found farther back
	case err != nil:
		s.fail(w, r, err, window.caching.refused)
	case o != nil && window.behind(name):
		s.sendOld(w, r, o)
	case o != nil:
		s.sendObject(w, r, o)
	default:
		s.sendArriving(w, r, in, window.cachingOf(name))
	}
	return true
}

// sendArriving writes an object behind its fetch. When that fails for good, the
// answer is broken off, so that nobody takes it for whole.
func (s *server) sendArriving(w http.ResponseWriter, r *http.Request, in *incoming, caching []string) {
	h := w.Header()
	h["Content-Type"] = typeMedia
	h["Cache-Control"] = caching
	h["Etag"] = []string{`"` + in.name.String() + `"`}
	out := http.NewResponseController(w)
	offset := 0
	for {
		more, err := in.next(r.Context(), offset)
		switch {
		case err != nil:
			panic(http.ErrAbortHandler)
		case len(more) == 0:
			s.Load.Add(int64(offset), 0)
			return
		}
		if _, size := in.length(); offset == 0 && size >= 0 {
			h["Content-Length"] = []string{strconv.Itoa(size)}
		}
		setWriteDeadline(w, len(more))
		if _, err := w.Write(more); err != nil {
			return
		}
		_ = out.Flush() // an error shows at the next write
		offset += len(more)
	}
}
