package relay

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// gap publishes what is missing in place of the next part.
func (f *feed) gap() {
	f.t.Helper()
	l := &f.list
	l.Open.Parts = append(l.Open.Parts, Part{Name: l.Hint, Duration: feedPart, Gap: true})
	l.Open.Gap = true
	l.Hint.Part++
	if err := f.window.Publish(l.AppendText(nil)); err != nil {
		f.t.Fatal(err)
	}
}

// Who waits for a part that turns out to be a gap is told at once; the rest of
// its segment is there, and goes with it.
func TestGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		f.parts(2 * feedParts)
		asked := time.Now()
		waited := make(chan error)
		go func() {
			_, err := w.Media(t.Context(), MediaName{PartMedia, 10, 1002, 0})
			waited <- err
		}()
		synctest.Wait()
		f.gap()
		if err := <-waited; !errors.Is(err, ErrNotFound) || time.Since(asked) != 0 {
			t.Errorf("who waited got %v after %v", err, time.Since(asked))
		}
		f.parts(feedParts - 1)
		for name, here := range map[MediaName]bool{
			{PartMedia, 10, 1002, 0}:    false,
			{PartMedia, 10, 1002, 1}:    true,
			{SegmentMedia, 10, 1002, 0}: false,
		} {
			if _, err := w.Media(t.Context(), name); (err == nil) != here || !here && !errors.Is(err, ErrNotFound) {
				t.Errorf("%v: %v", name, err)
			}
		}
		for range (feedWindow + 20) * feedParts {
			time.Sleep(feedPart)
			f.part()
		}
		if w.Has(MediaName{PartMedia, 10, 1002, 1}) {
			t.Error("a part of a gap stays for ever")
		}
	})
}

// A relay that comes when some of a segment is missing gets the rest.
func TestARelayJoinsInAGap(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	for len(u.feed.list.Open.Parts) != 1 {
		u.feed.part()
	}
	u.feed.gap()
	u.feed.parts(feedParts) // to the second part of the next segment
	f, store := follow(t, u, public)
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	gap := u.feed.list.OpenSequence() - 1
	for part := range feedParts {
		if name := (MediaName{PartMedia, 10, gap, part}); w.Has(name) != (part != 1) {
			t.Errorf("%v is at the relay: %v", name, w.Has(name))
		}
	}
	u.feed.gap()
	u.feed.part()
	awaitText(t, w, u.feed.window.Version().Text)
}
