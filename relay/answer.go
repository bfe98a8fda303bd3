package relay

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// directives are the delivery directives of a media playlist request.
type directives struct {
	block bool // _HLS_msn is there
	msn   uint64
	part  int // negative: the whole segment
	skip  bool
}

// maxQueryBytes bounds a query; players add CMCD and their own marks to it.
const maxQueryBytes = 4 << 10

// parseDirectives reads the _HLS_ parameters of a query in any order. Those
// that it does not know are reserved and ignored, as is all else.
func parseDirectives(query string) (directives, error) {
	d := directives{part: -1}
	if query == "" {
		return d, nil
	}
	if len(query) > maxQueryBytes {
		return d, fmt.Errorf("the query is longer than %d bytes", maxQueryBytes)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return d, errors.New("the query can't be read")
	}
	for _, name := range []string{"_HLS_msn", "_HLS_part", "_HLS_skip"} {
		if len(values[name]) > 1 {
			return d, fmt.Errorf("%s stands twice", name)
		}
	}
	if values.Has("_HLS_msn") {
		if d.msn, d.block = parseDecimal(values.Get("_HLS_msn")); !d.block {
			return d, errors.New("_HLS_msn is not a media sequence number")
		}
	}
	if values.Has("_HLS_part") {
		part, ok := parseDecimal(values.Get("_HLS_part"))
		switch {
		case !d.block:
			return d, errors.New("_HLS_part without _HLS_msn")
		case !ok || part > maxPart:
			return d, errors.New("_HLS_part is not the number of a part")
		}
		d.part = int(part)
	}
	if values.Has("_HLS_skip") {
		v := values.Get("_HLS_skip")
		if v != "YES" && v != "v2" {
			return d, errors.New("_HLS_skip is neither YES nor v2")
		}
		d.skip = true
	}
	return d, nil
}

// acceptsGzip tells whether the list may go out compressed.
func acceptsGzip(r *http.Request) bool {
	for _, accepted := range r.Header["Accept-Encoding"] {
		if namesGzip(accepted) {
			return true
		}
	}
	return false
}

// namesGzip tells whether an Accept-Encoding allows gzip.
func namesGzip(accepted string) bool {
	for accepted != "" {
		var coding string
		coding, accepted, _ = strings.Cut(accepted, ",")
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(name, "gzip") && strings.ReplaceAll(quality, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// send writes a whole answer and counts it. media is what a viewer got to see
// with it.
func (s *server) send(w http.ResponseWriter, r *http.Request, body []byte, etag string, media time.Duration) {
	h := w.Header()
	if matches(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Type") // there is no content
		w.WriteHeader(http.StatusNotModified)
		s.Load.Add(0, 0)
		return
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if r.Method == http.MethodHead {
		s.Load.Add(0, 0)
		return
	}
	setWriteDeadline(w, len(body))
	// An error means that the reader left; there is nobody to tell.
	n, err := w.Write(body)
	if err != nil {
		media = 0
	}
	s.Load.Add(int64(n), media)
}

// sendPart writes one range of an object.
func (s *server) sendPart(w http.ResponseWriter, r *http.Request, part []byte, media time.Duration) {
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(part))}
	setWriteDeadline(w, len(part))
	w.WriteHeader(http.StatusPartialContent)
	if r.Method == http.MethodHead {
		s.Load.Add(0, 0)
		return
	}
	n, err := w.Write(part)
	if err != nil {
		media = 0
	}
	s.Load.Add(int64(n), media)
}

// matches tells whether an If-None-Match names the tag.
func matches(condition, etag string) bool {
	if condition == "" {
		return false
	}
	for tag := range strings.SplitSeq(condition, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// A reader slower than minRate holds memory for nothing that can be watched;
// its connection is closed.
const (
	minRate       = 16 << 10 // bytes/s
	writePatience = 10 * time.Second
)

func setWriteDeadline(w http.ResponseWriter, size int) {
	// Without support for deadlines (a test's recorder) there is none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience(size)))
}

// patience is how long a reader may take for that many bytes.
func patience(size int) time.Duration {
	return writePatience + time.Duration(size/minRate)*time.Second
}
