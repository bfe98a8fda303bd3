package relay

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// prepared is an answer in the form in which it goes out. It is made once, by
// the same functions that answer through net/http, and then shared by all who
// get the same answer.
type prepared struct {
	status int
	etag   string
	body   []byte
	media  time.Duration // what a viewer gets to see with it
	lines  []byte        // the header fields but Date, and the empty line, for HTTP/1.1
	fields []byte        // the same for HTTP/2: no entry of the dynamic table
	dated  atomic.Pointer[dated]
	file   atomic.Pointer[fileBody] // of a large body; nil until it is asked for over a bare socket
}

// dated is the front of an HTTP/1.1 answer, made anew when the clock's second
// changes.
type dated struct {
	date  *date
	front []byte // the head, and the body too when it is short
}

// joinBytes is up to which size a body is copied behind its head, so that both
// leave in one plain write.
const joinBytes = 16 << 10

// prepare makes an answer of a status, header fields and a body.
func prepare(status int, h http.Header, body []byte, media time.Duration) *prepared {
	p := &prepared{status: status, body: body, media: media, etag: h.Get("Etag")}
	if status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	p.fields = appendHeader(appendStatus(nil, status), h)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			p.lines = append(append(append(append(p.lines, name...), ": "...), value...), "\r\n"...)
		}
	}
	p.lines = append(p.lines, "\r\n"...)
	return p
}

// front returns the head as of now, with the body in it when that is short,
// and else the body beside it.
func (p *prepared) front(now *date) (front, body []byte) {
	short := len(p.body) <= joinBytes
	d := p.dated.Load()
	if d == nil || d.date != now {
		size := len(p.lines) + 128
		if short {
			size += len(p.body)
		}
		d = &dated{date: now, front: p.appendHead(make([]byte, 0, size), now)}
		if short {
			d.front = append(d.front, p.body...)
		}
		p.dated.Store(d)
	}
	if short {
		return d.front, nil
	}
	return d.front, p.body
}

// appendHead appends the head as of now.
func (p *prepared) appendHead(b []byte, now *date) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(p.status), 10)
	b = append(append(b, ' '), http.StatusText(p.status)...)
	b = append(append(append(b, "\r\nDate: "...), now.text...), "\r\n"...)
	return append(b, p.lines...)
}

// The ways in which a list goes out, as indexes of rendering.answers.
const (
	listGzip = 1 << iota
	listBlocking
	listWays
)

// list prepares the answer with a list.
func (s *server) list(r *rendering, gzip, blocking bool, c *caching) *prepared {
	way := 0
	if gzip {
		way |= listGzip
	}
	if blocking {
		way |= listBlocking
	}
	if p := r.answers[way].Load(); p != nil {
		return p
	}
	h := http.Header{}
	open(h)
	body, _ := describeList(h, r, c.of(blocking), gzip)
	// Two who come first at once may both prepare it: one of the two stays.
	r.answers[way].CompareAndSwap(nil, prepare(http.StatusOK, h, body, 0))
	return r.answers[way].Load()
}

// object prepares the answer with a media object.
func (s *server) object(o *Object) *prepared {
	if p := o.answer.Load(); p != nil {
		return p
	}
	h := http.Header{}
	open(h)
	describeObject(h, o)
	o.answer.CompareAndSwap(nil, prepare(http.StatusOK, h, o.Body, o.Duration))
	return o.answer.Load()
}

// serveAnswer prepares whatever a handler answers to a request. It is for
// what is rare: errors, ranges, what has not changed.
func serveAnswer(media time.Duration, answer func(w http.ResponseWriter)) *prepared {
	w := recorder{header: http.Header{}, status: http.StatusOK}
	open(w.header)
	answer(&w)
	return prepare(w.status, w.header, w.body.Bytes(), media)
}

// ambiguous is the answer to a request that may mean two things; nothing
// follows it.
func (s *server) ambiguous() *prepared {
	return serveAnswer(0, func(w http.ResponseWriter) {
		w.Header()["Connection"] = []string{"close"}
		s.refuse(w, http.StatusBadRequest, "this request can be read in two ways")
	})
}

// tooLarge is the answer to a request whose header list is too long.
func (s *server) tooLarge() *prepared {
	return serveAnswer(0, func(w http.ResponseWriter) {
		s.refuse(w, http.StatusRequestHeaderFieldsTooLarge, "the header of this request is too long")
	})
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *recorder) WriteHeader(status int)      { w.status = status }

// cut makes a viewer's answer of an outcome.
func (s *server) cut(o outcome, w *wish) *prepared {
	switch {
	case o.err != nil:
		return serveAnswer(0, func(to http.ResponseWriter) { s.failed(to, o.err, o.caching.none(w.blocking)) })
	case o.object != nil:
		return s.cutObject(o.object, w)
	case o.manifest != nil:
		return serveAnswer(0, func(to http.ResponseWriter) {
			describeManifest(to.Header())
			_, _ = to.Write(o.manifest)
		})
	}
	list := o.index
	if o.version != nil {
		list = o.version.full
		if w.skip {
			list = o.version.delta()
		}
	}
	return unchanged(s.list(list, w.gzip, w.blocking, o.caching), w)
}

func (s *server) cutObject(o *Object, w *wish) *prepared {
	p := unchanged(s.object(o), w)
	if w.ranges == "" || p.status != http.StatusOK {
		return p
	}
	part, contentRange := cutRange(w.ranges, o.Body)
	if contentRange == "" {
		return p
	}
	h := http.Header{}
	open(h)
	describeObject(h, o)
	h["Content-Range"] = []string{contentRange}
	if part != nil {
		return prepare(http.StatusPartialContent, h, part, o.Duration)
	}
	return serveAnswer(0, func(to http.ResponseWriter) {
		maps.Copy(to.Header(), h)
		s.refuseRange(to)
	})
}

// unchanged turns an answer into 304 where the viewer has its body.
func unchanged(p *prepared, w *wish) *prepared {
	if !matches(w.condition, p.etag) {
		return p
	}
	h := http.Header{}
	for line := range bytes.Lines(p.lines[:len(p.lines)-2]) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\r\n")), []byte(": "))
		if string(name) != "Content-Length" && string(name) != "Content-Type" {
			h[string(name)] = []string{string(value)}
		}
	}
	return prepare(http.StatusNotModified, h, nil, 0)
}
