package origin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

// rungFeed is an encoder of one rung.
type rungFeed struct {
	*origin.Publication
	*origintest.Source
	rung string
	late time.Duration // what its coding takes longer
	drop func(origin.Unit) bool
	held []origin.Unit
}

func threeRungs() origin.StreamConfig {
	return origin.StreamConfig{Rungs: []string{"1080", "720", "360"}}
}

// feeds are the encoders of three rungs, the top one with sound.
func feeds() []*rungFeed {
	return []*rungFeed{
		{rung: "1080", Source: &origintest.Source{Width: 320, Height: 192, GOP: 50, Audio: true, PictureBytes: 4000}},
		{rung: "720", Source: &origintest.Source{Width: 160, Height: 96, GOP: 50, PictureBytes: 2000}},
		{rung: "360", Source: &origintest.Source{Width: 64, Height: 48, GOP: 50, PictureBytes: 500}},
	}
}

func (s *stage) connect(f *rungFeed) {
	s.Helper()
	var err error
	if f.Publication, err = s.PublishRung("theatre", f.rung, f.Tracks()); err != nil {
		s.Fatal(err)
	}
}

// playRungs publishes all feeds in real time, in steps of a frame, and checks
// all lists after each.
func (in *inspector) playRungs(length time.Duration, feeds ...*rungFeed) {
	in.Helper()
	until := time.Now().Add(length)
	for time.Now().Before(until) {
		for _, f := range feeds {
			for f.Start.IsZero() || f.Due().Before(time.Now()) {
				for _, u := range f.Next() {
					if f.drop == nil || !f.drop(u) {
						f.held = append(f.held, u)
					}
				}
			}
			for len(f.held) > 0 && time.Since(f.held[0].WallTime) >= f.late {
				if err := f.Write(f.held[0]); err != nil {
					in.Fatalf("%s: %v", f.rung, err)
				}
				f.held = f.held[1:]
			}
		}
		in.look()
		time.Sleep(10 * time.Millisecond)
	}
}

// inStep sees that all rungs have the same segments at the same times, but for
// those that are gaps, and returns how many whole ones each has.
func (in *inspector) inStep(rungs ...string) map[string]int {
	in.Helper()
	lead, whole := in.renditions[rungs[0]].last.Playlist, map[string]int{}
	for _, rung := range rungs {
		p := in.renditions[rung].last.Playlist
		if d := int64(p.OpenSequence()) - int64(lead.OpenSequence()); d < -1 || d > 1 {
			in.Errorf("%s is at segment %d, %s at %d", rung, p.OpenSequence(), rungs[0], lead.OpenSequence())
		}
		for i, segment := range p.Segments {
			n := int64(p.MediaSequence) + int64(i) - int64(lead.MediaSequence)
			if n < 0 || n >= int64(len(lead.Segments)) {
				continue
			}
			of := lead.Segments[n]
			if !segment.ProgramDateTime.Equal(of.ProgramDateTime) || (segment.Duration-of.Duration).Abs() > in.slack || segment.Discontinuity != of.Discontinuity {
				in.Errorf("%s, segment %d: %v %v %v, the lead's %v %v %v", rung, segment.Name.Number,
					segment.ProgramDateTime, segment.Duration, segment.Discontinuity, of.ProgramDateTime, of.Duration, of.Discontinuity)
			}
			if !segment.Gap {
				whole[rung]++
			}
		}
	}
	return whole
}

func (s *stage) variants() string {
	renditions, err := relay.ParseMultivariant(s.store.Stream("theatre").Index())
	if err != nil {
		return err.Error()
	}
	return strings.Join(renditions, " ")
}

// Three rungs of one encoder, in whatever order they come and however long each
// takes to be coded, are one multivariant playlist with the same segments.
func TestRungsInStep(t *testing.T) {
	for _, late := range []time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond, 900 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStageWith(t, t.TempDir(), threeRungs())
				in := inspect(s)
				in.apart = late > 0 // so far, and what following takes
				all := feeds()
				all[1].late, all[2].late = late, late/2
				s.connect(all[2])
				s.connect(all[1])
				s.connect(all[0])
				in.playRungs(20*time.Second, all...)
				whole := in.inStep("1080", "720", "360")
				if whole["1080"] < 8 || whole["720"] < 7 || whole["360"] < 7 {
					t.Errorf("whole segments: %v", whole)
				}
				if got := s.variants(); got != "1080 720 360 audio-0" {
					t.Errorf("variants: %s", got)
				}
				if late == 0 {
					golden(t, "index-rungs.m3u8", string(s.store.Stream("theatre").Index()))
				}
				if c := catalogueOf(t, s); strings.Join(c.Streams[0].Renditions, " ") != "1080 720 360 audio-0" {
					t.Errorf("%+v", c.Streams[0])
				}
			})
		})
	}
}

// A rung that dies is a gap in step, leaves the multivariant playlist after
// three segments, and is back with a key picture at the start of a segment.
func TestRungDiesAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(10*time.Second, all...)
		all[1].Close()
		in.playRungs(3*time.Second, all[0], all[2])
		if got := s.variants(); got != "1080 720 360 audio-0" {
			t.Errorf("at once: %s", got)
		}
		in.playRungs(7*time.Second, all[0], all[2])
		if got := s.variants(); got != "1080 360 audio-0" {
			t.Errorf("without it: %s", got)
		}
		before := in.renditions["720"].gaps
		if before < 30 {
			t.Errorf("%d parts are gaps", before)
		}
		again := feeds()[1]
		again.Start = all[0].Start
		for again.Due().Before(time.Now()) {
			again.Next()
		}
		s.connect(again)
		in.playRungs(10*time.Second, all[0], again, all[2])
		if got := s.variants(); got != "1080 720 360 audio-0" {
			t.Errorf("back: %s", got)
		}
		if after := in.renditions["720"].gaps; after > before+12 {
			t.Errorf("%d parts more are gaps", after-before)
		}
		in.inStep("1080", "720", "360")
	})
}

// Where the top rung dies the next one leads, behind a discontinuity, and the
// programme goes on; back again, it follows, or leads where it alone has sound.
func TestLeadingRungDies(t *testing.T) {
	for _, sounds := range []bool{true, false} {
		t.Run(fmt.Sprintf("sound=%v", sounds), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStageWith(t, t.TempDir(), threeRungs())
				in, all := inspect(s), feeds()
				all[1].Audio = sounds
				for _, f := range all {
					s.connect(f)
				}
				in.playRungs(10*time.Second, all...)
				next := in.renditions["720"].last.Playlist.OpenSequence()
				in.apart = true
				all[0].Close()
				in.playRungs(10*time.Second, all[1], all[2])
				p := in.renditions["720"].last.Playlist
				if p.OpenSequence() < next+4 || p.Segments[len(p.Segments)-1].Gap {
					t.Errorf("720 stands: %d segments", p.OpenSequence()-next)
				}
				if got := s.variants(); got != "720 360 audio-0" {
					t.Errorf("without it: %s", got)
				}
				in.inStep("720", "360", "1080")
				again := feeds()[0]
				again.Start = all[1].Start
				for again.Due().Before(time.Now()) {
					again.Next()
				}
				s.connect(again)
				in.playRungs(12*time.Second, again, all[1], all[2])
				if got := s.variants(); got != "1080 720 360 audio-0" {
					t.Errorf("back: %s", got)
				}
				in.inStep("720", "360", "1080")
				for name, r := range in.renditions {
					if segments := r.last.Playlist.Segments; segments[len(segments)-1].Gap {
						t.Errorf("%s still is a gap", name)
					}
				}
			})
		})
	}
}

// A top rung that stands still without a word does not hold the others up.
func TestLeadingRungStandsStill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		all[1].Audio = true
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(10*time.Second, all...)
		in.apart = true
		in.playRungs(12*time.Second, all[1], all[2])
		p := in.renditions["720"].last.Playlist
		if p.Segments[len(p.Segments)-1].Gap || p.Segments[len(p.Segments)-2].Gap {
			t.Error("720 is a gap")
		}
		in.inStep("720", "360")
	})
}

// The same where only its picture stands, and its sound goes on.
func TestLeadingPictureStandsStill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		for _, f := range all {
			f.Audio = true
			s.connect(f)
		}
		in.playRungs(10*time.Second, all...)
		in.apart = true
		all[0].drop = func(u origin.Unit) bool { return u.Track == 0 }
		in.playRungs(12*time.Second, all...)
		if !in.whole(2, "720", "360") || s.variants() != "720 360 audio-0" {
			t.Errorf("variants: %s", s.variants())
		}
		all[0].drop = nil
		in.playRungs(12*time.Second, all...)
		if !in.whole(2, "1080", "720", "360") || s.variants() != "1080 720 360 audio-0" {
			t.Errorf("back: %s, %+v", s.variants(), s.Rungs())
		}
		in.inStep("720", "360", "1080")
	})
}

// Where all stand still and go on, the one that has the sound leads in the end.
func TestAllRungsStandStill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(10*time.Second, all...)
		in.apart = true
		for _, f := range all {
			f.drop = func(origin.Unit) bool { return true }
		}
		in.playRungs(5*time.Second, all...)
		for _, f := range all {
			f.drop = nil
		}
		in.playRungs(12*time.Second, all[2], all[1], all[0])
		for name, r := range in.renditions {
			if segments := r.last.Playlist.Segments; segments[len(segments)-1].Gap {
				t.Errorf("%s is a gap", name)
			}
		}
		in.inStep("1080", "720", "360")
	})
}

// A rung whose key pictures are elsewhere is not led to, and said so.
func TestRungOutOfStep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		all[2].GOP, in.apart = 33, true
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(24*time.Second, all...)
		in.inStep("1080", "720", "360")
		if got := s.variants(); !strings.HasPrefix(got, "1080 720") {
			t.Errorf("variants: %s", got)
		}
	})
}

// Without the top rung the others wait for it, and begin by themselves.
func TestRungsWithoutTop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		s.connect(all[1])
		s.connect(all[2])
		in.playRungs(4*time.Second, all[1], all[2])
		if s.store.Stream("theatre").Window("720").Version() != nil {
			t.Error("720 did not wait")
		}
		in.playRungs(14*time.Second, all[1], all[2])
		if got := s.variants(); got != "720 360" {
			t.Errorf("variants: %s", got)
		}
		in.inStep("720", "360", "1080")
	})
}

func TestRungRefused(t *testing.T) {
	s := newStageWith(t, t.TempDir(), threeRungs())
	if _, err := s.PublishRung("theatre", "900", feeds()[0].Tracks()); !errors.Is(err, origin.ErrUnknownStream) {
		t.Errorf("unknown: %v", err)
	}
	sound := &origintest.Source{AudioOnly: true}
	if _, err := s.PublishRung("theatre", "720", sound.Tracks()); !errors.Is(err, origin.ErrCodecUnusable) {
		t.Errorf("sound alone: %v", err)
	}
	for _, rungs := range [][]string{{"backup"}, {"a", "a"}, {"A"}, {"audio-0"}, make([]string, 9)} {
		_, err := origin.New(origin.Config{
			Dir: t.TempDir(), AuthorityKey: authority, Store: relay.NewStore(),
			Streams: []origin.StreamConfig{{Name: "theatre", PublishKey: "k", Rungs: rungs}},
		})
		if err == nil || !strings.Contains(err.Error(), "rungs") {
			t.Errorf("%q: %v", rungs, err)
		}
	}
}

// A restarted origin goes on with the lists of all rungs, also of one that was
// never there.
func TestRungsAreRestored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		config := threeRungs()
		config.OnLoss = origin.StandOnLoss
		s := newStageWith(t, dir, config)
		in, all := inspect(s), feeds()[:2]
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(15*time.Second, all...)
		s.look()
		again := revive(t, crash(t, dir), config)
		again.look()
		checkGoesOn(t, s, again)
		if got := again.variants(); got != "1080 720 audio-0" {
			t.Errorf("variants: %s", got)
		}
		if c := catalogueOf(t, again); strings.Join(c.Streams[0].Renditions, " ") != "1080 720 360 audio-0" {
			t.Errorf("%+v", c.Streams[0])
		}
		in, all = inspect(again), feeds()
		in.slack = 200 * time.Millisecond // of the segment that was open
		for _, f := range all {
			again.connect(f)
		}
		in.playRungs(15*time.Second, all...)
		in.inStep("1080", "720", "360")
		if got := again.variants(); got != "1080 720 360 audio-0" {
			t.Errorf("after: %s", got)
		}
	})
}

// Another encoder takes the top rung over from a living one, at any moment and
// while the other rungs' last pictures have not come: their segments end with
// that of the lead, and no part of them is too short.
func TestLivingTopRungIsReplaced(t *testing.T) {
	for _, late := range []time.Duration{0, 40 * time.Millisecond, 80 * time.Millisecond, 120 * time.Millisecond} {
		for phase := range 5 { // pictures in a part
			t.Run(fmt.Sprintf("%v late, picture %d", late, phase), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newStageWith(t, t.TempDir(), threeRungs())
					in, all := inspect(s), feeds()
					in.apart = true
					all[1].late, all[2].late = late, late/2
					for _, f := range all {
						s.connect(f)
					}
					in.playRungs(5*time.Second+time.Duration(phase)*40*time.Millisecond, all...)
					again := feeds()[0]
					again.Start = all[0].Start
					for again.Due().Before(time.Now()) {
						again.Next()
					}
					s.connect(again)
					in.playRungs(6*time.Second, again, all[1], all[2])
					if !in.whole(2, "1080", "720", "360") {
						t.Errorf("variants: %s", s.variants())
					}
				})
			})
		}
	}
}
