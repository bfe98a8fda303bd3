package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneVersionAnswersEveryWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		f.part()
		const waiters = 1000
		got := make(chan *Version, waiters)
		for range waiters {
			go func() {
				v, err := w.Await(t.Context(), 1000, 1)
				if err != nil {
					t.Error(err)
				}
				got <- v
			}()
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("answered before the part was there")
		}
		f.part()
		synctest.Wait()
		for range waiters {
			if v := <-got; v != w.Version() {
				t.Fatal("a waiter got another version")
			}
		}
	})
}

func TestAwaitDirectives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		f.parts(2*feedParts + 2) // 1000, 1001 closed, parts 0 and 1 of 1002
		for _, c := range []struct {
			msn  uint64
			part int
			want error // nil: at once; ErrStalled: held
		}{
			{1001, -1, nil},
			{1002, 1, nil},
			{12, 0, nil},               // long gone: the list as it is
			{1001, 7, nil},             // past the end of a closed one: the first of the next
			{1002, 2, ErrStalled},      // next
			{1002, -1, ErrStalled},     // the whole open segment
			{1003, 0, ErrStalled},      //
			{1004, -1, ErrStalled},     //
			{1002, 1 + 16, ErrStalled}, // ceil(3 / 0.225) + 2 ahead
			{1002, 2 + 16, ErrTooFar},  //
			{1005, -1, ErrTooFar},      //
			{1 << 60, 0, ErrTooFar},    //
			{1003, DefaultConstants().advanceParts(), ErrTooFar}, //
		} {
			_, err := w.ready(c.msn, c.part)
			if held := errors.Is(err, errToCome); held != (c.want == ErrStalled) || !held && !errors.Is(err, c.want) {
				t.Errorf("%d.%d at once: %v, want %v", c.msn, c.part, err, c.want)
			}
			began := time.Now()
			_, err = w.Await(t.Context(), c.msn, c.part)
			if !errors.Is(err, c.want) {
				t.Errorf("%d.%d: %v, want %v", c.msn, c.part, err, c.want)
			}
			held := time.Since(began)
			if want := 6 * time.Second; c.want == ErrStalled && held != want || c.want != ErrStalled && held != 0 {
				t.Errorf("%d.%d: held for %v", c.msn, c.part, held)
			}
		}
	})
}

// A request that is to be held is found to be so without anything that would
// have to be collected: ten thousand come with each part.
func TestHoldingMakesNoGarbage(t *testing.T) {
	w := NewWindow(DefaultConstants())
	newFeed(t, w).parts(2*feedParts + 2)
	next := MediaName{PartMedia, 10, 1002, 2}
	for range 2 { // before and while somebody waits for the part
		if allocations := testing.AllocsPerRun(100, func() {
			_, list := w.ready(1002, 2)
			_, part := w.media(next)
			if list != errToCome || part != errToCome {
				t.Fatalf("list %v, part %v", list, part)
			}
		}); allocations != 0 {
			t.Errorf("%v allocations", allocations)
		}
		if len(w.awaited) > 1 {
			t.Error("who does not wait is waited for")
		}
		if _, _, err := w.await(next); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMediaIsHeldUntilItIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		f.parts(2*feedParts + 2)
		ask := func(name string) string {
			n, err := ParseMediaName("0000000a/" + name)
			if err != nil {
				t.Fatal(err)
			}
			o, err := w.Media(t.Context(), n)
			if err != nil {
				return err.Error()
			}
			return string(o.Body)
		}
		for name, want := range map[string]string{
			"init-0.mp4":  "init",
			"1001.m4s":    "0000000a/1001.0.m4s;0000000a/1001.1.m4s;0000000a/1001.2.m4s;0000000a/1001.3.m4s;0000000a/1001.4.m4s;",
			"1001.4.m4s":  "0000000a/1001.4.m4s;",
			"1002.1.m4s":  "0000000a/1002.1.m4s;",
			"1001.5.m4s":  ErrNotFound.Error(), // the segment closed without it
			"999.m4s":     ErrNotFound.Error(),
			"init-7.mp4":  ErrNotFound.Error(),
			"1002.40.m4s": ErrTooFar.Error(),
		} {
			if got := ask(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		// Held: the hinted part, one further on, the open segment, the next one.
		held := map[string]string{}
		answers := make(chan [2]string, 4)
		for _, name := range []string{"1002.2.m4s", "1002.3.m4s", "1002.m4s", "1003.0.m4s", "1002.9.m4s"} {
			go func() { answers <- [2]string{name, ask(name)} }()
		}
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatal("answered too early:", <-answers)
		}
		f.parts(4)
		for range 5 {
			a := <-answers
			held[a[0]] = a[1]
		}
		if held["1002.2.m4s"] != "0000000a/1002.2.m4s;" || !strings.HasSuffix(held["1002.m4s"], "1002.4.m4s;") ||
			held["1003.0.m4s"] != "0000000a/1003.0.m4s;" || held["1002.9.m4s"] != ErrNotFound.Error() {
			t.Errorf("held: %q", held)
		}
	})
}

func TestALeaverEndsItsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		f.part()
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		go func() {
			_, err := w.Await(ctx, 1000, 1)
			errs <- err
		}()
		go func() {
			_, err := w.Media(ctx, MediaName{PartMedia, 10, 1000, 1})
			errs <- err
		}()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if len(w.awaited) != 0 {
			t.Error("a wait is left behind")
		}
	})
}

func TestPublishRefusesAStepBack(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	f.parts(3 * feedParts)
	older := string(w.Version().Text)
	f.parts(2)
	newest := w.Version()
	lower := strings.ReplaceAll(string(newest.Text), "0000000a/", "00000009/")
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"an older list":   {older, ErrStepBack},
		"a lower epoch":   {lower, ErrStepBack},
		"another history": {strings.Replace(string(newest.Text), "0000000a/1001.m4s", "00000009/1001.m4s", 1), ErrStepBack},
		"garbage":         {"<html>", ErrPlaylist},
		"other constants": {strings.Replace(string(newest.Text), "HOLD-BACK=6.0", "HOLD-BACK=7.0", 1), ErrPlaylist},
		"absent media":    {strings.ReplaceAll(string(newest.Text), "0000000a/", "0000000b/"), ErrStepBack},
	} {
		if err := w.Publish([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.Version() != newest {
		t.Error("the window changed")
	}
	g := f.list
	g.Open.Parts = append(g.Open.Parts, Part{Name: g.Hint, Duration: feedPart})
	g.Hint.Part++
	if err := w.Publish(g.AppendText(nil)); !errors.Is(err, ErrMissingMedia) {
		t.Error(err)
	}
}

func TestMediaLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		f := newFeed(t, w)
		first := MediaName{SegmentMedia, 10, 1000, 0}
		for range (feedWindow + 1) * feedParts {
			time.Sleep(feedPart)
			f.part()
		}
		if w.Version().Playlist.MediaSequence != 1001 || !w.Has(first) {
			t.Fatal("a segment that just left the list must stay")
		}
		for range 40 * feedParts {
			time.Sleep(feedPart)
			f.part()
		}
		if w.Has(first) || w.Has(MediaName{PartMedia, 10, 1000, 3}) {
			t.Error("a segment that left long ago is still there")
		}
		// The list, 3 × TARGETDURATION of what left it, and the part of a
		// segment at each end; the init segment is in force.
		if most := (feedWindow+6+2)*(feedParts+1) + 1; len(w.objects) > most || !w.Has(MediaName{Kind: Init, Epoch: 10}) {
			t.Errorf("%d objects, want at most %d and the init segment", len(w.objects), most)
		}
	})
}

func TestCloseEndsEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow(DefaultConstants())
		newFeed(t, w).part()
		errs := make(chan error, 2)
		go func() {
			_, err := w.Await(t.Context(), 1000, 1)
			errs <- err
		}()
		go func() {
			_, err := w.Media(t.Context(), MediaName{PartMedia, 10, 1000, 1})
			errs <- err
		}()
		synctest.Wait()
		w.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
	})
}

func TestDeltaMergesToTheFullList(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	for n := range 30 * feedParts {
		f.part()
		v := w.Version()
		delta := string(v.delta().text)
		head, rest, skips := strings.Cut(delta, "#EXT-X-SKIP:SKIPPED-SEGMENTS=")
		if !skips {
			if delta != string(v.Text) {
				t.Fatal("nothing is skipped, but the text differs")
			}
			continue
		}
		var skipped int
		if _, err := fmt.Sscanf(rest, "%d\n", &skipped); err != nil {
			t.Fatal(err)
		}
		_, rest, _ = strings.Cut(rest, "\n")
		rest = strings.TrimPrefix(rest, "#EXT-X-MAP:URI=\"0000000a/init-0.mp4\"\n")
		if merged := head + string(v.Text[v.layout.segments[0]:v.layout.segments[skipped]]) + rest; merged != string(v.Text) {
			t.Fatalf("after %d parts the delta merges to\n%s\nwant\n%s", n, merged, v.Text)
		}
	}
}
