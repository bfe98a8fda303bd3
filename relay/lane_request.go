package relay

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// verdict is what a lane does with the bytes that it has read.
type verdict uint8

const (
	incomplete verdict = iota // read on
	plain                     // a request that a lane answers
	foreign                   // not for a lane: net/http sees it
	ambiguous                 // may mean two things to two readers: refused, and the connection closed
)

// laneRequest is a plain GET or HEAD. Its strings are views into the buffer
// that it was parsed from.
type laneRequest struct {
	head      bool // HEAD
	path      string
	query     string
	encodings string // Accept-Encoding
	condition string // If-None-Match
	ranges    string // Range
}

// parseRequest reads a request head from the front of b and tells how many
// bytes it has. It is stricter than RFC 9112 asks: whatever it takes as plain,
// every other reader takes in the same way (FuzzParseRequest holds net/http
// against it), and has no body.
func parseRequest(b string) (r laneRequest, size int, v verdict) {
	line, rest, v := cutLine(b)
	if v != plain {
		return r, 0, v
	}
	known := r.parseLine(line)
	var seen fields
	for {
		if line, rest, v = cutLine(rest); v != plain {
			return r, 0, v
		}
		if line == "" {
			break
		}
		name, value, ok := cutField(line)
		if !ok {
			return r, 0, ambiguous
		}
		seen |= r.take(name, value, seen)
	}
	switch {
	case seen.has(twoHosts), seen.has(hasLength | hasCoding):
		return r, 0, ambiguous
	case !known || !seen.has(hasHost) || seen&(isForeign|hasLength|hasCoding) != 0:
		return r, 0, foreign
	}
	return r, len(b) - len(rest), plain
}

// fields are what the header fields of a request were.
type fields uint8

const (
	hasHost fields = 1 << iota
	twoHosts
	hasLength
	hasCoding
	isForeign
)

func (f fields) has(all fields) bool { return f&all == all }

// cutLine cuts a line that ends in CRLF and has no control characters. A bare
// CR or LF ends a line for some readers and not for others.
func cutLine(b string) (line, rest string, v verdict) {
	end := strings.IndexByte(b, '\n')
	if end < 0 {
		return "", "", incomplete
	}
	if end == 0 || b[end-1] != '\r' {
		return "", "", ambiguous
	}
	line = b[:end-1]
	if hasControl(line) {
		return "", "", ambiguous
	}
	return line, b[end+1:], plain
}

// hasControl tells whether a line has a control character other than a tab. It
// looks at eight bytes at a time, and at each of them only where there may be one.
func hasControl(line string) bool {
	const each = ^uint64(0) / 0xff // 0x01 in each byte
	for len(line) >= 8 {
		eight := binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(line), 8))
		del := eight ^ each*0x7f
		if (eight-each*' ')&^eight&(each*0x80) != 0 || (del-each)&^del&(each*0x80) != 0 {
			for i := range 8 {
				if isControl(line[i]) {
					return true
				}
			}
		}
		line = line[8:]
	}
	for i := range len(line) {
		if isControl(line[i]) {
			return true
		}
	}
	return false
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// parseLine reads the request line and tells whether a lane may answer it.
func (r *laneRequest) parseLine(line string) bool {
	target, ok := strings.CutPrefix(line, "GET ")
	if !ok {
		if target, ok = strings.CutPrefix(line, "HEAD "); !ok {
			return false
		}
		r.head = true
	}
	if target, ok = strings.CutSuffix(target, " HTTP/1.1"); !ok {
		return false
	}
	r.path, r.query, ok = cutTarget(target)
	return ok
}

// cutTarget splits a request target. False: it has more in it than names in
// their plain spelling.
func cutTarget(target string) (path, query string, ok bool) {
	if target == "" || target[0] != '/' {
		return "", "", false
	}
	path, query, _ = strings.Cut(target, "?")
	for i := range len(path) {
		if !pathByte(path[i]) {
			return "", "", false
		}
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return "", "", false
		}
	}
	return path, query, true
}

// pathByte tells whether a path may have the byte: those of our names, and of
// access tokens. Escapes are another spelling, and for net/http to refuse.
func pathByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' ||
		c == '/' || c == '-' || c == '.' || c == '_' || c == '~'
}

// cutField splits a header line. Its name is a token with the colon right
// behind it: neither a folded line nor a blank before the colon gets through.
func cutField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	if !ok || name == "" {
		return "", "", false
	}
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return "", "", false
		}
	}
	return name, trimBlanks(value), true
}

// trimBlanks is strings.Trim for blanks and tabs, which makes a set of its
// characters each time.
func trimBlanks(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0
}

// take notes a header field and tells what it was. The fields that change what
// a request means, and that a lane does not know, make it foreign.
func (r *laneRequest) take(name, value string, seen fields) fields {
	switch len(name) {
	case len("Host"):
		if strings.EqualFold(name, "Host") {
			return takeHost(value, seen)
		}
	case len("Range"):
		if strings.EqualFold(name, "Range") {
			return takeOnce(&r.ranges, value)
		}
	case len("Accept-Encoding"):
		if strings.EqualFold(name, "Accept-Encoding") {
			return takeOnce(&r.encodings, value)
		}
	case len("If-None-Match"):
		if strings.EqualFold(name, "If-None-Match") {
			return takeOnce(&r.condition, value)
		}
		if strings.EqualFold(name, "Authorization") {
			return isForeign
		}
	case len("Connection"):
		if strings.EqualFold(name, "Connection") && !strings.EqualFold(value, "keep-alive") {
			return isForeign
		}
	case len("Content-Length"):
		if strings.EqualFold(name, "Content-Length") {
			return hasLength
		}
	case len("Transfer-Encoding"):
		if strings.EqualFold(name, "Transfer-Encoding") {
			return hasCoding
		}
	case len("Expect"):
		if strings.EqualFold(name, "Expect") {
			return isForeign
		}
	case len("Upgrade"): // and Trailer
		if strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "Trailer") {
			return isForeign
		}
	case len("If-Range"): // and If-Match
		if strings.EqualFold(name, "If-Range") || strings.EqualFold(name, "If-Match") {
			return isForeign
		}
	}
	return 0
}

func takeHost(value string, seen fields) fields {
	switch {
	case seen.has(hasHost):
		return twoHosts
	case !plainHost(value):
		return hasHost | isForeign
	}
	return hasHost
}

// plainHost tells whether a host is one that everybody reads in the same way.
func plainHost(host string) bool {
	for i := range len(host) {
		c := host[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || strings.IndexByte("-.:[]_", c) >= 0) {
			return false
		}
	}
	return host != ""
}

// takeOnce notes a value; a field that stands twice, or is empty, is for
// net/http to make sense of.
func takeOnce(to *string, value string) fields {
	if *to != "" || value == "" {
		return isForeign
	}
	*to = value
	return 0
}
