package relay

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// slotsOf returns the slots of a node with a link of so many bits/s, and a
// stream of 1 Mbit/s at its peak.
func slotsOf(capacity int64, refer func([]string) []string) *Slots {
	store := NewStore()
	store.Create("theatre", DefaultConstants()).SetIndex(MultivariantText([]Variant{
		{Rendition: "main", Bandwidth: 600_000, AverageBandwidth: 500_000, Codecs: []string{"avc1.42c01e"}},
		{Rendition: "low", Bandwidth: 400_000, AverageBandwidth: 300_000, Codecs: []string{"avc1.42c01e"}},
	}))
	return NewSlots(SlotsConfig{Store: store, Self: func() string { return "self" }, Capacity: capacity, Refer: refer})
}

func TestHowManyChildrenALinkFeeds(t *testing.T) {
	for capacity, want := range map[int64]Room{
		0:               {Best: 20, Hard: 20},
		1:               {Best: 1, Hard: 1},
		3_000_000:       {Best: 1, Hard: 1},
		12_000_000:      {Best: 3, Hard: 7},
		100_000_000:     {Best: 25, Hard: 60},
		400_000_000_000: {Best: 255, Hard: 255},
	} {
		if got := slotsOf(capacity, nil).Room(); got != want {
			t.Errorf("%d bit/s: %+v, want %+v", capacity, got, want)
		}
	}
	if got := NewSlots(SlotsConfig{Store: NewStore(), Capacity: 1e6}).Room(); got.Best != unknownSlots {
		t.Errorf("no stream: %+v", got)
	}
}

// A slot is held while its child asks, whoever else comes; and is free when it
// does not.
func TestSlotsAreHeldWhileTheirChildAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slotsOf(12_000_000, func([]string) []string { return []string{"10.0.0.2:8080"} })
		const hold = 6 * time.Second
		take := func(node string, look, want bool) {
			t.Helper()
			if got, to := s.take(slotWish{node: node, look: look, held: hold}); got != want || got == (len(to) > 0) {
				t.Errorf("%s at %+v: %v, sent to %v", node, s.Room(), got, to)
			}
		}
		take("looker", true, true) // takes none
		for i := range 3 {
			take(fmt.Sprint("child-", i), false, true)
		}
		take("late", false, false)
		take("looker", true, false)
		for range 20 {
			time.Sleep(time.Second)
			take("child-0", false, true)
		}
		if got := s.Room(); got.Used != 1 {
			t.Errorf("%+v, want the one that goes on asking", got)
		}
		take("late", false, true)
		time.Sleep(hold)
		take("late", true, true) // to look is not to follow
		time.Sleep(time.Second)
		if got := s.Room(); got.Used != 0 {
			t.Errorf("%+v after all have left", got)
		}
	})
}

// Beyond what is best a child gets a slot where there is none below, as far as
// the link carries it.
func TestSlotsWhereThereIsNoRoomBelow(t *testing.T) {
	var asked []string
	below := []string{}
	s := slotsOf(12_000_000, func(children []string) []string { asked = children; return below })
	granted := 0
	for i := range 10 {
		if ok, _ := s.take(slotWish{node: fmt.Sprint("child-", i), held: time.Minute}); ok {
			granted++
		}
	}
	if granted != 7 || len(asked) != 7 || !slices.IsSorted(asked) {
		t.Errorf("%d slots granted, the last refused for %v", granted, asked)
	}
	below = []string{"a:1", "b:1", "c:1", "d:1"}
	if ok, to := s.take(slotWish{node: "one more", goes: true, held: time.Minute}); ok || len(to) != 3 {
		t.Errorf("%v, sent to %v", ok, to)
	}
}

// Who has viewers and lost its parent is not sent on, as far as the link carries
// it.
func TestWhoGoesOnOutranksWhoComes(t *testing.T) {
	s := slotsOf(12_000_000, func([]string) []string { return []string{"10.0.0.2:8080"} })
	count := func(goes bool) (n int) {
		for i := range 10 {
			if ok, _ := s.take(slotWish{node: fmt.Sprint("child-", goes, i), goes: goes, held: time.Minute}); ok {
				n++
			}
		}
		return n
	}
	if came, went := count(false), count(true); came != 3 || went != 4 {
		t.Errorf("%d who came and %d who went on have a slot, want 3 and 4", came, went)
	}
}

// Whoever has no slot gets a little of the media of a full node.
func TestTheFallbackHasABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slotsOf(4_000_000, nil)
		const part = 200 * time.Millisecond
		if !s.fallback("anybody", time.Hour) {
			t.Error("refused while there is room")
		}
		s.take(slotWish{node: "child", held: 2 * time.Hour})
		count := func() (n int) {
			for s.fallback("orphan", part) && n < 1000 {
				n++
			}
			return n
		}
		if n := count(); n != int(fallbackBurst/part) {
			t.Errorf("%d parts at once", n)
		}
		time.Sleep(time.Second)
		if n := count(); n != 5 {
			t.Errorf("%d parts after a second, want those of a second", n)
		}
		if !s.fallback("child", time.Hour) {
			t.Error("the child is refused")
		}
		time.Sleep(time.Hour)
		if n := count(); n != int(fallbackBurst/part) {
			t.Errorf("%d parts after an hour", n)
		}
	})
}

// What a node is answered that asks a full one.
func TestAFullNodeAnswers(t *testing.T) {
	slots := slotsOf(1, func([]string) []string { return []string{"10.0.0.2:8080", "10.0.0.3:8080"} })
	credential := NewCredential([]byte("secret"))
	h, f := edge(t, func(c *ServerConfig) { c.Slots = slots })
	ask := func(path, node string, valid bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if valid {
			credential.Authorize(r)
		}
		if node != "" {
			r.Header.Set(nodeHeader, node)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	const live = "/theatre/main/live.m3u8"
	if got := ask(live, "child", true); got.Code != 200 || got.Header().Get(chainHeader) != "self" {
		t.Errorf("the first: %d %v", got.Code, got.Header())
	}
	// It is not held before it is refused: the part does not come in this test.
	hint := f.window.Version().Playlist.Hint
	for _, path := range []string{live, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", live, hint.Number, hint.Part)} {
		got := ask(path, "late", true)
		if got.Code != 503 || got.Header().Get(referralHeader) != "10.0.0.2:8080, 10.0.0.3:8080" ||
			got.Header().Get("Retry-After") == "" || got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, got.Code, got.Header())
		}
	}
	for who, got := range map[string]*httptest.ResponseRecorder{
		"the child":                   ask(live, "child", true),
		"a node without a name":       ask(live, "", true),
		"a node with a bad name":      ask(live, "No Name", true),
		"a viewer":                    ask(live, "", false),
		"a viewer that says a name":   ask(live, "late", false),
		"a single fetch of the index": ask("/theatre/index.m3u8", "late", true),
	} {
		if got.Code != 200 {
			t.Errorf("%s: %d", who, got.Code)
		}
	}
	if got := ask(live, "late", false).Header().Get(chainHeader); got != "" {
		t.Errorf("a viewer is told of %q", got)
	}
	part := "/theatre/main/" + f.window.Version().Playlist.Open.Parts[0].Name.String()
	for n := 0; ; n++ {
		if got := ask(part, "late", true); got.Code == 503 {
			break
		} else if got.Code != 200 || n > 20 {
			t.Fatalf("media: %d after %d", got.Code, n)
		}
	}
	if got := ask(part, "child", true); got.Code != 200 {
		t.Errorf("media for the child: %d", got.Code)
	}
}
