package relay

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Head is a header block, decoded field by field.
type h2Head struct {
	decoder *hpack.Decoder

	method, scheme, authority, path string
	fields                          []hpack.HeaderField // the others; reused
	size                            int                 // of the list, as RFC 9113 6.5.2 counts it
	bad                             bool                // malformed: RFC 9113 8.1.1
	large                           bool                // over h2ListBytes; what came later is missing
}

func (h *h2Head) reset() {
	clear(h.fields)
	*h = h2Head{decoder: h.decoder, fields: h.fields[:0]}
	h.decoder.SetEmitEnabled(true)
}

// take notes a field. Of a list that is too large the decoder only keeps its
// own state.
func (h *h2Head) take(f hpack.HeaderField) {
	if h.size += int(f.Size()); h.size > h2ListBytes {
		h.large = true
		h.decoder.SetEmitEnabled(false)
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		h.pseudo(f)
		return
	}
	h.bad = h.bad || !h2Name(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) || h2OfConnection(f)
	h.fields = append(h.fields, f)
}

// pseudo notes a pseudo-header field: they come first, each once.
func (h *h2Head) pseudo(f hpack.HeaderField) {
	var to *string
	switch f.Name {
	case ":method":
		to = &h.method
	case ":scheme":
		to = &h.scheme
	case ":authority":
		to = &h.authority
	case ":path":
		to = &h.path
	}
	if to == nil || *to != "" || f.Value == "" || len(h.fields) > 0 || !httpguts.ValidHeaderFieldValue(f.Value) {
		h.bad = true
		return
	}
	*to = f.Value
}

// h2Name tells whether a field's name is one of HTTP/2: a token in lower case.
func h2Name(name string) bool {
	for i := range len(name) {
		if c := name[i]; !tokenByte(c) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return name != ""
}

// h2OfConnection tells whether a field is about a connection, as HTTP/1.1 has
// them: RFC 9113 8.2.2.
func h2OfConnection(f hpack.HeaderField) bool {
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	case "te":
		return f.Value != "trailers"
	}
	return false
}

// whole tells whether the block can be a request.
func (h *h2Head) whole() bool {
	return !h.bad && (h.large || h.method != "" && h.scheme != "" && h.path != "" &&
		(h.path[0] == '/' || h.path == "*" && h.method == http.MethodOptions))
}

// plain reads the request as one that a lane answers, by the rules of the lane
// for HTTP/1.1.
func (h *h2Head) plain() (r laneRequest, plain bool) {
	switch h.method {
	case http.MethodGet:
	case http.MethodHead:
		r.head = true
	default:
		return r, false
	}
	var ok bool
	if r.path, r.query, ok = cutTarget(h.path); !ok {
		return r, false
	}
	var seen fields
	if h.authority != "" {
		seen = takeHost(h.authority, seen)
	}
	for i := range h.fields {
		seen |= r.take(h.fields[i].Name, h.fields[i].Value, seen)
	}
	return r, seen == hasHost
}

// headers reads a header block to its end and begins what it asks for.
func (c *h2Conn) headers(f *http2.HeadersFrame) error {
	id, ended, depends := f.StreamID, f.StreamEnded(), f.HasPriority()
	block, last := f.HeaderBlockFragment(), f.HeadersEnded()
	c.head.reset()
	for size := 0; ; {
		if size += len(block); size > h2BlockBytes {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		if _, err := c.decoder.Write(block); err != nil {
			return http2.ConnectionError(http2.ErrCodeCompression)
		}
		if last {
			break
		}
		more, err := c.framer.ReadFrame()
		if err != nil {
			return h2Cause(err)
		}
		next := more.(*http2.ContinuationFrame) // the framer lets no other through
		block, last = next.HeaderBlockFragment(), next.HeadersEnded()
		if err := c.budget.spend(h2CostBlock); err != nil {
			return err
		}
	}
	if c.decoder.Close() != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	if depends && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	return c.begin(id, ended)
}

// begin begins the stream that a header block opens, or ends the one that has
// it as its trailers.
func (c *h2Conn) begin(id uint32, ended bool) error {
	c.mu.Lock()
	s, newest, leaving, open := c.streams[id], c.newest, c.leaving, len(c.streams)
	if id%2 == 1 && id > newest && !leaving {
		c.newest = id
	}
	c.mu.Unlock()
	switch {
	case s != nil:
		return c.trailers(s, ended)
	case id%2 == 0 || id <= newest:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case leaving:
		return c.budget.spend(h2CostFrame) // it was told that this one is not served
	case open >= h2Streams:
		c.reset(id, http2.ErrCodeRefusedStream)
		return c.budget.spend(h2CostRefused)
	case !c.head.whole():
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	case c.head.large:
		c.respond(&h2Stream{conn: c, id: id, open: !ended}, c.lane.server.tooLarge())
		return c.budget.spend(h2CostFault)
	}
	return c.request(id, ended)
}

// trailers end a request's body.
func (c *h2Conn) trailers(s *h2Stream, ended bool) error {
	c.mu.Lock()
	open := s.open
	s.open = false
	c.mu.Unlock()
	switch {
	case !open:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	case !ended || c.head.bad || c.head.method+c.head.path+c.head.scheme+c.head.authority != "":
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	return c.budget.spend(h2CostFrame)
}

// request answers a request, now or when it can be, or lets a handler do so.
func (c *h2Conn) request(id uint32, ended bool) error {
	s := c.lane.server
	r, ok := c.head.plain()
	if !ok || !ended {
		return c.handle(id, ended)
	}
	t, ok := s.locate(r.path)
	if !ok {
		return c.handle(id, ended)
	}
	if p := s.turnedAway(&t, &r); p != nil {
		c.answer(id, p, r.head)
		return nil
	}
	var w wish
	d, o := t.decide(&r, &w)
	switch {
	case toCome(o.err):
		c.hold(id, t.key(d), w)
	case o.err != nil && t.media():
		return c.handle(id, ended) // it may be elsewhere than in the window
	default:
		c.answer(id, s.cut(o, &w), r.head)
	}
	return nil
}
