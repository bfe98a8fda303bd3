package relay

import (
	"errors"
	"testing"
)

// A stream over its budget sheds what is oldest; the live edge goes on, and
// what is shed is gone, not waited for.
func TestABudgetShedsTheOldest(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	f.parts(19 * feedParts)
	w.budget.limit = w.budget.used.Load()
	used := w.budget.used.Load()
	oldest := w.Version().Playlist.Segments[0].Name
	for range 15 * feedParts {
		f.part()
		if now := w.budget.used.Load(); now > used+200 {
			t.Fatalf("%d bytes, the limit is %d", now, used)
		}
	}
	if _, err := w.Media(t.Context(), oldest); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	sum := int64(0)
	for _, o := range w.objects {
		if o.parts == nil {
			sum += int64(len(o.Body))
		}
	}
	if sum != w.budget.used.Load() {
		t.Errorf("%d bytes are here, %d are counted", sum, w.budget.used.Load())
	}

	// However small the budget, what live players need stays, until nothing more
	// is taken: then the list stands still.
	w.budget.limit = 1
	err := w.Publish(f.render())
	if !errors.Is(err, ErrMissingMedia) {
		t.Error(err)
	}
	p := w.Version().Playlist
	for n := p.leastKept(); n < p.OpenSequence(); n++ {
		if s := p.Segments[n-p.MediaSequence].Name; !w.Has(s) {
			t.Errorf("%v is gone", s)
		}
	}
}

// A relay joins although the oldest media are gone everywhere.
func TestJoiningWithoutTheOldest(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	u.feed.window.mu.Lock()
	u.feed.window.raiseFloor(u.feed.window.version.Playlist.MediaSequence + 3)
	u.feed.window.mu.Unlock()
	f, store := follow(t, u, public)
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	if got := w.Version(); string(got.Text) != string(u.feed.window.Version().Text) {
		t.Error("another list")
	}
	u.feed.part()
	awaitText(t, w, u.feed.window.Version().Text)
}

// Objects of epochs to come can be waited for, but not without a bound.
func TestForeseenObjectsAreBounded(t *testing.T) {
	w := NewWindow(DefaultConstants())
	newFeed(t, w).part()
	for n := range maxForeseen + 5 {
		a, _, err := w.await(MediaName{SegmentMedia, 11, uint64(2000 + n), 0})
		if want := n >= maxForeseen; (a == nil) != want || errors.Is(err, ErrStalled) != want {
			t.Fatalf("the %d. object: %v", n+1, err)
		}
	}
	if a, _, err := w.await(MediaName{PartMedia, 10, 1000, 1}); a == nil {
		t.Error("the next part must still be waited for:", err)
	}
}
