package relay

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// One request that each verdict has, by what is odd about it.
var requests = map[string]verdict{
	"GET /theatre/main/live.m3u8?_HLS_msn=7&_HLS_part=1 HTTP/1.1\r\nHost: a:80\r\nUser-Agent: x\r\n\r\n": plain,
	"HEAD / HTTP/1.1\r\nhost: [::1]\r\nAccept-Encoding: gzip, br\r\nRange: bytes=0-1\r\n\r\n":            plain,
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\n":                      plain,
	"GET / HTTP/1.1\r\nHost: a\r\n": incomplete,
	"":                              incomplete,
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":                                foreign,
	"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n":                                foreign,
	"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n":                          foreign,
	"GET / HTTP/1.1\r\n\r\n":                                                                foreign,
	"GET / HTTP/1.0\r\nHost: a\r\n\r\n":                                                     foreign,
	"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n":                                             foreign,
	"GET /%2e%2e/ HTTP/1.1\r\nHost: a\r\n\r\n":                                              foreign,
	"GET  / HTTP/1.1\r\nHost: a\r\n\r\n":                                                    foreign,
	"POST / HTTP/1.1\r\nHost: a\r\n\r\n":                                                    foreign,
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                      foreign,
	"GET / HTTP/1.1\r\nHost: a\r\nRange: a\r\nRange: b\r\n\r\n":                             foreign,
	"GET / HTTP/1.1\nHost: a\r\n\r\n":                                                       ambiguous,
	"GET / HTTP/1.1\r\nHost: a\n\r\n":                                                       ambiguous,
	"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n":                                          ambiguous,
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n":                                                    ambiguous,
	"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n":                                          ambiguous,
	"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n":                                          ambiguous,
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n":                                          ambiguous,
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": ambiguous,
}

func TestParseRequest(t *testing.T) {
	for raw, want := range requests {
		if _, _, got := parseRequest(raw); got != want {
			t.Errorf("%q: verdict %d, want %d", raw, got, want)
		}
	}
}

// Each byte at each place of lines around eight bytes long.
func TestControlCharactersAreFoundAnywhere(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				line := []byte(strings.Repeat("a", size))
				line[at] = byte(c)
				want := c < ' ' && c != '\t' || c == 0x7f
				if hasControl(string(line)) != want {
					t.Fatalf("%q: %v", line, !want)
				}
			}
		}
	}
	if hasControl("a\tb\tc\td\té, 中") {
		t.Error("a tab is none")
	}
}

// What the parser takes as plain, net/http takes too, to the same meaning and
// the same byte: nobody in front of us or behind sees another request in it.
func FuzzParseRequest(f *testing.F) {
	for raw := range requests {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r, size, v := parseRequest(raw)
		if v != plain {
			return
		}
		source := strings.NewReader(raw)
		reader := bufio.NewReader(source)
		other, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("%q: net/http says %v", raw, err)
		}
		if read := len(raw) - source.Len() - reader.Buffered(); read != size {
			t.Errorf("%q: %d bytes, net/http read %d", raw, size, read)
		}
		if body, err := io.ReadAll(other.Body); len(body) > 0 || err != nil || other.Close {
			t.Errorf("%q: body %q, %v, close %v", raw, body, err, other.Close)
		}
		if r.head != (other.Method == "HEAD") || r.path != other.URL.Path || other.URL.RawPath != "" || r.query != other.URL.RawQuery {
			t.Errorf("%q: %+v, net/http has %v", raw, r, other.URL)
		}
		for name, value := range map[string]string{"Accept-Encoding": r.encodings, "If-None-Match": r.condition, "Range": r.ranges} {
			if values := other.Header[name]; len(values) > 1 || other.Header.Get(name) != value {
				t.Errorf("%q: %s %q, net/http has %q", raw, name, value, values)
			}
		}
		for _, name := range []string{"Authorization", "Content-Length", "If-Range", "Upgrade"} {
			if other.Header.Get(name) != "" {
				t.Errorf("%q: with %s", raw, name)
			}
		}
	})
}

func FuzzPlainQuery(f *testing.F) {
	for _, query := range []string{"_HLS_msn=1&_HLS_part=2&_HLS_skip=YES", "a=b&_HLS_part=1", "_HLS_msn=1&_HLS_msn=1", "_HLS_skip=v3", "%5FHLS_msn=1", "_HLS_msn"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		d, err := plainQuery(query)
		want, wantErr := parseDirectives(query)
		if d != want && wantErr == nil || (err == nil) != (wantErr == nil) {
			t.Errorf("%q: %+v %v, want %+v %v", query, d, err, want, wantErr)
		}
	})
}

func FuzzCutRange(f *testing.F) {
	for _, field := range []string{"bytes=0-9", "bytes=5-", "bytes=-3", "bytes=-0", "bytes=9-1", "items=0-1", "bytes=0-1,3-4", "bytes=0-9007199254740991", "bytes=99-"} {
		f.Add(field)
	}
	body := []byte("0123456789")
	f.Fuzz(func(t *testing.T, field string) {
		part, contentRange := cutRange(field, body)
		if part != nil && (len(part) == 0 || contentRange == "" || !strings.Contains(string(body), string(part))) {
			t.Errorf("%q: %q %q", field, part, contentRange)
		}
	})
}
