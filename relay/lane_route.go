package relay

import (
	"errors"
	"strings"
)

// target is what a path that a lane answers leads to.
type target struct {
	caching *caching   // of its stream
	index   *rendering // of a multivariant playlist, or nil
	steer   *Steering  // of a steering manifest, or nil
	stream  *Stream    // whose it is
	window  *Window    // of a media playlist or of a media object
	list    bool       // of window
	parts   bool       // the node parts: there are no lists any more
	name    MediaName  // of the object
	rate    int64      // bits/s, of a session that begins with index
	shed    bool       // refused while the node is too busy
}

// locate finds what a path leads to. False: the path is not one that a lane
// knows, or there is nothing there.
func (s *server) locate(path string) (t target, ok bool) {
	path, ok = strings.CutPrefix(path, "/")
	if !ok {
		return t, false
	}
	first, rest, ok := strings.Cut(path, "/")
	token := ""
	switch {
	case ok && strings.HasPrefix(first, "~"):
		token = first
		first, rest, ok = strings.Cut(rest, "/")
	case first == "steering" && s.Steering != nil:
		st := s.Store.Stream(rest)
		if st == nil {
			return t, false
		}
		t.caching, t.steer, t.stream = st.caching, s.Steering, st
		return t, true
	}
	if !ok || first == "" || first[0] == '~' {
		return t, false
	}
	// A reserved name is never that of a stream in the store.
	st := s.Store.Stream(first)
	if st == nil {
		return t, false
	}
	t.caching = st.caching
	if rest == "index.m3u8" {
		t.index, t.rate = st.indexRendering(), st.sessionRate()
		if t.index == nil || !s.begins() {
			return t, false
		}
		if token != "" {
			token = "/" + token
		}
		t.index = s.Steering.steered(st.Name, t.index, token)
		return t, true
	}
	rendition, file, ok := strings.Cut(rest, "/")
	if !ok {
		return t, false
	}
	if t.window = st.Window(rendition); t.window == nil {
		return t, false
	}
	t.list = file == "live.m3u8"
	t.shed = s.sheds(st, rendition, t.list)
	if t.list {
		t.parts = s.Departure.Stage() == Parting
		return t, true
	}
	var err error
	t.name, err = ParseMediaName(file)
	return t, err == nil
}

// ask finds what a wish for a target leads to. An error that is to come
// means that the request is to be held for what the directives name.
func (t target) ask(query string, w *wish) (directives, outcome) {
	switch {
	case t.steer != nil:
		text, err := t.steer.manifest(t.stream, query)
		return directives{}, outcome{caching: t.caching, manifest: text, err: err}
	case !t.list:
		w.gzip = w.gzip && !t.media()
		return directives{}, t.now(directives{})
	}
	d, err := plainQuery(query)
	if err != nil {
		return d, outcome{caching: t.caching, err: badQuery{err}}
	}
	o := t.now(d)
	w.skip = d.skip
	w.blocking = d.block && (o.version == nil || !o.version.Playlist.Ended)
	return d, o
}

// decide finds what a plain request for a target leads to, and notes in which
// way it is wanted. An error that is to come means: when what the key of the
// directives names is there.
func (t target) decide(r *laneRequest, w *wish) (directives, outcome) {
	*w = wish{head: r.head, gzip: namesGzip(r.encodings), condition: r.condition, ranges: r.ranges}
	return t.ask(r.query, w)
}

// key is what a request with these directives waits for.
func (t target) key(d directives) holdKey { return holdKey{t.window, t.name, d.msn, d.part} }

// toCome tells whether an outcome is still to come.
func toCome(err error) bool { return errors.Is(err, errToCome) }

// badQuery is what is wrong with directives, in a sentence for who asked.
type badQuery struct{ error }

// plainQuery reads the directives of a query without an allocation where it
// has nothing but names and values in their plain spelling.
func plainQuery(query string) (directives, error) {
	d := directives{part: -1}
	if query == "" {
		return d, nil
	}
	if len(query) > maxQueryBytes || strings.IndexByte(query, '%') >= 0 || strings.IndexByte(query, '+') >= 0 || strings.IndexByte(query, ';') >= 0 {
		return parseDirectives(query)
	}
	var seen [3]bool
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		which := -1
		ok := true
		switch name {
		case "_HLS_msn":
			which = 0
			d.msn, ok = parseDecimal(value)
			d.block = true
		case "_HLS_part":
			which = 1
			var part uint64
			part, ok = parseDecimal(value)
			ok = ok && part <= maxPart
			d.part = int(part)
		case "_HLS_skip":
			which = 2
			ok = value == "YES" || value == "v2"
			d.skip = true
		default:
			continue
		}
		if !ok || seen[which] {
			return parseDirectives(query) // which says what is wrong with it
		}
		seen[which] = true
	}
	if seen[1] && !seen[0] {
		return parseDirectives(query)
	}
	return d, nil
}

// media tells whether it is a media object.
func (t target) media() bool { return t.name.Kind != 0 }

// wish is the way in which a viewer asked for something.
type wish struct {
	head      bool   // HEAD
	gzip      bool   // of a list
	skip      bool   // a delta
	blocking  bool   // the list may be cached as one that was waited for
	condition string // If-None-Match
	ranges    string // Range
}

// keep makes the wish independent of the buffer that it was read from.
func (w *wish) keep() {
	w.condition, w.ranges = strings.Clone(w.condition), strings.Clone(w.ranges)
}

// outcome is what a request leads to, before it is cut to a viewer's wish:
// one of a list, an object, a manifest, an error.
type outcome struct {
	caching  *caching // of its stream
	version  *Version
	index    *rendering
	object   *Object
	manifest []byte // of content steering
	err      error
}

// now returns what is there at once. An error that is to come means that the
// request is to be held.
func (t target) now(d directives) outcome {
	switch {
	case t.parts:
		return outcome{caching: t.caching, err: ErrLeaving}
	case t.index != nil:
		return outcome{caching: t.caching, index: t.index}
	case !t.list:
		o, err := t.window.media(t.name)
		return outcome{caching: t.caching, object: o, err: err}
	case d.block:
		v, err := t.window.ready(d.msn, d.part)
		return outcome{caching: t.caching, version: v, err: err}
	}
	v, err := t.window.Newest()
	return outcome{caching: t.caching, version: v, err: err}
}
