package origin_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// A slate takes the place of the encoder that is away, by the rules of lists and
// media, and the encoder comes back with whatever it comes back with.
func TestSlateWhileTheEncoderIsAway(t *testing.T) {
	for name, one := range map[string]struct {
		audio  origin.AudioMode
		sounds int
	}{"muxed": {origin.AudioMuxed, 0}, "separate": {origin.AudioSeparate, 1}, "two": {origin.AudioMuxed, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				in := inspect(newStageWith(t, t.TempDir(), origin.StreamConfig{Audio: one.audio, OnLoss: origin.SlateOnLoss}))
				for i, width := range []int{64, 64, 128} {
					source := &origintest.Source{Audio: true, Sounds: one.sounds, GOP: 25, Width: width}
					p := in.publish(source)
					if i > 0 {
						in.checkSlate(t)
					}
					in.play(p, source, 5*time.Second, nil)
					p.Close()
					in.look()
					in.wait([]time.Duration{5 * time.Second, 40 * time.Second, 0}[i])
				}
			})
		})
	}
}

// checkSlate looks at the lists right before the encoder is back: they end with a
// slate, and are as far as the clock.
func (in *inspector) checkSlate(t *testing.T) {
	t.Helper()
	for name, r := range in.renditions {
		list := r.window.Version().Playlist
		if ahead := time.Until(list.End()); ahead > 300*time.Millisecond || ahead < -1500*time.Millisecond {
			t.Errorf("%s: the list ends %v after now", name, ahead)
		}
		last := list.Segments[len(list.Segments)-1]
		if last.Gap {
			t.Errorf("%s: a gap, want a slate", name)
		}
		if name != "main" {
			continue
		}
		var init fmp4.Init
		if err := init.Unmarshal(bytes.NewReader(in.body(r, last.Map))); err != nil {
			t.Fatal(err)
		}
		if sps := init.Tracks[0].Codec.(*codecs.H264).SPS; sps[1] != 77 { // Main; the source's is Baseline
			t.Errorf("the slate is not in the list: SPS %x", sps)
		}
	}
}

// A slate on command comes at once, hides the feed, and goes with its next key
// picture.
func TestSlateOnCommand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in := inspect(newStageWith(t, t.TempDir(), origin.StreamConfig{}))
		if err := in.ShowSlate("theatre", origin.SlateHold); !errors.Is(err, origin.ErrNoProgramme) {
			t.Errorf("before the programme: %v", err)
		}
		source := &origintest.Source{Audio: true, GOP: 50}
		p := in.publish(source)
		in.play(p, source, 5300*time.Millisecond, nil)
		if err := in.HideSlate("theatre"); !errors.Is(err, origin.ErrNoSlate) {
			t.Errorf("hide without show: %v", err)
		}
		if err := in.ShowSlate("theatre", origin.SlateFault); err != nil {
			t.Fatal(err)
		}
		in.play(p, source, 7*time.Second, nil)
		in.checkSlate(t)
		shown := in.Shown()
		if len(shown) != 1 || !shown[0].Ordered || shown[0].Slate == nil || shown[0].Slate.Kind != origin.SlateFault {
			t.Errorf("shown: %+v", shown)
		}
		if err := in.HideSlate("theatre"); err != nil {
			t.Fatal(err)
		}
		in.play(p, source, 5*time.Second, nil)
		if shown := in.Shown(); len(shown) != 0 {
			t.Errorf("still shown: %+v", shown)
		}
		// And once more, with nobody there when it ends: gaps follow.
		if err := in.ShowSlate("theatre", origin.SlateEnded); err != nil {
			t.Fatal(err)
		}
		p.Close()
		in.wait(4 * time.Second)
		in.checkSlate(t)
		if err := in.HideSlate("theatre"); err != nil {
			t.Fatal(err)
		}
		in.wait(6 * time.Second)
		if shown := in.Shown(); len(shown) != 1 || shown[0].Slate != nil {
			t.Errorf("nobody is there: %+v", shown)
		}
		if err := in.End("theatre"); err != nil {
			t.Fatal(err)
		}
		in.look()
	})
}

// Own slates are checked, kept over a restart, and come before those built in.
func TestOwnSlates(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		s := newStage(t, dir)
		built := s.Slates()
		if len(built) != 24 {
			t.Errorf("%d slates are built in", len(built))
		}
		good, err := os.ReadFile("slate/hold-360p25-h264.mp4")
		if err != nil {
			t.Fatal(err)
		}
		for want, file := range map[string][]byte{
			"no pictures":    []byte("GIF89a"),
			"can't be read":  good[:200],
			"want at most":   bytes.Repeat([]byte{0}, origin.MaxSlateBytes+1),
			"there is no ki": nil,
		} {
			kind := origin.SlateHold
			if file == nil {
				kind = "party"
			}
			if _, err := s.AddSlate(kind, "", file); !errors.Is(err, origin.ErrSlate) || !strings.Contains(err.Error(), want) && want != "can't be read" {
				t.Errorf("want %q: %v", want, err)
			}
		}
		if _, err := s.AddSlate(origin.SlateHold, "cinema", good); !errors.Is(err, origin.ErrUnknownStream) {
			t.Errorf("for another stream: %v", err)
		}
		all, err := s.AddSlate(origin.SlateHold, "", good)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.AddSlate(origin.SlateHold, "", good); err != nil || again.ID != all.ID {
			t.Errorf("the same again: %+v, %v", again, err)
		}
		if _, err := s.AddSlate(origin.SlateHold, "theatre", good); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveSlate(all.ID); err != nil {
			t.Error(err)
		}
		if err := s.RemoveSlate(all.ID); !errors.Is(err, origin.ErrNoSlate) {
			t.Errorf("removed twice: %v", err)
		}
		if err := s.RemoveSlate(built[0].ID); !errors.Is(err, origin.ErrSlate) {
			t.Errorf("one that is built in: %v", err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "slates", "hold._.0000.slate"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) {
		s := newStage(t, dir)
		own := slices.DeleteFunc(s.Slates(), func(o origin.Slate) bool { return o.BuiltIn })
		if len(own) != 1 || own[0].Stream != "theatre" || own[0].Kind != origin.SlateHold || own[0].Height != 360 || own[0].Seconds != 2 {
			t.Errorf("own: %+v", own)
		}
		source := &origintest.Source{}
		s.play(s.publish(source), source, 2*time.Second)
		if err := s.ShowSlate("theatre", origin.SlateHold); err != nil {
			t.Fatal(err)
		}
		if shown := s.Shown(); len(shown) != 1 || shown[0].Slate.ID != own[0].ID {
			t.Errorf("shown: %+v, want the own one", shown)
		}
	})
}

// All rungs show the slate, in step, and come back together.
func TestSlateOnAllRungs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		config := threeRungs()
		config.OnLoss = origin.SlateOnLoss
		in := inspect(newStageWith(t, t.TempDir(), config))
		all := feeds()
		for _, f := range all {
			in.connect(f)
		}
		in.playRungs(8*time.Second, all...)
		for _, f := range all {
			f.Close()
		}
		in.look()
		before := in.inStep("1080", "720", "360")
		in.wait(10 * time.Second)
		after := in.inStep("1080", "720", "360")
		for rung := range after {
			// The newest may be open; a rung begins at a boundary.
			if got := after[rung] - before[rung]; got < 3 {
				t.Errorf("%s: %d segments of the slate that are whole", rung, got)
			}
		}
		all = feeds()
		for _, f := range all {
			in.connect(f)
		}
		in.playRungs(8*time.Second, all...)
		in.inStep("1080", "720", "360")
	})
}

// A slate that was commanded is shown again after the origin was killed, until
// it is taken off, also where no slate is shown at a loss; the encoder may be back
// or not. Its sound is there, as it was.
func TestSlateOnCommandAfterACrash(t *testing.T) {
	for name, config := range map[string]origin.StreamConfig{
		"gap": {}, "stand": still, "separate": {Audio: origin.AudioSeparate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				s := newStageWith(t, dir, config)
				source := &origintest.Source{Audio: true, GOP: 25}
				p := s.publish(source)
				s.play(p, source, 8*time.Second)
				if err := s.ShowSlate("theatre", origin.SlateHold); err != nil {
					t.Fatal(err)
				}
				s.play(p, source, 3*time.Second)

				copied := crash(t, dir)
				in := inspect(revive(t, copied, config))
				in.wait(3 * time.Second)
				in.checkShown(t, origin.SlateHold)
				source = &origintest.Source{Audio: true, GOP: 25}
				p = in.publish(source)
				in.play(p, source, 5*time.Second, nil)
				in.checkShown(t, origin.SlateHold)
				if err := in.HideSlate("theatre"); err != nil {
					t.Fatal(err)
				}
				in.play(p, source, 5*time.Second, nil)
				if shown := in.Shown(); len(shown) != 0 {
					t.Errorf("still shown: %+v", shown)
				}

				again := revive(t, crash(t, copied), config)
				time.Sleep(3 * time.Second)
				for _, shown := range again.Shown() {
					if shown.Ordered {
						t.Errorf("shown although it was taken off: %+v", shown)
					}
				}
			})
		})
	}
}

// checkShown holds that the stream shows that slate on command, and has all its
// tracks.
func (in *inspector) checkShown(t *testing.T, kind origin.SlateKind) {
	t.Helper()
	shown := in.Shown()
	if len(shown) != 1 || !shown[0].Ordered || shown[0].Slate == nil || shown[0].Slate.Kind != kind {
		t.Fatalf("shown: %+v", shown)
	}
	in.checkSlate(t)
	for name, r := range in.renditions {
		var init fmp4.Init
		list := r.window.Version().Playlist
		if err := init.Unmarshal(bytes.NewReader(in.body(r, list.Segments[len(list.Segments)-1].Map))); err != nil {
			t.Fatal(err)
		}
		if want := 3 - len(in.renditions); name == "main" && len(init.Tracks) != want {
			t.Errorf("%d tracks in the slate, want %d", len(init.Tracks), want)
		}
	}
}

// Where the stream begins anew after a crash, the slate comes as soon as it can
// follow a programme.
func TestSlateOnCommandOfAStreamBegunAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		s := newStage(t, dir)
		source := &origintest.Source{Audio: true, GOP: 25}
		p := s.publish(source)
		s.play(p, source, 8*time.Second)
		if err := s.ShowSlate("theatre", origin.SlateFault); err != nil {
			t.Fatal(err)
		}
		copied := crash(t, dir)
		if err := os.RemoveAll(filepath.Join(copied, "live")); err != nil {
			t.Fatal(err)
		}
		in := inspect(revive(t, copied, origin.StreamConfig{}))
		source = &origintest.Source{Audio: true, GOP: 25}
		p = in.publish(source)
		in.play(p, source, 6*time.Second, nil)
		in.checkShown(t, origin.SlateFault)
		if err := in.End("theatre"); err != nil {
			t.Fatal(err)
		}
		in.look()
	})
}

// A slate at a loss has the stream's sound also before the first encoder of this
// start.
func TestSlateAtALossAfterARestart(t *testing.T) {
	for _, audio := range []origin.AudioMode{origin.AudioMuxed, origin.AudioSeparate} {
		t.Run(string(audio), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				config := origin.StreamConfig{Audio: audio, OnLoss: origin.SlateOnLoss}
				dir := t.TempDir()
				before := newStageWith(t, dir, config)
				source := &origintest.Source{Audio: true, GOP: 25}
				before.play(before.publish(source), source, 8*time.Second)
				in := inspect(revive(t, crash(t, dir), config))
				in.wait(8 * time.Second)
				in.checkSlate(t)
				if shown := in.Shown(); len(shown) != 1 || shown[0].Ordered || shown[0].Slate == nil {
					t.Errorf("shown: %+v", shown)
				}
				list := in.window.Version().Playlist
				var init fmp4.Init
				if err := init.Unmarshal(bytes.NewReader(in.body(in.renditions["main"], list.Segments[len(list.Segments)-1].Map))); err != nil {
					t.Fatal(err)
				}
				if want := 3 - len(in.renditions); len(init.Tracks) != want {
					t.Errorf("%d tracks in the slate, want %d", len(init.Tracks), want)
				}
				source = &origintest.Source{Audio: true, GOP: 25}
				in.play(in.publish(source), source, 5*time.Second, nil)
			})
		})
	}
}
