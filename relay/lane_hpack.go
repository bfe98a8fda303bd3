package relay

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// Header blocks of answers use HPACK's static table and literals that are not
// indexed (RFC 7541 6.2.2), never the dynamic table: so one block is right on
// every connection, at any time, and is made once.

// staticNames are the entries of the static table that answers use
// (RFC 7541, appendix A).
var staticNames = map[string]byte{
	"accept-ranges":               18,
	"access-control-allow-origin": 20,
	"allow":                       22,
	"cache-control":               24,
	"content-encoding":            26,
	"content-length":              28,
	"content-range":               30,
	"content-type":                31,
	"date":                        33,
	"etag":                        34,
	"location":                    46,
	"retry-after":                 53,
	"vary":                        59,
}

// staticStatus are its whole entries for :status.
var staticStatus = map[int]byte{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

// appendStatus appends the field with which every answer begins.
func appendStatus(b []byte, status int) []byte {
	if index, ok := staticStatus[status]; ok {
		return append(b, 0x80|index)
	}
	return appendText(append(b, 0x08), strconv.Itoa(status))
}

// appendField appends one header field, its name in any case.
func appendField(b []byte, name, value string) []byte {
	name = lowerName(name)
	if index, ok := staticNames[name]; ok {
		b = appendInteger(b, 4, 0, uint64(index))
	} else {
		b = appendText(append(b, 0), name)
	}
	return appendText(b, value)
}

// appendHeader appends header fields in the order of their names.
func appendHeader(b []byte, h http.Header) []byte {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			b = appendField(b, name, value)
		}
	}
	return b
}

// appendText appends a string, in Huffman's code where that is shorter.
func appendText(b []byte, s string) []byte {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		return hpack.AppendHuffmanString(appendInteger(b, 7, 0x80, n), s)
	}
	return append(appendInteger(b, 7, 0, uint64(len(s))), s...)
}

// appendInteger appends n with a prefix of that many bits (RFC 7541 5.1).
func appendInteger(b []byte, bits int, first byte, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// lowerName returns a header field's name as HTTP/2 has it.
func lowerName(name string) string {
	lower := []byte(name)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}
