package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// stream is a live stream of empty parts, 50 ms each, on the wall clock.
type stream struct {
	began time.Time
	mu    sync.Mutex
	asked map[string]int
}

const (
	streamPart   = 50 * time.Millisecond
	streamParts  = 4 // a segment
	streamHeader = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n" +
		"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.15\n#EXT-X-PART-INF:PART-TARGET=0.05\n#EXT-X-MAP:URI=\"init.mp4\"\n"
)

// ServeHTTP is of http.Handler.
func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked[r.URL.Path]++
	s.mu.Unlock()
	var body string
	switch {
	case r.URL.Path == "/t/index.m3u8":
		body = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmain/live.m3u8\n"
	case r.URL.Path == "/t/main/live.m3u8":
		want := 0
		if query := r.URL.Query(); query.Has("_HLS_msn") {
			var msn, part int
			_, _ = fmt.Sscan(query.Get("_HLS_msn"), &msn)
			_, _ = fmt.Sscan(query.Get("_HLS_part"), &part)
			want = msn*streamParts + part + 1
		}
		time.Sleep(time.Until(s.began.Add(time.Duration(want) * streamPart)))
		body = s.list(max(want, int(time.Since(s.began)/streamPart)))
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", body))
	w.Header().Set("Content-Encoding", "gzip")
	var packed strings.Builder
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(body))
	_ = zip.Close()
	w.Header().Set("Content-Length", fmt.Sprint(packed.Len()))
	_, _ = w.Write([]byte(packed.String()))
}

// list has all parts of the last segments.
func (s *stream) list(parts int) string {
	var b strings.Builder
	first := max(0, parts/streamParts-5)
	fmt.Fprintf(&b, "%s#EXT-X-MEDIA-SEQUENCE:%d\n", streamHeader, first)
	for n := first * streamParts; n < parts; n++ {
		if n%streamParts == 0 {
			fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", s.began.Add(time.Duration(n)*streamPart).UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		fmt.Fprintf(&b, "#EXT-X-PART:DURATION=0.05,URI=\"%d.%d.m4s\",INDEPENDENT=YES\n", n/streamParts, n%streamParts)
		if n%streamParts == streamParts-1 {
			fmt.Fprintf(&b, "#EXTINF:0.2,\n%d.m4s\n", n/streamParts)
		}
	}
	return b.String()
}

// Viewers in cleartext and over TLS see each part once, without a stall.
func TestSwarm(t *testing.T) {
	for _, over := range []protocol{plain, secured, h2} {
		t.Run(string(over), func(t *testing.T) {
			s := &stream{began: time.Now().Add(-2 * time.Second), asked: map[string]int{}}
			server := httptest.NewUnstartedServer(s)
			server.EnableHTTP2 = true
			if over == plain {
				server.Start()
			} else {
				server.StartTLS()
			}
			defer server.Close()
			tally := runSwarm(t, server, over)
			if len(tally.join) != 3 || len(tally.faults) > 0 || tally.skipped+tally.stale > 0 {
				t.Errorf("%d joined, faults %v, %d skipped, %d stale", len(tally.join), tally.faults, tally.skipped, tally.stale)
			}
			if floor := tally.receipt.quantile(0); floor < streamPart-time.Millisecond {
				t.Errorf("a part came %v after its start, before it was whole", floor)
			}
			s.mu.Lock() // a request that is still held may count itself
			for path, times := range s.asked {
				if strings.HasSuffix(path, ".m4s") && times > 3 {
					t.Errorf("%s was loaded %d times by 3 viewers", path, times)
				}
			}
			s.mu.Unlock()
		})
	}
}

func runSwarm(t *testing.T, server *httptest.Server, over protocol) *tally {
	t.Helper()
	address := netip.MustParseAddrPort(server.Listener.Addr().(*net.TCPAddr).String())
	s := &swarm{target: target{over != plain, address, "/t/index.m3u8"}, over: over, tally: newTally(), lists: map[string]*media{}}
	var err error
	if s.loop, err = newLoop(address.String(), browserFields); err != nil {
		t.Fatal(err)
	}
	defer s.loop.stop()
	var viewers []*viewer
	for n := range 3 {
		v := &viewer{swarm: s, n: n}
		viewers = append(viewers, v)
		v.join()
	}
	deadline := time.Now().Add(10 * time.Second)
	err = s.serve(t.Context(), func() bool { return len(s.tally.receipt) >= 30 || time.Now().After(deadline) })
	if err != nil || len(s.tally.receipt) < 30 {
		t.Fatalf("%d parts received, %v, faults %v", len(s.tally.receipt), err, s.tally.faults)
	}
	for _, v := range viewers {
		v.lists.close()
		v.parts.close()
	}
	return s.tally
}

// A swarm in laps tells of each only what was in it.
func TestSwarmInLaps(t *testing.T) {
	s := &stream{began: time.Now().Add(-2 * time.Second), asked: map[string]int{}}
	server := httptest.NewServer(s)
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	out, in := io.Pipe()
	w := &swarm{target: target{false, address, "/t/index.m3u8"}, over: plain, tally: newTally(), out: in, lists: map[string]*media{}}
	laps := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- w.run(t.Context(), 2, 0, 0, laps)
		in.Close()
	}()
	lines := json.NewDecoder(out)
	var event struct{ Event string }
	if err := lines.Decode(&event); err != nil || event.Event != "measuring" {
		t.Fatalf("%q, %v", event.Event, err)
	}
	asked := func() int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		var all int64
		for _, times := range s.asked {
			all += int64(times)
		}
		return all
	}
	const unanswered = 4              // two viewers, each with a connection for lists and one for parts
	fewest, most := int64(0), asked() // when the lap began; what came before the first is not in it
	for n := range 2 {
		start := asked()
		for deadline := time.Now().Add(20 * time.Second); asked() < start+40; {
			if time.Now().After(deadline) {
				t.Fatalf("lap %d: %d requests in 20 s", n, asked()-start)
			}
			time.Sleep(streamPart)
		}
		before := asked()
		laps <- struct{}{}
		var r swarmResult
		if err := lines.Decode(&r); err != nil {
			t.Fatal(err)
		}
		after := asked()
		if joined := 2 - 2*n; r.Joined != joined { // those of before count in the first
			t.Errorf("lap %d: %d joined, not %d", n, r.Joined, joined)
		}
		if r.Requests < before-most-unanswered || r.Requests > after-fewest+unanswered {
			t.Errorf("lap %d: %d requests, not %d to %d", n, r.Requests, before-most, after-fewest)
		}
		if r.Answer.P50 <= 0 || r.Receipt.P50 < milliseconds(streamPart) || r.Seconds <= 0 {
			t.Errorf("lap %d: %+v", n, r)
		}
		fewest, most = before, after
	}
	close(laps)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
