package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// ServerConfig says what a server serves and whom it asks.
type ServerConfig struct {
	Store      *Store
	Credential *Credential // knows the requests of other nodes
	Load       *Load       // counts what goes out
	Logger     *slog.Logger

	// Redirect returns the base URL (http://127.0.0.2:8080) of the relay to
	// which a new public session is sent, or "" to serve it here. Called from
	// any goroutine, must not block. Nil on relays: they serve.
	Redirect func() string
	// NodesOnly keeps a session from beginning here also while Redirect names
	// no relay, or it was sent on before: it gets 503. What lies below the
	// multivariant playlist is served to who asks.
	NodesOnly bool
	// Departure is how far the node is on its way out of the pool. Nil: it stays.
	Departure *Departure
	// Elsewhere is what Redirect is, for a node that drains, and for a session
	// that is not let in. Nil: what Redirect says.
	Elsewhere func() string
	// Steering tells viewers of the other relays. Nil: multivariant playlists
	// name this node alone, and there is no /steering/.
	Steering *Steering
	// Admission decides who is let in. Nil: everyone is.
	Admission *Admission
	// Restoring tells that the node does not know yet what there is. Who asks
	// meanwhile for what it has not gets 503, for on 404 players give up. Called
	// from any goroutine, must not block. Nil: it knows.
	Restoring func() bool
	// Ready tells why this node is not to be listed; nil when it is.
	Ready func() error
	// Alive tells what an operator should know of a node that lives, as
	// "isolated"; "" when all is well. May be nil.
	Alive func() string
	// Slots are what this node has for children; nil: it takes all who ask.
	Slots *Slots
	// Pool serves /pool/…, only to other nodes. May be nil.
	Pool http.Handler
	// Hello serves /pool/hello to whoever asks: it knows nodes by itself, also
	// those whose clock is wrong. May be nil.
	Hello http.Handler
	// Player serves /assets/… and each stream's page. May be nil.
	Player http.Handler
}

// server answers everything that a node's public listener is asked.
type server struct{ ServerConfig }

// NewServer returns the handler of a node's public listener:
//
//	/{stream}/index.m3u8                      multivariant playlist
//	/{stream}/{rendition}/live.m3u8           media playlist, blocking reload
//	/{stream}/…/dvr.m3u8                      the same for looking back: plain lists
//	/{stream}/{rendition}/{epoch}/{file}      init segment, segment, part
//	/{stream}/, /assets/…                     the player
//	/steering/{stream}                        content steering manifest
//	/healthz, /readyz                         liveness, readiness
//	/pool/…                                   node to node
//
// An access prefix /~{token}/ before a stream is stripped.
func NewServer(c ServerConfig) http.Handler { return &server{c} }

// Header values that many answers share: set as slices, they cost nothing.
var (
	typePlaylist = []string{"application/vnd.apple.mpegurl"}
	typeMedia    = []string{"video/mp4"}
	anyOrigin    = []string{"*"}
	exposed      = []string{"Age, Date, Content-Length, Content-Range, Retry-After, CMSD-Static, CMSD-Dynamic"}
	varyEncoding = []string{"Accept-Encoding"}
	encodingGzip = []string{"gzip"}
	noStore      = []string{"no-store"}
	brief        = []string{"public, max-age=2"} // of what no stream has a say in
	takesRanges  = []string{"bytes"}
)

// ServeHTTP is the surface of a node, at a glance.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	expectNoBody(w, r)
	h := w.Header()
	open(h)
	s.part(w, r)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		preflight(w)
		return
	case http.MethodPost:
		if strings.HasPrefix(r.URL.Path, "/pool/") && r.URL.RawPath == "" {
			s.pool(w, r) // an order that one node passes on to another
			return
		}
		fallthrough
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		s.refuse(w, http.StatusMethodNotAllowed, "this server takes GET and HEAD only")
		return
	}
	// An escape where none is needed is another spelling of a name: one object
	// has one name.
	path, ok := strings.CutPrefix(r.URL.Path, "/")
	if !ok || r.URL.RawPath != "" {
		s.fail(w, r, ErrNotFound, brief)
		return
	}
	first, rest, nested := strings.Cut(path, "/")
	switch {
	case first == "healthz" && !nested:
		s.healthz(w)
	case first == "readyz" && !nested:
		s.readyz(w)
	case first == "pool" && nested:
		s.pool(w, r)
	case first == "steering" && nested:
		s.steer(w, r, rest)
	case first == "assets" && nested && s.Player != nil:
		s.player(w, r)
	case strings.HasPrefix(first, "~") && nested:
		stream, rest, nested := strings.Cut(rest, "/")
		if stream == "assets" && nested && s.Player != nil {
			s.player(w, r)
			return
		}
		s.stream(w, r, "/"+first, stream, rest, nested)
	default:
		s.stream(w, r, "", first, rest, nested)
	}
}

// open lets pages of any site read the answer.
func open(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
}

// preflight answers what a browser asks before a request with a Range or CMCD
// headers from another site.
func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Range, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session")
	h.Set("Access-Control-Max-Age", "86400")
	setWriteDeadline(w, 0)
	w.WriteHeader(http.StatusNoContent)
}

// stream answers for one stream; prefix is the access prefix.
func (s *server) stream(w http.ResponseWriter, r *http.Request, prefix, name, rest string, nested bool) {
	switch {
	case ValidStream(name) != nil:
		s.fail(w, r, ErrNotFound, brief)
	case !nested && s.Player != nil:
		w.Header()["Cache-Control"] = brief
		setWriteDeadline(w, 0)
		http.Redirect(w, r, prefix+"/"+name+"/", http.StatusPermanentRedirect)
	case rest == "" && s.Player != nil:
		s.player(w, r)
	case rest == "index.m3u8" || rest == longListName:
		s.index(w, r, prefix, name, rest)
	default:
		s.rendition(w, r, name, rest)
	}
}

// rendition answers for what lies below a rendition.
func (s *server) rendition(w http.ResponseWriter, r *http.Request, stream, path string) {
	rendition, file, ok := strings.Cut(path, "/")
	st := s.Store.Stream(stream)
	if !ok || st == nil {
		s.fail(w, r, ErrNotFound, brief)
		return
	}
	window := st.Window(rendition)
	switch {
	case window == nil:
		s.fail(w, r, ErrNotFound, st.caching.refused)
	case s.Departure.Stage() == Parting && (file == "live.m3u8" || file == longListName):
		s.fail(w, r, ErrLeaving, nil)
	case s.sheds(st, rendition, file == "live.m3u8" || file == longListName) && !s.fromNode(r):
		s.sayBusy(w)
	case file == "live.m3u8":
		s.live(w, r, window)
	case file == longListName:
		s.longList(w, r, st, rendition, window)
	default:
		s.media(w, r, window, st.recording(rendition), file)
	}
}

// fromNode tells whether another node of the pool asks.
func (s *server) fromNode(r *http.Request) bool {
	return s.Credential != nil && r.Header.Get("Authorization") != "" && s.Credential.Valid(r)
}

// live answers with a media playlist, held until it has what is asked for.
func (s *server) live(w http.ResponseWriter, r *http.Request, window *Window) {
	d, err := parseDirectives(r.URL.RawQuery)
	if err != nil {
		s.failed(w, badQuery{err}, window.caching.refused)
		return
	}
	child := s.Slots != nil && s.fromNode(r)
	if child && !s.feeds(w, r, window, d) {
		return
	}
	v := window.Version()
	waited := d.block && v != nil && !v.Playlist.Ended
	if waited {
		v, err = window.Await(r.Context(), d.msn, d.part)
	} else {
		v, err = window.Newest()
	}
	if err != nil {
		s.fail(w, r, err, window.caching.none(waited))
		return
	}
	if child {
		s.trace(w.Header(), v)
	}
	list := v.full
	if d.skip {
		list = v.delta()
	}
	s.sendList(w, r, list, window.caching.of(waited))
}

// media answers with an init segment, a segment or a part; one that comes next
// is held until it is whole.
func (s *server) media(w http.ResponseWriter, r *http.Request, window *Window, recording *Recording, file string) {
	name, err := ParseMediaName(file)
	if err != nil {
		s.fail(w, r, ErrNotFound, window.caching.refused)
		return
	}
	if s.fromNode(r) && (!s.spares(w, r, window, name) || s.relayOn(w, r, window, name)) {
		return
	}
	o, err := window.Media(r.Context(), name)
	switch {
	case errors.Is(err, ErrNotFound) && recording != nil:
		s.lookBack(w, r, recording, name)
	case err != nil:
		s.fail(w, r, err, window.caching.refused)
	default:
		s.sendObject(w, r, o)
	}
}

func (s *server) sendList(w http.ResponseWriter, r *http.Request, list *rendering, caching []string) {
	body, etag := describeList(w.Header(), list, caching, acceptsGzip(r))
	s.send(w, r, body, etag, 0)
}

// describeList sets what a list's answer says of it, and returns its body and
// tag.
func describeList(h http.Header, list *rendering, caching []string, gzip bool) (body []byte, etag string) {
	h["Content-Type"] = typePlaylist
	h["Cache-Control"] = caching
	if list.private {
		h["Cache-Control"] = noStore
	}
	h["Vary"] = varyEncoding
	body, etag = list.text, `"`+list.etag+`"`
	if gzip {
		body, etag = list.gzip(), `"`+list.etag+`-gzip"`
		h["Content-Encoding"] = encodingGzip
	}
	h["Etag"] = []string{etag}
	return body, etag
}

func (s *server) sendObject(w http.ResponseWriter, r *http.Request, o *Object) {
	etag := describeObject(w.Header(), o)
	media := o.Duration
	if s.fromNode(r) {
		media = 0
	}
	body := o.Body
	if ranges := r.Header.Get("Range"); ranges != "" && !matches(r.Header.Get("If-None-Match"), etag) && ifRange(r, etag) {
		part, contentRange := cutRange(ranges, body)
		switch {
		case part != nil:
			w.Header()["Content-Range"] = []string{contentRange}
			s.sendPart(w, r, part, media)
			return
		case contentRange != "":
			w.Header()["Content-Range"] = []string{contentRange}
			s.refuseRange(w)
			return
		}
	}
	s.send(w, r, body, etag, media)
}

// refuseRange answers when a range begins beyond the end of an object.
func (s *server) refuseRange(w http.ResponseWriter) {
	w.Header().Del("Etag") // the tag of the object, not of this sentence
	s.refuse(w, http.StatusRequestedRangeNotSatisfiable, "there is no such range in it")
}

// describeObject sets what a media object's answer says of it, and returns its
// tag: the name of an object is never used for other bytes, so it is that.
func describeObject(h http.Header, o *Object) (etag string) {
	h["Content-Type"] = typeMedia
	h["Cache-Control"] = o.caching
	h["Accept-Ranges"] = takesRanges
	etag = `"` + o.Name.String() + `"`
	h["Etag"] = []string{etag}
	return etag
}

// healthz says that the process lives, and serves what it has.
func (s *server) healthz(w http.ResponseWriter) {
	text := "ok"
	if s.Alive != nil {
		if note := s.Alive(); note != "" {
			text = note
		}
	}
	say(w, http.StatusOK, noStore, text)
}

// readyz says whether this node is to be listed.
func (s *server) readyz(w http.ResponseWriter) {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			s.refuse(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
	}
	say(w, http.StatusOK, noStore, "ready")
}

// playerBytes is the most that one answer of the player can be.
const playerBytes = 2 << 20

func (s *server) player(w http.ResponseWriter, r *http.Request) {
	setWriteDeadline(w, playerBytes)
	s.Player.ServeHTTP(w, r)
}

// helloPath is where nodes speak that may not know each other yet.
const helloPath = "/pool/hello"

// pool lets other nodes in and nobody else.
func (s *server) pool(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.Hello != nil && r.URL.Path == helloPath:
		s.Hello.ServeHTTP(w, r)
	case s.Pool == nil:
		s.fail(w, r, ErrNotFound, brief)
	case !s.fromNode(r):
		s.refuse(w, http.StatusUnauthorized, "this path is for the nodes of the pool")
	default:
		w.Header()["Cache-Control"] = noStore
		s.Pool.ServeHTTP(w, r)
	}
}

// fail answers with an error, or with none when the one who asked is gone: an
// aborted answer is never cached. refused is for how long caches may keep that
// there is no such thing.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error, refused []string) {
	gone := r.Context().Err() != nil && !errors.Is(context.Cause(r.Context()), ErrLeaving)
	if gone || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	s.failed(w, err, refused)
}

// failed maps a window's errors to HTTP, in this one place.
func (s *server) failed(w http.ResponseWriter, err error, refused []string) {
	var bad badQuery
	switch {
	case errors.As(err, &bad):
		say(w, http.StatusBadRequest, refused, bad.Error())
	case errors.Is(err, ErrNotFound) && s.Restoring != nil && s.Restoring():
		s.refuse(w, http.StatusServiceUnavailable, "this node is starting and does not know yet what there is, try again")
	case errors.Is(err, ErrNotFound):
		say(w, http.StatusNotFound, refused, "there is no such thing here, or not any more")
	case errors.Is(err, ErrTooFar):
		s.refuse(w, http.StatusBadRequest, "this lies too far ahead of the live stream")
	case errors.Is(err, ErrUnavailable):
		s.refuse(w, http.StatusServiceUnavailable, "this can't be had at this moment, try again")
	case errors.Is(err, ErrLeaving):
		s.refuse(w, http.StatusServiceUnavailable, "this node leaves, ask another one")
	case errors.Is(err, ErrStalled):
		s.refuse(w, http.StatusServiceUnavailable, "the stream stands still, try again")
	default:
		// Without the path: an access prefix is a viewer's secret.
		s.Logger.Error("answer a request", "err", err)
		s.refuse(w, http.StatusInternalServerError, "this is our fault, try again")
	}
}

// refuse answers with an error and a sentence. See caching for what is kept.
func (s *server) refuse(w http.ResponseWriter, status int, sentence string) {
	caching := brief
	if status >= 500 {
		caching = noStore
		w.Header().Set("Retry-After", "2")
	}
	say(w, status, caching, sentence)
}

// say answers with one line of text.
func say(w http.ResponseWriter, status int, caching []string, line string) {
	h := w.Header()
	h["Cache-Control"] = caching
	h.Set("Content-Type", "text/plain; charset=utf-8")
	setWriteDeadline(w, len(line))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n")
}
