package relay

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sized is how much of something a test has: little in make test, under the race
// detector, and what it is worth in make prove.
func sized[T any](test, prove T) T {
	if os.Getenv("SURGECAST_PROVE") != "" {
		return prove
	}
	return test
}

// birth is when the timelines of these tests begin.
var birth = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC)

// feed makes lists and media as an origin would: segments of five parts of
// 0.2 s.
type feed struct {
	t      testing.TB
	window *Window
	list   Playlist
	epoch  Epoch
	pad    []byte // makes each part longer
}

const (
	feedParts  = 5
	feedPart   = 200 * time.Millisecond
	feedWindow = 20 // segments
)

func newFeed(t testing.TB, w *Window) *feed {
	f := &feed{t: t, window: w, epoch: 10, list: Playlist{
		Constants: w.constants, MediaSequence: 1000,
	}}
	f.open()
	w.Put(f.list.Open.Map, []byte("init"), 0)
	return f
}

func (f *feed) open() {
	f.list.Open = Segment{
		Map:             MediaName{Kind: Init, Epoch: f.epoch},
		ProgramDateTime: birth.Add(time.Duration(f.list.OpenSequence()-1000) * time.Second),
	}
}

// part publishes one more part, and closes the segment with its last one.
func (f *feed) part() {
	f.t.Helper()
	if err := f.window.Publish(f.render()); err != nil {
		f.t.Fatal(err)
	}
}

// render adds one part to the list and returns its text.
func (f *feed) render() []byte {
	l := &f.list
	msn, n := l.OpenSequence(), len(l.Open.Parts)
	name := MediaName{Kind: PartMedia, Epoch: f.epoch, Number: msn, Part: n}
	f.window.Put(name, append([]byte(name.String()+";"), f.pad...), feedPart)
	l.Open.Parts = append(l.Open.Parts, Part{Name: name, Duration: feedPart, Independent: n == 0})
	if n+1 == feedParts {
		closed := l.Open
		closed.Name = MediaName{Kind: SegmentMedia, Epoch: f.epoch, Number: msn}
		closed.Duration = feedParts * feedPart
		l.Segments = append(l.Segments, closed)
		if i := len(l.Segments) - 7; i >= 0 {
			l.Segments[i].Parts = nil
		}
		if len(l.Segments) > feedWindow {
			if l.Segments[0].Discontinuity {
				l.DiscontinuitySequence++
			}
			l.Segments = l.Segments[1:]
			l.MediaSequence++
		}
		f.open()
	}
	l.Hint = MediaName{Kind: PartMedia, Epoch: f.epoch, Number: l.OpenSequence(), Part: len(l.Open.Parts)}
	return l.AppendText(nil)
}

func (f *feed) parts(n int) {
	f.t.Helper()
	for range n {
		f.part()
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
