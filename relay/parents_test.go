package relay

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A parent dies while viewers watch. They see no wrong answer, and the list
// goes on with the other parent.
func TestAParentDies(t *testing.T) {
	for name, c := range map[string]struct {
		strike func(g *grove, parent *tree)
		most   time.Duration // between two parts, for any viewer
	}{
		"reset":       {func(g *grove, p *tree) { g.net.Host(p.host).Kill() }, 220 * time.Millisecond},
		"hangs":       {func(_ *grove, p *tree) { p.fault.Store(hangs) }, 530 * time.Millisecond},
		"refuses":     {func(_ *grove, p *tree) { p.fault.Store(refuses) }, 220 * time.Millisecond},
		"black hole":  {func(g *grove, p *tree) { g.net.Cut(p.host, "10.0.0.9") }, 530 * time.Millisecond},
		"1 byte/s":    {func(_ *grove, p *tree) { p.fault.Store(trickles) }, 530 * time.Millisecond},
		"only lists":  {func(_ *grove, p *tree) { p.fault.Store(mediaHang) }, 530 * time.Millisecond},
		"HTML":        {func(_ *grove, p *tree) { p.fault.Store(hypertext) }, 220 * time.Millisecond},
		"an old list": {func(g *grove, p *tree) { p.lie.Store(string(g.feed.window.Version().Text)) }, 220 * time.Millisecond},
		"half a list": {func(g *grove, p *tree) {
			text := string(g.feed.window.Version().Text)
			p.lie.Store(text[:len(text)/2])
		}, 220 * time.Millisecond},
		"a lower epoch": {func(g *grove, p *tree) {
			p.lie.Store(strings.ReplaceAll(string(g.feed.window.Version().Text), "0000000a/", "00000009/"))
		}, 220 * time.Millisecond},
		"a higher epoch": {func(g *grove, p *tree) {
			p.lie.Store(strings.ReplaceAll(string(g.feed.window.Version().Text), "0000000a/", "0000000b/"))
		}, 220 * time.Millisecond},
		"half bodies": {func(_ *grove, p *tree) { p.halves.Store(1 << 20) }, 220 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGrove(t)
				first := g.relay("10.0.0.2", "10.0.0.1")
				g.relay("10.0.0.3", "10.0.0.1")
				g.play()
				time.Sleep(time.Second)
				child := g.relay("10.0.0.9", "10.0.0.2", "10.0.0.3")
				time.Sleep(time.Second)
				if !child.follower.Warm() {
					t.Fatal("the child is not warm")
				}
				end := g.watch(child, sized(10, 50))
				time.Sleep(time.Second + 30*time.Millisecond)
				c.strike(g, first)
				before := child.window().Version().Playlist.OpenSequence()
				time.Sleep(4 * time.Second)
				gap := end()
				t.Logf("at most %v between two parts", gap)
				if gap > c.most {
					t.Errorf("a viewer was %v without a new part, want at most %v", gap, c.most)
				}
				if after := child.window().Version().Playlist.OpenSequence(); after < before+3 {
					t.Errorf("the list went from %d to %d in 4 s", before, after)
				}
				g.end()
			})
		})
	}
}

// A parent that was left is asked again when a probe finds it well.
func TestAParentComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		first := g.relay("10.0.0.2", "10.0.0.1")
		g.relay("10.0.0.3", "10.0.0.1")
		g.play()
		time.Sleep(time.Second)
		child := g.relay("10.0.0.9", "10.0.0.2", "10.0.0.3")
		time.Sleep(time.Second)
		const live = "/theatre/main/live.m3u8"
		first.fault.Store(hangs)
		time.Sleep(time.Second)
		struck := first.asked()[live]
		end := g.watch(child, 1)
		time.Sleep(20 * time.Second)
		probes := first.asked()[live] - struck
		if gap := end(); probes < 2 || probes > 5 || gap > 210*time.Millisecond {
			t.Errorf("%d probes in 20 s, a gap of %v", probes, gap)
		}
		first.fault.Store(healthy)
		time.Sleep(20 * time.Second)
		healed := first.asked()[live]
		time.Sleep(2 * time.Second)
		if lists := first.asked()[live] - healed; lists != 10 {
			t.Errorf("%d lists in 2 s from the best parent, which is well again, want 10", lists)
		}
		g.end()
	})
}

// However many ask, each thing is asked of the parent once.
func TestOneRequestForAThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		child := g.relay("10.0.0.9", "10.0.0.1")
		time.Sleep(time.Second)
		hint := child.window().Version().Playlist.Hint
		const viewers = 1000
		var crowd sync.WaitGroup
		for range viewers {
			crowd.Go(func() {
				list := fmt.Sprintf("/theatre/main/live.m3u8?_HLS_msn=%d&_HLS_part=%d", hint.Number, hint.Part)
				if got := request(child.server, "GET", list); got.Code != http.StatusOK {
					t.Error(got.Code)
				}
			})
			crowd.Go(func() {
				if got := request(child.server, "GET", "/theatre/main/"+hint.String()); got.Body.String() != string(feedBody(hint)) {
					t.Error(got.Code, got.Body)
				}
			})
		}
		synctest.Wait()
		g.feed.part()
		crowd.Wait()
		time.Sleep(100 * time.Millisecond)
		for path, n := range g.origin.asked() {
			want := 1
			if strings.HasSuffix(path, "live.m3u8") {
				want = 3 // the first list, the held one, and the next one that is being held
			}
			if n != want {
				t.Errorf("%s was asked for %d times, want %d", path, n, want)
			}
		}
		g.end()
	})
}

// A relay of a relay of a relay holds the same bytes, whole lists and deltas.
func TestARelayOfARelayIsEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		var all []*tree
		for i := range 3 {
			all = append(all, g.relay(fmt.Sprintf("10.0.0.%d", i+2), fmt.Sprintf("10.0.0.%d", i+1)))
			time.Sleep(500 * time.Millisecond)
		}
		g.play()
		time.Sleep(30*time.Second + 100*time.Millisecond)
		want := g.feed.window.Version()
		for i, n := range all {
			if got := n.window().Version(); string(got.Text) != string(want.Text) {
				t.Errorf("relay %d has\n%s\nwant\n%s", i, got.Text, want.Text)
			} else if !bytes.Equal(got.delta().text, want.delta().text) || got.delta().etag != want.delta().etag {
				t.Errorf("relay %d has another delta", i)
			}
			for name, o := range g.feed.window.objects {
				if got := n.window().objects[name]; got != nil && string(got.whole().Body) != string(o.whole().Body) {
					t.Errorf("relay %d has another %v", i, name)
				}
			}
		}
		// Each is asked once for each object, by its one child.
		for _, n := range append([]*tree{g.origin}, all[:2]...) {
			lists, parts := 0, 0
			for path, times := range n.asked() {
				switch {
				case strings.HasSuffix(path, "live.m3u8"):
					lists = times
				case strings.Contains(path, "/0000000a/"):
					parts++
					if times != 1 {
						t.Errorf("%s was asked for %s %d times", n.host, path, times)
					}
				}
			}
			t.Logf("%s was asked for %d lists and %d objects", n.host, lists, parts)
			if want := 30*5 + 2; lists != want {
				t.Errorf("%s was asked for %d lists, want %d", n.host, lists, want)
			}
			if n.deltas < 30*5 {
				t.Errorf("%s was asked for %d deltas", n.host, n.deltas)
			}
		}
		g.end()
	})
}

// An encoder that stutters is no reason to leave a parent, although the origin
// has each part before the parent has it.
func TestAStutterIsNoParentsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		parent := g.relay("10.0.0.2", "10.0.0.1")
		time.Sleep(500 * time.Millisecond)
		child := g.relay("10.0.0.9", "10.0.0.2", "10.0.0.1")
		time.Sleep(500 * time.Millisecond)
		const parts = 20
		for range parts {
			g.feed.part()
			time.Sleep(20 * time.Millisecond)
			if got := child.window().Version().Text; !bytes.Equal(got, g.feed.window.Version().Text) {
				t.Fatal("the child has another list")
			}
			time.Sleep(600 * time.Millisecond)
		}
		if lists := parent.asked()["/theatre/main/live.m3u8"]; lists < parts {
			t.Errorf("the parent was asked for %d lists, want %d", lists, parts)
		}
		g.end()
	})
}

// A source that stands still is no reason to leave a parent; nor to show an old
// list as new when the parents are gone.
func TestTheSourceIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		g.relay("10.0.0.2", "10.0.0.1")
		child := g.relay("10.0.0.9", "10.0.0.2", "10.0.0.1")
		time.Sleep(20 * time.Second) // nothing is fed
		if got := request(child.server, "GET", "/theatre/main/live.m3u8"); got.Code != http.StatusOK {
			t.Errorf("%d, although the origin confirms that nothing is new", got.Code)
		}
		lists := g.origin.asked()["/theatre/main/live.m3u8"]
		if lists > 60 {
			t.Errorf("the origin was asked for %d lists in 20 s of silence", lists)
		}
		t.Logf("%d lists in 20 s of silence", lists)
		g.feed.part()
		time.Sleep(100 * time.Millisecond)
		if got, want := child.window().Version().Text, g.feed.window.Version().Text; !bytes.Equal(got, want) {
			t.Error("the next part is not here")
		}
		name := child.window().Version().Playlist.Segments[0].Name

		for _, host := range []string{"10.0.0.1", "10.0.0.2"} {
			g.net.Cut(host, "10.0.0.9")
		}
		time.Sleep(5 * time.Second)
		if got := request(child.server, "GET", "/theatre/main/live.m3u8"); got.Code != http.StatusOK {
			t.Errorf("%d before 3 target durations have passed", got.Code)
		}
		time.Sleep(1100 * time.Millisecond)
		got := request(child.server, "GET", "/theatre/main/live.m3u8")
		if got.Code != http.StatusServiceUnavailable || got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d %v, want 503: the list may be old", got.Code, got.Header())
		}
		if got := request(child.server, "GET", "/theatre/main/"+name.String()); got.Code != http.StatusOK {
			t.Errorf("media: %d, want 200: they stay true", got.Code)
		}
		for _, host := range []string{"10.0.0.1", "10.0.0.2"} {
			g.net.Heal(host, "10.0.0.9")
		}
		time.Sleep(4 * time.Second)
		if got := request(child.server, "GET", "/theatre/main/live.m3u8"); got.Code != http.StatusOK {
			t.Errorf("%d after the parents came back", got.Code)
		}
		g.end()
	})
}

// The second half of each part takes 100 ms from the origin; a relay of a relay
// of a relay has it 2 ways later, not 300 ms.
func TestAChainOfRelaysForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrove(t)
		var last *tree
		for i := range 3 {
			last = g.relay(fmt.Sprintf("10.0.0.%d", i+2), fmt.Sprintf("10.0.0.%d", i+1))
			time.Sleep(500 * time.Millisecond)
		}
		g.origin.slow.Store(true)
		hint := last.window().Version().Playlist.Hint
		g.feed.part()
		began := time.Now()
		o, err := last.window().Media(t.Context(), hint)
		if err != nil || string(o.Body) != string(feedBody(hint)) {
			t.Fatal(o, err)
		}
		if took, want := time.Since(began), slowHalf+3*groveDelay; took != want {
			t.Errorf("the part came after %v, want %v", took, want)
		}
		time.Sleep(time.Second)
		g.end()
	})
}

// A child has the first bytes of a part before its parent has the last.
func TestBytesAreForwardedAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewStore()
		w := store.Create("theatre", DefaultConstants()).CreateWindow("main")
		f := newFeed(t, w)
		f.parts(6)
		credential := NewCredential([]byte("secret"))
		h := NewServer(ServerConfig{Store: store, Credential: credential, Load: NewLoad(), Logger: discard()})
		hint := w.Version().Playlist.Hint
		ask := func(node bool) (*httptest.ResponseRecorder, chan struct{}) {
			r := httptest.NewRequest("GET", "/theatre/main/"+hint.String(), nil)
			if node {
				credential.Authorize(r)
			}
			rec, done := httptest.NewRecorder(), make(chan struct{})
			go func() { h.ServeHTTP(rec, r); close(done) }()
			synctest.Wait()
			return rec, done
		}
		early, earlyDone := ask(true)
		in := newIncoming(hint, feedPart, w.budget)
		if err := in.expect(10); err != nil {
			t.Fatal(err)
		}
		w.begin(in)
		feedBytes := func(s string) { _ = in.readFrom(strings.NewReader(s)); synctest.Wait() }
		feedBytes("first")
		late, lateDone := ask(true)
		player, playerDone := ask(false)
		if early.Body.String() != "first" || late.Body.String() != "first" || player.Body.Len() != 0 {
			t.Errorf("%q, %q, a player has %q", early.Body, late.Body, player.Body)
		}
		if got := late.Header().Get("Content-Length"); got != "10" {
			t.Error("Content-Length", got)
		}
		feedBytes("after")
		if err := w.land(in); err != nil {
			t.Fatal(err)
		}
		<-earlyDone
		<-lateDone
		<-playerDone
		for _, got := range []*httptest.ResponseRecorder{early, late, player} {
			if got.Body.String() != "firstafter" {
				t.Errorf("%q", got.Body)
			}
		}
	})
}
