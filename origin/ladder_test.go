package origin_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// ladder runs the lower rungs of a stage until the test ends.
func (s *stage) ladder(program string) *origin.Ladder {
	s.Helper()
	l, err := origin.NewLadder(origin.LadderConfig{
		Stream: "theatre", Origin: s.Origin, Gate: origin.NewGate(origin.GateConfig{Origin: s.Origin}),
		FFmpeg: program, Nice: origin.DefaultNice,
		Rungs: []origin.LadderRung{{Name: "720", Height: 96, BitRate: 300_000}, {Name: "360", Height: 48, BitRate: 100_000}},
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			s.Error(err)
		}
	}()
	s.Cleanup(func() { cancel(); <-done })
	return l
}

// until waits for a condition while feeds play.
func (in *inspector) until(what string, is func() bool, feeds ...*rungFeed) {
	in.Helper()
	for deadline := time.Now().Add(40 * time.Second); !is(); {
		if time.Now().After(deadline) {
			in.Fatalf("not in 40 s: %s", what)
		}
		in.playRungs(100*time.Millisecond, feeds...)
	}
}

// ffmpeg makes two rungs of the top one, with the same segments; killed, it
// comes back, and with the top rung it goes.
func TestLadder(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	t.Parallel()
	s := newStageWith(t, t.TempDir(), threeRungs())
	in, l := inspect(s), s.ladder("")
	in.apart = true
	top := &rungFeed{rung: "1080", Source: &origintest.Source{Width: 320, Height: 192, GOP: 25, Audio: true}}
	s.connect(top)
	whole := func() bool {
		for _, rung := range []string{"720", "360"} {
			r := in.renditions[rung]
			if r == nil || r.last == nil {
				return false
			}
			segments := r.last.Playlist.Segments
			if n := len(segments); n < 2 || segments[n-1].Gap || segments[n-2].Gap {
				return false
			}
		}
		return s.variants() == "1080 720 360 audio-0"
	}
	in.until("both rungs are there", whole, top)
	in.inStep("1080", "720", "360")
	if index := string(s.store.Stream("theatre").Index()); !strings.Contains(index, "RESOLUTION=160x96") || !strings.Contains(index, "RESOLUTION=80x48") {
		t.Error(index)
	}
	if os.Getenv("SURGECAST_PROVE") == "" {
		return
	}
	if process, err := os.FindProcess(l.Status().PID); err != nil || process.Kill() != nil {
		t.Fatalf("%+v", l.Status())
	}
	in.until("they are gone", func() bool { return !whole() }, top)
	in.until("they are back", whole, top)
	in.inStep("1080", "720", "360")
	if status := l.Status(); status.Restarts != 1 || status.State != "running" {
		t.Errorf("%+v", status)
	}
	top.Close()
	in.until("ffmpeg is gone", func() bool { return l.Status().State == "waiting for the top rung" })
}

func TestLadderWithoutFFmpeg(t *testing.T) {
	s := newStageWith(t, t.TempDir(), threeRungs())
	l := s.ladder("/nowhere/ffmpeg")
	top := feeds()[0]
	s.connect(top)
	in := inspect(s)
	in.apart = true
	in.until("it is said", func() bool { return strings.Contains(l.Status().State, "install it") }, top)
}
