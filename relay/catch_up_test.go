package relay

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Pieces follow each other as the link lets them, whoever asks; after a pause
// nothing has been saved up.
func TestCatchUpTakesTurns(t *testing.T) {
	var c catchUp
	now := time.Now()
	for i, want := range []time.Duration{0, 10, 20, 30} {
		if got := c.reserve(now, 10*time.Millisecond); got != want*time.Millisecond {
			t.Errorf("piece %d waits for %v", i, got)
		}
	}
	now = now.Add(time.Minute)
	if a, b := c.reserve(now, 10*time.Millisecond), c.reserve(now, 10*time.Millisecond); a != 0 || b != 10*time.Millisecond {
		t.Errorf("after a pause they wait for %v and %v", a, b)
	}
}

// Nodes that join share half of what live media leave, and a tenth in any case.
func TestCatchUpRate(t *testing.T) {
	for _, c := range []struct {
		capacity, rate, children, want int64
	}{
		{0, 600_000, 3, 0},
		{10_000_000, 600_000, 0, 5_000_000},
		{10_000_000, 600_000, 3, 4_100_000},
		{10_000_000, 5_000_000, 2, 1_000_000},
	} {
		s := NewSlots(SlotsConfig{Store: NewStore(), Self: func() string { return "me" }, Capacity: c.capacity})
		s.rate, s.measured = c.rate, time.Now()
		for i := range c.children {
			s.children[string(rune('a'+i))] = time.Now().Add(time.Minute)
		}
		if got := s.catchUpRate(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// What is old goes to other nodes in pieces that take turns, and what is new goes
// past them.
func TestOldMediaLeaveTheLinkFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 10_000_000
		credential := NewCredential([]byte("secret"))
		var slots *Slots
		h, f := edge(t, func(c *ServerConfig) {
			slots = NewSlots(SlotsConfig{Store: c.Store, Self: func() string { return "me" }, Capacity: capacity})
			c.Slots = slots
		})
		f.pad = make([]byte, 20<<10)
		f.parts(18 * feedParts)
		slots.Room() // measures the streams
		get := func(name MediaName) (int, time.Duration) {
			r := httptest.NewRequest(http.MethodGet, "/theatre/main/"+name.String(), nil)
			credential.Authorize(r)
			r.Header.Set(nodeHeader, "joins")
			w, began := httptest.NewRecorder(), time.Now()
			if h.ServeHTTP(w, r); w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), f.window.objects[name].Body) {
				t.Errorf("%v: %d, %d bytes", name, w.Code, w.Body.Len())
			}
			return w.Body.Len(), time.Since(began)
		}
		p := f.window.Version().Playlist
		var mu sync.Mutex
		var sum int64
		var longest time.Duration
		var asking sync.WaitGroup
		for _, s := range p.Segments[len(p.Segments)-8 : len(p.Segments)-4] {
			asking.Go(func() {
				n, took := get(s.Name)
				mu.Lock()
				defer mu.Unlock()
				sum, longest = sum+int64(n), max(longest, took)
			})
		}
		synctest.Wait()
		if _, took := get(p.Open.Parts[0].Name); took != 0 {
			t.Errorf("a part that is new took %v", took)
		}
		asking.Wait()
		atMost := time.Duration(sum * 8 * int64(time.Second) / slots.catchUpRate())
		if longest > atMost || longest < atMost*9/10 {
			t.Errorf("%d bytes took %v, want %v", sum, longest, atMost)
		}
	})
}

// Who joins takes what is old from siblings, never asks one again that refuses,
// and takes what is new from its parent.
func TestWhoJoinsAsksSiblings(t *testing.T) {
	public, private := keys(t)
	parent, sibling, full := newUpstream(t, private), newUpstream(t, private), newUpstream(t, private)
	full.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "full", http.StatusServiceUnavailable)
		return true
	}
	f, store := follow(t, parent, public, func(c *FollowerConfig) {
		c.Siblings = func() []string { return []string{full.URL, sibling.URL} }
	})
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	joined := parent.feed.window.Version().Playlist
	for range feedParts {
		parent.feed.part()
		awaitText(t, w, parent.feed.window.Version().Text)
	}
	open := joined.OpenSequence()
	for path := range parent.asked() {
		name, err := ParseMediaName(strings.TrimPrefix(path, "/theatre/main/"))
		if err == nil && name.Kind != Init && name.Number+1 < open {
			t.Errorf("the parent was asked for %s", path)
		}
	}
	old := 0
	for path, n := range sibling.asked() {
		name, err := ParseMediaName(strings.TrimPrefix(path, "/theatre/main/"))
		if err != nil || name.Kind == Init || name.Number+1 >= open || n != 1 {
			t.Errorf("the sibling was asked for %s %d times", path, n)
		}
		old++
	}
	if old < feedWindow/2 {
		t.Errorf("the sibling gave %d old objects", old)
	}
	refused := 0
	for _, n := range full.asked() {
		refused += n
	}
	if refused > joinFetches {
		t.Errorf("the full one was asked %d times", refused)
	}
}
