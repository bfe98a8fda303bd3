package relay

import (
	"net/http"
	"strconv"
	"strings"
)

// cutRange cuts the one range that a Range field asks for out of body, and
// returns it with its Content-Range. A range that lies outside has no part and
// a Content-Range that says how long the body is. What is not one range of
// bytes has neither: it is ignored and the whole body sent (RFC 9110 14.2), so
// that a request for ten thousand ranges costs no more than one for none.
func cutRange(field string, body []byte) (part []byte, contentRange string) {
	first, last, ok := strings.Cut(field, "-")
	first, units := strings.CutPrefix(first, "bytes=")
	if !ok || !units {
		return nil, ""
	}
	size := uint64(len(body))
	from, bounded := rangeNumber(first)
	to, closed := rangeNumber(last)
	switch {
	case !bounded && first != "", !closed && last != "", !bounded && !closed, bounded && closed && to < from:
		return nil, ""
	case !bounded: // the last bytes
		from, to = size-min(to, size), size
	case !closed:
		to = size
	default:
		// A player that doesn't know the length asks up to 2^53-1.
		to = min(to, size-1) + 1
	}
	if from >= size {
		return nil, "bytes */" + strconv.FormatUint(size, 10)
	}
	return body[from:to], "bytes " + strconv.FormatUint(from, 10) + "-" + strconv.FormatUint(to-1, 10) + "/" + strconv.FormatUint(size, 10)
}

// rangeNumber reads digits; leading zeros are allowed here (RFC 9110 14.1.1).
func rangeNumber(s string) (uint64, bool) {
	if s == "" || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil
}

// ifRange tells whether the range is wanted of this version of the object.
func ifRange(r *http.Request, etag string) bool {
	condition := r.Header.Get("If-Range")
	return condition == "" || condition == etag
}
