package relay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// windowBeforeClosing lists a segment that is not put together yet.
func windowBeforeClosing(t *testing.T) (*Window, *Segment) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	f.parts(feedParts - 1)
	v, err := newVersion(f.render())
	if err != nil {
		t.Fatal(err)
	}
	closed, err := w.replace(v)
	if err != nil || len(closed) != 1 {
		t.Fatalf("%d segments are closed: %v", len(closed), err)
	}
	return w, closed[0]
}

// A segment that is listed and still being put together is waited for, and one
// whose parts were given up is not.
func TestSegmentBeingPutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := windowBeforeClosing(t)
		got := make(chan error)
		ask := func() {
			o, err := w.Media(context.Background(), s.Name)
			if err == nil && len(o.Body) == 0 {
				err = errors.New("an empty segment")
			}
			got <- err
		}
		go ask()
		synctest.Wait()
		if !w.Has(s.Name) {
			t.Error("it is said not to be here")
		}
		w.assemble(s)
		if err := <-got; err != nil {
			t.Error(err)
		}

		w, s = windowBeforeClosing(t)
		go ask()
		synctest.Wait()
		w.mu.Lock()
		delete(w.objects, s.Parts[0].Name)
		w.mu.Unlock()
		w.assemble(s)
		if err := <-got; !errors.Is(err, ErrNotFound) {
			t.Errorf("of a segment without its parts: %v", err)
		}
	})
}
