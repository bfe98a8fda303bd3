package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// edgeOf is a stream of a target duration, ready to be asked for.
func edgeOf(t *testing.T, target time.Duration) (*Store, *feed, http.Handler) {
	store := NewStore()
	st := store.Create("theatre", ConstantsFor(target, 225*time.Millisecond))
	st.SetIndex(MultivariantText([]Variant{{Rendition: "main", Bandwidth: 900_000}}))
	f := newFeed(t, st.CreateWindow("main"))
	f.parts(17*feedParts + 2)
	return store, f, NewServer(ServerConfig{Store: store, Load: NewLoad(), Logger: discard()})
}

// keptFrom cuts the Cache-Control from an answer as text.
func keptFrom(answer string) string {
	_, rest, _ := strings.Cut(answer, "Cache-Control: ")
	kept, _, _ := strings.Cut(rest, "\r\n")
	return answer[:3] + " " + strings.TrimPrefix(kept, "public, ")
}

// A relay's media are kept as long as its origin's: for the window that the
// catalogue tells, also one of an origin before or after this release.
func TestMediaCachingFollowsTheCatalogue(t *testing.T) {
	const segment, part = "/theatre/main/0000000a/1016.m4s", "/theatre/main/0000000a/1016.3.m4s"
	public, private := keys(t)
	for payload, age := range map[string]int{
		`"window":90000000000,`:              90,
		`"window":90000000000,"future":[1],`: 90,
		``:                                   60,
	} {
		u := newUpstream(t, private)
		u.catalogue = resign(t, private, u.catalogue, `"name":"theatre",`, `"name":"theatre",`+payload)
		f, store := follow(t, u, public)
		awaitWarm(t, f)
		h := NewServer(ServerConfig{Store: store, Load: NewLoad(), Logger: discard()})
		kept := func(path string) string { return request(h, "GET", path).Header().Get("Cache-Control") }
		if got, want := kept(segment), fmt.Sprintf("public, max-age=%d, immutable", age); got != want {
			t.Errorf("with %q: %s, want %s", payload, got, want)
		}
		if got := kept(part); got != "public, max-age=12, immutable" {
			t.Errorf("a part with %q: %s", payload, got)
		}

		// The origin is started anew with another window.
		changed := f.catalogue
		changed.Serial++
		changed.Streams[0].Window = 3 * time.Minute
		f.take(t.Context(), changed, nil)
		u.feed.parts(feedParts)
		w := store.Stream("theatre").Window("main")
		awaitText(t, w, u.feed.window.Version().Text)
		if got := kept("/theatre/main/0000000a/1017.m4s"); got != "public, max-age=180, immutable" {
			t.Errorf("with another window: %s", got)
		}
	}
	line, err := Catalogue{Streams: []CatalogueStream{{Name: "theatre", Constants: DefaultConstants(), Window: -1}}}.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCatalogue(line, public); !errors.Is(err, ErrCatalogue) {
		t.Errorf("a window under 0: %v", err)
	}
}

// resign changes what a line of the control channel says.
func resign(t *testing.T, key ed25519.PrivateKey, line []byte, before, after string) []byte {
	t.Helper()
	var m signed
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(m.Payload, []byte(before)) {
		t.Fatalf("%s does not stand in %s", before, m.Payload)
	}
	m.Payload = bytes.Replace(m.Payload, []byte(before), []byte(after), 1)
	m.Signature = ed25519.Sign(key, append([]byte(signingContext), m.Payload...))
	line, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(line, '\n')
}

// What caches may keep follows the stream's target duration, whoever answers:
// a lane by either protocol, or net/http.
func TestCachingFollowsTheTargetDuration(t *testing.T) {
	const list = "/theatre/main/live.m3u8"
	for _, test := range []struct{ target, plain, waited, refused int }{
		{1, 0, 6, 1}, {2, 1, 12, 2}, {3, 1, 18, 3}, {6, 3, 36, 6},
	} {
		t.Run(fmt.Sprint(test.target), func(t *testing.T) {
			_, _, h := edgeOf(t, time.Duration(test.target)*time.Second)
			bare, behind := startLane(t, h), startLane(t, wrapped(h))
			two := h2Client(t)
			ways := map[string]func(path string) string{
				"h1":       func(path string) string { return exchange(t, bare, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", 1) },
				"h2":       func(path string) string { return ask(t, two, "GET", "http://"+bare+path, "") },
				"net/http": func(path string) string { return exchange(t, behind, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", 1) },
			}
			want := func(path string, status, age int) {
				t.Helper()
				for way, get := range ways {
					if got, want := keptFrom(get(path)), fmt.Sprintf("%d max-age=%d", status, age); got != want {
						t.Errorf("%s by %s: %s, want %s", path, way, got, want)
					}
				}
			}
			want(list, 200, test.plain)
			want("/theatre/index.m3u8", 200, test.plain)
			want(list+"?_HLS_msn=1017&_HLS_part=1", 200, test.waited)
			want(list+"?_HLS_part=1", 400, test.refused)
			want("/theatre/other/live.m3u8", 404, test.refused)
			want("/theatre/main/dvr.m3u8", 404, test.refused)
			want("/theatre/main/0000000a/7.m4s", 404, test.refused)
			want("/theatre/main/nothing.m4s", 404, test.refused)
			want("/nothing/index.m3u8", 404, 2)
			want("/nothing/main/live.m3u8", 404, 2)
			want(list+"?_HLS_msn=1030", 400, 2) // will be right in time
			want("/theatre/main/0000000a/1030.m4s", 400, 2)
		})
	}
}

// The stream goes while a list and a part are waited for: of a list that was
// waited for the news is kept longer.
func TestCachingOfWhatNeverComes(t *testing.T) {
	for path, age := range map[string]int{
		"/theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=2": 24,
		"/theatre/main/0000000a/1017.2.m4s":                 6,
	} {
		synctest.Test(t, func(t *testing.T) {
			store, _, h := edgeOf(t, 6*time.Second)
			l, conn, cancel := pipeLane1(h)
			got := make(chan string, 2)
			go func() {
				w := request(h, "GET", path)
				got <- fmt.Sprintf("%d Cache-Control: %s", w.Code, w.Header().Get("Cache-Control"))
			}()
			go func() {
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Error(err)
					got <- "000"
					return
				}
				got <- fmt.Sprintf("%d Cache-Control: %s", answer.StatusCode, answer.Header.Get("Cache-Control"))
			}()
			synctest.Wait()
			if len(got) > 0 {
				t.Errorf("%s is not held: %s", path, <-got)
			}
			store.Remove("theatre")
			for range 2 {
				if kept, want := keptFrom(<-got), fmt.Sprintf("404 max-age=%d", age); kept != want {
					t.Errorf("%s: %s, want %s", path, kept, want)
				}
			}
			conn.Close()
			cancel()
			l.wait.Wait()
		})
	}
}

// pipeLane1 serves HTTP/1.1 on one end of a pipe and returns the other.
func pipeLane1(h http.Handler) (*lane, net.Conn, context.CancelFunc) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	l := newLane(h.(*server), ctx, ours.LocalAddr())
	c := l.enter(ours)
	c.deadline.Store(0) // it begins when the test does
	l.wait.Go(c.serve)
	return l, theirs, cancel
}
