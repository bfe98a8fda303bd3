package relay

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// holdJoin keeps a segment of the window from being joined until it is let go.
// It returns how many times it was joined.
func holdJoin(w *Window, name MediaName) (letGo func(), joined *atomic.Int32) {
	held := make(chan struct{})
	joined = new(atomic.Int32)
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.objects[name]
	o.join = sync.OnceValue(func() *Object {
		joined.Add(1)
		<-held
		return w.join(o)
	})
	return sync.OnceFunc(func() { close(held) }), joined
}

// Whoever asks for a segment while it is joined is answered when that is over,
// on every way; nobody waits for it who asks for something else.
func TestASegmentIsAskedForWhileItIsJoined(t *testing.T) {
	h, f := edge(t, nil)
	f.pad = make([]byte, fileLeast/2)
	f.parts(feedParts - 2)
	name := MediaName{SegmentMedia, 10, 1017, 0}
	letGo, joined := holdJoin(f.window, name)
	t.Cleanup(letGo)

	lane, handler := "http://"+startLane(t, h), "http://"+startLane(t, wrapped(h))
	credential := NewCredential([]byte("secret"))
	ways := map[string]func() (*http.Client, string){
		"h1 lane":     func() (*http.Client, string) { return http1Client(t, nil), lane },
		"h2 lane":     func() (*http.Client, string) { return h2Client(t), lane },
		"net/http":    func() (*http.Client, string) { return http1Client(t, nil), handler },
		"net/http h2": func() (*http.Client, string) { return h2Client(t), handler },
		"a node":      func() (*http.Client, string) { return http1Client(t, credential.Authorize), lane },
	}
	type answer struct{ way, text string }
	answers := make(chan answer, 100)
	asked := 0
	for way, to := range ways {
		for _, how := range []string{"GET ", "HEAD ", "GET Range:bytes=0-22"} {
			asked++
			go func() {
				client, base := to()
				method, header, _ := strings.Cut(how, " ")
				answers <- answer{way + ", " + how, ask(t, client, method, base+"/theatre/main/"+name.String(), header)}
			}()
		}
	}
	until(t, "it is being joined", func() bool { return joined.Load() == 1 })

	msn, part := f.list.OpenSequence(), len(f.list.Open.Parts)
	others := make(chan answer, 100)
	paths := []string{
		fmt.Sprintf("live.m3u8?_HLS_msn=%d&_HLS_part=%d", msn, part), // to come
		fmt.Sprintf("0000000a/%d.%d.m4s", msn, part),                 // to come
		"live.m3u8", "0000000a/1017.4.m4s", "0000000a/1016.m4s",
	}
	for way, to := range ways {
		for _, path := range paths {
			go func() {
				client, base := to()
				others <- answer{way + ", " + path, ask(t, client, http.MethodGet, base+"/theatre/main/"+path, "")}
			}()
		}
	}
	time.Sleep(10 * time.Millisecond)
	f.part()
	for range len(ways) * len(paths) {
		if a := <-others; !strings.HasPrefix(a.text, "200 OK") {
			t.Errorf("%s: %.200s", a.way, a.text)
		}
	}
	if len(answers) > 0 {
		t.Error("answered before it was joined:", (<-answers).way)
	}

	letGo()
	o, err := f.window.Media(t.Context(), name)
	if err != nil || len(o.Body) < 3*len(f.pad) {
		t.Fatalf("%.100q, %v", o.Body, err)
	}
	for range asked {
		a := <-answers
		status, want := "200 OK", string(o.Body)
		switch {
		case strings.Contains(a.way, "HEAD"):
			want = ""
		case strings.Contains(a.way, "Range"):
			status, want = "206 Partial Content", want[:23]
		}
		if body := a.text[max(0, len(a.text)-len(want)):]; !strings.HasPrefix(a.text, status) || body != want {
			t.Errorf("%s: %.300s", a.way, a.text)
		}
	}
	if joined.Load() != 1 {
		t.Errorf("joined %d times", joined.Load())
	}
}

// http1Client asks over connections of its own.
func http1Client(t testing.TB, dress func(*http.Request)) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 5 * time.Second, Transport: dressing{transport, dress}}
}

type dressing struct {
	http.RoundTripper
	dress func(*http.Request)
}

func (d dressing) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.dress != nil {
		d.dress(r)
	}
	return d.RoundTripper.RoundTrip(r)
}

// A relay that fetches segments, whose parts are listed no longer, has them as
// soon as its upstream has joined them, and then serves the same bytes.
func TestARelayFetchesASegmentWhileItIsJoined(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	name := u.feed.list.Segments[0].Name
	letGo, joined := holdJoin(u.feed.window, name)
	t.Cleanup(letGo)
	f, store := follow(t, u, public)
	until(t, "it is being joined", func() bool { return joined.Load() == 1 })
	if f.Warm() {
		t.Error("it has what it can't have")
	}
	letGo()
	awaitWarm(t, f)
	got, err := store.Stream("theatre").Window("main").Media(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := u.feed.window.Media(t.Context(), name)
	if err != nil || string(got.Body) != string(want.Body) || len(got.Body) == 0 {
		t.Errorf("%q, want %q: %v", got.Body, want.Body, err)
	}
}

// What a segment and its parts take is counted once, however it is asked for and
// whenever it leaves.
func TestAJoinedSegmentIsCountedOnce(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	f.parts(2 * feedParts)
	used := w.budget.used.Load()
	leaves := f.list.Segments[0].Name
	letGo, joined := holdJoin(w, leaves)
	got := make(chan *Object)
	go func() {
		o, err := w.Media(t.Context(), leaves)
		if err != nil {
			t.Error(err)
		}
		got <- o
	}()
	stays, err := w.Media(t.Context(), f.list.Segments[1].Name)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range f.list.Segments[1].Parts {
		o, err := w.Media(t.Context(), part.Name)
		if err != nil || &o.Body[0] != &stays.Body[i*len(o.Body)] {
			t.Errorf("%v does not stand in the segment: %v", part.Name, err)
		}
	}
	if now := w.budget.used.Load(); now != used {
		t.Errorf("%d bytes are counted, before it was joined %d", now, used)
	}
	until(t, "it is being joined", func() bool { return joined.Load() == 1 })
	w.mu.Lock()
	w.raiseFloor(1001)
	w.mu.Unlock()
	letGo()
	if o := <-got; len(o.Body) != len(stays.Body) {
		t.Errorf("%q", o.Body)
	}
	if _, err := w.Media(t.Context(), leaves); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if now, want := w.budget.used.Load(), used-int64(len(stays.Body)); now != want {
		t.Errorf("%d bytes are counted, want %d", now, want)
	}
}

// Who waits for a whole segment gets it when it closes.
func TestTheOpenSegmentIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		f.part()
		bodies := make(chan string, 10)
		for range cap(bodies) {
			go func() {
				o, err := w.Media(t.Context(), MediaName{SegmentMedia, 10, 1000, 0})
				if err != nil {
					t.Error(err)
					o = &Object{}
				}
				bodies <- string(o.Body)
			}()
		}
		synctest.Wait()
		f.parts(feedParts - 1)
		for range cap(bodies) {
			if body := <-bodies; strings.Count(body, ";") != feedParts {
				t.Errorf("%q", body)
			}
		}
	})
}
