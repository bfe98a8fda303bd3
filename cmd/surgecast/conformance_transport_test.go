package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wantHeader holds some headers of an answer to what they must be; "" means
// that there is none.
func (s *seat) wantHeader(what string, a answer, status int, headers ...string) {
	if a.status != status || a.err != nil {
		s.errorf("%s: %v, want %d", what, a, status)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := a.header.Get(headers[i]); got != headers[i+1] {
			s.errorf("%s: %s is %q, want %q", what, headers[i], got, headers[i+1])
		}
	}
}

// How long a cache may keep what: lists, parts and errors in multiples of
// TARGETDURATION, all other media as long as the origin's window.
func checkCaching(_ testing.TB, st *stage) {
	const cache, media, part = "Cache-Control", "public, max-age=30, immutable", "public, max-age=12, immutable"
	st.each(func(s *seat) {
		l, plain := s.list("")
		s.wantHeader("a plain list", plain, 200, cache, "public, max-age=1", "Age", "")
		msn, parts := l.open()
		_, blocking := s.list(fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, len(parts)))
		s.wantHeader("a blocking list", blocking, 200, cache, "public, max-age=12", "Age", "")
		s.wantHeader("a multivariant playlist", s.get("/theatre/index.m3u8"), 200, cache, "public, max-age=1", "Age", "")
		closed := l.closed()
		newest := closed[len(closed)-1]
		for uri, kept := range map[string]string{newest.uri: media, newest.init: media, newest.parts[0]["URI"]: part} {
			s.wantHeader(uri, s.get(theatre+uri), 200, cache, kept, "Content-Type", "video/mp4")
		}
		l, _ = s.list("")
		s.wantHeader("the hinted part", s.get(theatre+l.hint()), 200, cache, part)
		for _, path := range []string{theatre + "0000ffff/7.m4s", "/nothing/index.m3u8", "/theatre/other/live.m3u8", liveList + "?_HLS_part=1"} {
			a := s.get(path)
			s.wantHeader(path, a, a.status, cache, "public, max-age=2")
		}
	})
	st.stopFeed()
	time.Sleep(time.Second)
	st.each(func(s *seat) {
		l, _ := s.list("")
		s.wantHeader("a stalled list", s.get(liveList+fmt.Sprintf("?_HLS_msn=%d", l.next())), 503, cache, "no-store")
	})
}

func checkGzip(_ testing.TB, st *stage) {
	st.each(func(s *seat) {
		l, plain := s.list("")
		s.wantHeader("a list", plain, 200, "Vary", "Accept-Encoding", "Content-Encoding", "")
		packed := s.get(liveList, "Accept-Encoding", "br;q=1, gzip")
		s.wantHeader("a packed list", packed, 200, "Vary", "Accept-Encoding", "Content-Encoding", "gzip",
			"Content-Type", "application/vnd.apple.mpegurl")
		r, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			s.errorf("unpack: %v", err)
			return
		}
		text, err := io.ReadAll(r)
		if err != nil || readListing(string(text)).sequence() < l.sequence() {
			s.errorf("the packed list is %q, %v", text, err)
		}
		if packed.header.Get("Etag") == plain.header.Get("Etag") {
			s.errorf("one ETag for packed and plain")
		}
		s.wantHeader("gzip;q=0", s.get(liveList, "Accept-Encoding", "gzip;q=0"), 200, "Content-Encoding", "")
		s.wantHeader("a packed delta", s.get(liveList+"?_HLS_skip=YES", "Accept-Encoding", "gzip"), 200, "Content-Encoding", "gzip")
		newest := l.closed()[len(l.closed())-1]
		for _, uri := range []string{newest.uri, newest.init, newest.parts[0]["URI"]} {
			s.wantHeader(uri, s.get(theatre+uri, "Accept-Encoding", "gzip"), 200, "Content-Encoding", "")
		}
	})
}

func checkCORS(_ testing.TB, st *stage) {
	const allow = "Access-Control-Allow-"
	st.each(func(s *seat) {
		l, list := s.list("")
		newest := l.closed()[len(l.closed())-1]
		answers := map[string]answer{
			"a list": list, "a segment": s.get(theatre + newest.uri), "an init segment": s.get(theatre + newest.init),
			"a multivariant playlist": s.get("/theatre/index.m3u8"), "a 404": s.get(theatre + "0000ffff/7.m4s"),
			"a 400": s.get(liveList + "?_HLS_part=1"),
		}
		for what, a := range answers {
			s.wantHeader(what, a, a.status, allow+"Origin", "*")
			for _, name := range []string{"Age", "Date", "Content-Length", "Content-Range", "Retry-After"} {
				if !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), name) {
					s.errorf("%s does not expose %s", what, name)
				}
			}
		}
		for _, path := range []string{liveList, theatre + newest.uri, "/theatre/index.m3u8"} {
			a := s.ask(context.Background(), http.MethodOptions, path, "Origin", "https://portal.example",
				"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range,cmcd-session")
			s.wantHeader("preflight", a, 204, allow+"Origin", "*")
			for _, name := range []string{"Range", "CMCD-Request", "CMCD-Object", "CMCD-Status", "CMCD-Session"} {
				if !strings.Contains(a.header.Get(allow+"Headers"), name) {
					s.errorf("preflight does not allow %s", name)
				}
			}
			if a.header.Get("Access-Control-Max-Age") == "" {
				s.errorf("a preflight is for once only")
			}
		}
	})
}

// A hundred held reloads share one HTTP/2 connection with media.
func checkHeldDoNotBlock(t testing.TB, st *stage) {
	st.stopFeed() // so that all stay held
	time.Sleep(time.Second)
	for _, s := range st.seats {
		if s.major != 2 {
			continue
		}
		l, _ := s.list("")
		ctx, leave := context.WithCancel(t.Context())
		var held sync.WaitGroup
		for range 100 {
			held.Go(func() { s.ask(ctx, http.MethodGet, fmt.Sprintf("%s?_HLS_msn=%d", liveList, l.next())) })
		}
		time.Sleep(time.Second)
		for _, segment := range l.closed() {
			if a := s.get(theatre + segment.uri); a.status != http.StatusOK || a.last > quick {
				s.errorf("a segment beside 100 held reloads: %v", a)
			}
		}
		leave()
		held.Wait()
	}
}

// However many wait at a node, it asks the one above once.
func checkOneUpstreamRequest(t testing.TB, st *stage) {
	for _, s := range st.seats {
		if s.node == 0 {
			continue
		}
		l, _ := s.list("")
		msn, parts := l.open()
		before := st.upstream[s.node-1].listsAsked()
		var held sync.WaitGroup
		bodies := make([]string, 1000)
		if s.secure() || !proving() {
			bodies = bodies[:100] // a handshake each
		}
		for i := range bodies {
			held.Go(func() {
				bodies[i] = s.get(fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", liveList, msn, len(parts)+1)).body
			})
		}
		held.Wait()
		for _, body := range bodies {
			if body != bodies[0] || !readListing(body).hasPart(msn, len(parts)+1) && readListing(body).next() == msn {
				t.Fatalf("%s: two who wait for one part get %q and %q", s.name, body, bodies[0])
			}
		}
		// One is held already when they come; each of the two parts that go by
		// is one more.
		if asked := st.upstream[s.node-1].listsAsked() - before; asked > 2 {
			s.errorf("%d held reloads of two parts made %d requests upstream", len(bodies), asked)
		}
		s.client.CloseIdleConnections()
	}
}

// Who leaves ends its wait at once, at every node.
func checkLeavers(t testing.TB, st *stage) {
	st.stopFeed()
	time.Sleep(time.Second)
	for _, s := range st.seats {
		l, _ := s.list("")
		s.client.CloseIdleConnections()
		time.Sleep(time.Second)
		base := settledGoroutines()
		ctx, leave := context.WithCancel(t.Context())
		var held sync.WaitGroup
		for i := range 100 {
			query := fmt.Sprintf("%s?_HLS_msn=%d", liveList, l.next())
			if i%2 == 1 {
				query = theatre + l.hint()
			}
			held.Go(func() {
				if a := s.ask(ctx, http.MethodGet, query); a.err == nil {
					s.errorf("was to be held: %v", a)
				}
			})
		}
		time.Sleep(time.Second)
		if settledGoroutines() < base+100 {
			s.errorf("100 held requests are not there")
		}
		leave()
		held.Wait()
		s.client.CloseIdleConnections()
		time.Sleep(time.Second)
		// The nodes' own requests to each other come and go.
		if now := settledGoroutines(); now > base+10 {
			s.errorf("%d goroutines a second after all left, %d before they came", now, base)
		}
	}
}

// settledGoroutines counts those of the bubble that it is called in: beside it
// other tests have theirs.
func settledGoroutines() int {
	synctest.Wait()
	all := make([]byte, 1<<20)
	n := runtime.Stack(all, true)
	for n == len(all) {
		all = make([]byte, 2*len(all))
		n = runtime.Stack(all, true)
	}
	all = all[:n]
	own, _, _ := bytes.Cut(all, []byte("]:\n")) // "goroutine 7 [running, synctest bubble 3"
	_, bubble, found := bytes.Cut(own, []byte(", synctest bubble "))
	if !found {
		panic("no bubble")
	}
	return bytes.Count(all, fmt.Appendf(nil, ", synctest bubble %s]:\n", bubble))
}
