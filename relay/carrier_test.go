package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// upstreams is a client's network of made-up parents.
type upstreams map[string]func(*http.Request) *http.Response // by host

func (u upstreams) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := u[r.URL.Host]
	if answer == nil {
		return nil, errors.New("refused")
	}
	return answer(r), nil
}

func (u upstreams) follower() *Follower {
	return NewFollower(FollowerConfig{
		Store: NewStore(), Credential: NewCredential([]byte("secret")), Client: &http.Client{Transport: u}, Logger: discard(),
	})
}

// reply is a made-up answer; length negative: not said.
func reply(status int, length int64, body io.Reader, headers ...string) *http.Response {
	r := &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: length, Body: io.NopCloser(body)}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// broken gives these bytes and then breaks off.
func broken(b []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(b), failing{})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// The first parent breaks off after 100,000 bytes; the second is asked for the
// rest. Nothing but the whole object, with the right bytes, is taken.
func TestABodyIsTakenUpWhereItBroke(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789abcdef"), 12_500) // 200 kB
	const at = 100_000
	size := strconv.Itoa(len(whole))
	rest := func(from, last, total string) string { return "bytes " + from + "-" + last + "/" + total }
	good := rest("100000", strconv.Itoa(len(whole)-1), size)
	other := bytes.Clone(whole)
	other[50] = 'x'
	for name, c := range map[string]struct {
		answer func(*http.Request) *http.Response
		want   error // nil: taken
	}{
		"the rest": {func(r *http.Request) *http.Response {
			if r.Header.Get("Range") != "bytes=100000-" || r.Header.Get("If-Range") != `"tag"` {
				t.Error(r.Header)
			}
			return reply(206, -1, bytes.NewReader(whole[at:]), "Content-Range", good, "ETag", `"tag"`)
		}, nil},
		"all anew": {func(*http.Request) *http.Response {
			return reply(200, int64(len(whole)), bytes.NewReader(whole), "ETag", `"tag"`)
		}, nil},
		"all anew, of unknown length": {func(*http.Request) *http.Response {
			return reply(200, -1, bytes.NewReader(whole))
		}, nil},
		"other bytes": {func(*http.Request) *http.Response {
			return reply(200, int64(len(whole)), bytes.NewReader(other))
		}, errConflict},
		"another tag": {func(*http.Request) *http.Response {
			return reply(206, -1, bytes.NewReader(whole[at:]), "Content-Range", good, "ETag", `"other"`)
		}, errConflict},
		"another size": {func(*http.Request) *http.Response {
			return reply(206, -1, bytes.NewReader(whole[at:]), "Content-Range", rest("100000", "199998", "199999"))
		}, errConflict},
		"too much": {func(*http.Request) *http.Response {
			return reply(206, -1, bytes.NewReader(append(whole[at:len(whole):len(whole)], 'x')), "Content-Range", good)
		}, errConflict},
		"too little": {func(*http.Request) *http.Response {
			return reply(206, -1, bytes.NewReader(whole[at:len(whole)-1]), "Content-Range", good)
		}, errShort},
		"another range": {func(*http.Request) *http.Response {
			return reply(206, -1, bytes.NewReader(whole), "Content-Range", rest("0", "199999", size))
		}, errAny},
		"no range": {func(*http.Request) *http.Response {
			return reply(206, -1, bytes.NewReader(whole[at:]))
		}, errAny},
		"gone": {func(*http.Request) *http.Response { return reply(404, 0, strings.NewReader("")) }, errAny},
		"HTML": {func(*http.Request) *http.Response {
			return reply(200, -1, strings.NewReader("<html>"), "Content-Type", "text/html")
		}, errAny},
		"gzip": {func(*http.Request) *http.Response {
			return reply(200, -1, strings.NewReader("x"), "Content-Encoding", "gzip")
		}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			name := MediaName{PartMedia, 10, 7, 0}
			in := newIncoming(name, feedPart, newBudget())
			f := upstreams{
				"a": func(*http.Request) *http.Response {
					return reply(200, int64(len(whole)), broken(whole[:at]), "ETag", `"tag"`)
				},
				"b": c.answer,
			}.follower()
			carry := &carrier{Follower: f, in: in, path: "/", begun: func() {}}
			if err := carry.transfer(t.Context(), "http://a"); err == nil {
				t.Fatal("half a body was taken for a whole one")
			}
			// A reader that is behind goes on when the fetch does.
			first, err := in.next(t.Context(), 0)
			if err != nil || len(first) != at {
				t.Fatal(len(first), err)
			}
			err = carry.transfer(t.Context(), "http://b")
			switch {
			case c.want == nil && err == nil:
				second, _ := in.next(t.Context(), at)
				if got := append(bytes.Clone(first), second...); !bytes.Equal(got, whole) || !bytes.Equal(in.take(), whole) {
					t.Error("the bytes differ")
				}
			case c.want == nil || err == nil || c.want != errAny && !errors.Is(err, c.want):
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

var errAny = errors.New("any error")

func TestAbsurdBodiesAreRefused(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) *http.Response{
		"nothing":       func(*http.Request) *http.Response { return reply(200, 0, strings.NewReader("")) },
		"no bytes":      func(*http.Request) *http.Response { return reply(200, -1, strings.NewReader("")) },
		"a terabyte":    func(*http.Request) *http.Response { return reply(200, 1<<40, strings.NewReader("x")) },
		"without end":   func(*http.Request) *http.Response { return reply(200, -1, endless{}) },
		"over budget":   func(*http.Request) *http.Response { return reply(200, 2<<20, endless{}) },
		"cut short":     func(*http.Request) *http.Response { return reply(200, 10, strings.NewReader("short")) },
		"a byte more":   func(*http.Request) *http.Response { return reply(200, 4, strings.NewReader("short")) },
		"a redirection": func(*http.Request) *http.Response { return reply(307, 0, strings.NewReader("")) },
	} {
		b := &budget{limit: 1 << 20}
		in := newIncoming(MediaName{PartMedia, 10, 7, 0}, feedPart, b)
		carry := &carrier{Follower: upstreams{"a": answer}.follower(), in: in, path: "/", begun: func() {}}
		if err := carry.transfer(t.Context(), "http://a"); err == nil {
			t.Errorf("%s: was taken", name)
		}
		in.take()
		if used := b.used.Load(); used != 0 {
			t.Errorf("%s: %d bytes are still counted", name, used)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// When the last parent fails, readers behind the fetch are told; who only waits
// gets the object from the next fetch.
func TestAFetchThatFailsForGood(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	f.part()
	hint := f.list.Hint
	in := newIncoming(hint, feedPart, w.budget)
	w.begin(in)
	_ = in.readFrom(broken([]byte("half")))
	_, behind, err := w.arriving(t.Context(), hint)
	if err != nil || behind != in {
		t.Fatal(behind, err)
	}
	w.abandon(in, errShort)
	if more, err := behind.next(t.Context(), 4); !errors.Is(err, errShort) {
		t.Error(more, err)
	}
	waiting := make(chan *Object)
	go func() {
		o, _, _ := w.arriving(context.Background(), hint)
		waiting <- o
	}()
	f.part()
	if o := <-waiting; o == nil || string(o.Body) != string(feedBody(hint)) {
		t.Error(o)
	}
}

// Behind a cache, Age tells how much a list lacks; the list that has it is
// asked for.
func TestTuneInByAge(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	f.parts(30 * feedParts)
	old := w.Version()
	f.parts(11) // 2.2 s
	newest := w.Version()
	var asked []string
	follower := upstreams{"cdn": func(r *http.Request) *http.Response {
		asked = append(asked, r.URL.RawQuery)
		if r.URL.RawQuery == "" {
			return reply(200, -1, bytes.NewReader(old.Text), "Age", "1")
		}
		return reply(200, -1, bytes.NewReader(newest.Text), "Age", "0")
	}}.follower()
	follower.catalogue.Epoch = 10
	r := newFetcher(follower, NewWindow(DefaultConstants()), "/theatre/main/", discard())
	a := r.ask(t.Context(), "http://cdn", question{})
	if a.err != nil || !bytes.Equal(a.version.Text, newest.Text) {
		t.Fatal(a.err, asked)
	}
	// 2 s from the end of segment 1029: a whole target duration.
	if len(asked) != 2 || asked[1] != "_HLS_msn=1031&_HLS_part=0" {
		t.Error(asked)
	}
}
