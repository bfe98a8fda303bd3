package origin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// revive starts an origin on what another one left in dir, as a node does.
func revive(t testing.TB, dir string, config origin.StreamConfig) *stage {
	t.Helper()
	return newStageAfter(t, dir, config, func(o *origin.Origin) {
		if err := o.Restore(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	})
}

// crash returns the state of a stage's origin as it is on disk at this moment.
func crash(t testing.TB, dir string) (copied string) {
	t.Helper()
	time.Sleep(20 * time.Millisecond) // so that the journals are behind by nothing; they let viewers go first
	synctest.Wait()
	copied = t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// checkGoesOn holds the lists of a life to those of the one before: it is one
// list, which grew.
func checkGoesOn(t testing.TB, before, after *stage) {
	t.Helper()
	last := before.versions[len(before.versions)-1]
	first := after.versions[0]
	for _, problem := range hlscheck.Check(string(last.Text), string(first.Text)) {
		// The part that was hinted died with the one who would have made it.
		if !strings.Contains(problem, "without the hinted") {
			t.Error(problem)
		}
	}
	p, q := last.Playlist, first.Playlist
	sealed := uint64(0)
	if len(p.Open.Parts) > 0 {
		sealed = 1
	}
	if q.OpenSequence() != p.OpenSequence()+sealed || q.Hint.Epoch != after.Epoch() {
		t.Errorf("the list goes on with segment %d after %d, hint %v", q.OpenSequence(), p.OpenSequence(), q.Hint)
	}
	for _, name := range before.objectsListed() {
		o, err := after.window.Media(t.Context(), name)
		if err != nil || string(o.Body) != string(before.objects[name].Body) {
			t.Errorf("%v is not what it was: %v", name, err)
		}
	}
}

// checkEach holds all lists of a stage to the rules of HLS.
func (s *stage) checkEach() {
	s.Helper()
	before := ""
	for i, v := range s.versions {
		for _, problem := range hlscheck.Check(before, string(v.Text)) {
			s.Errorf("version %d: %s", i, problem)
		}
		before = string(v.Text)
	}
}

// objectsListed returns the segments of the newest list.
func (s *stage) objectsListed() (names []relay.MediaName) {
	for _, segment := range s.newest().Segments {
		if !segment.Gap {
			names = append(names, segment.Name, segment.Map)
		}
	}
	return names
}

// still is a stream whose lists stand while nobody publishes.
var still = origin.StreamConfig{OnLoss: origin.StandOnLoss}

// The origin is killed at any moment, and goes on with the same list: what was
// open is closed, and what comes next stands behind a discontinuity.
func TestRestore(t *testing.T) {
	for name, source := range map[string]*origintest.Source{
		"muxed":       {FPS: 25, Audio: true},
		"sound alone": {AudioOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				s := newStageWith(t, dir, still)
				p := s.publish(source)
				s.play(p, source, 12*time.Second)
				for range 4 {
					s.play(p, source, 350*time.Millisecond)
					again := revive(t, crash(t, dir), still)
					again.look()
					checkGoesOn(t, s, again)
					if again.store.Stream("theatre").Index() == nil {
						t.Error("no multivariant playlist")
					}
					other := *source
					next := origintest.Source{FPS: other.FPS, Audio: other.Audio, AudioOnly: other.AudioOnly}
					again.play(again.publish(&next), &next, 6*time.Second)
					again.checkEach()
					checkSeam(t, s, again)
					again.stop()
				}
			})
		})
	}
}

// checkSeam: media time and dates go on beyond those of the life before.
func checkSeam(t testing.TB, before, after *stage) {
	t.Helper()
	old, list := before.newest(), after.newest()
	date, seam := time.Time{}, old.OpenSequence()
	if len(old.Open.Parts) > 0 {
		seam++
	}
	for _, s := range list.Segments {
		if s.ProgramDateTime.Before(date) {
			t.Errorf("segment %v is dated %v, before %v", s.Name, s.ProgramDateTime, date)
		}
		date = s.ProgramDateTime.Add(s.Duration - time.Millisecond)
		if s.Discontinuity != (s.Name.Number == seam) {
			t.Errorf("segment %v: discontinuity %v", s.Name, s.Discontinuity)
		}
	}
	if list.DiscontinuitySequence != old.DiscontinuitySequence {
		t.Errorf("discontinuity sequence %d after %d", list.DiscontinuitySequence, old.DiscontinuitySequence)
	}
}

// Sound in renditions of its own is brought to where the picture is.
func TestRestoreSounds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		config := origin.StreamConfig{Audio: origin.AudioSeparate, OnLoss: origin.StandOnLoss}
		source := &origintest.Source{FPS: 25, Audio: true}
		s := newStageWith(t, dir, config)
		p := s.publish(source)
		s.play(p, source, 12*time.Second)
		for range 5 {
			s.play(p, source, 170*time.Millisecond)
			again := revive(t, crash(t, dir), config)
			again.look()
			checkGoesOn(t, s, again)
			main, sound := again.newest(), again.store.Stream("theatre").Window("audio-0").Version().Playlist
			if main.OpenSequence() != sound.OpenSequence() {
				t.Errorf("picture goes on with segment %d, sound with %d", main.OpenSequence(), sound.OpenSequence())
			}
			next := &origintest.Source{FPS: 25, Audio: true}
			again.play(again.publish(next), next, 6*time.Second)
			main, sound = again.newest(), again.store.Stream("theatre").Window("audio-0").Version().Playlist
			if discontinuities(main) != discontinuities(sound) || main.OpenSequence()-sound.OpenSequence() > 1 {
				t.Errorf("picture and sound part: %d and %d, %d and %d", discontinuities(main), discontinuities(sound), main.OpenSequence(), sound.OpenSequence())
			}
			again.stop()
		}
	})
}

// discontinuities is the discontinuity sequence number of the newest segment.
func discontinuities(p *relay.Playlist) uint64 {
	n := p.DiscontinuitySequence
	for _, s := range p.Segments {
		if s.Discontinuity {
			n++
		}
	}
	return n
}

// Until an encoder comes, the programme goes on with gaps; and a start finds those
// of the one before.
func TestRestoreIntoGaps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		config := origin.StreamConfig{Audio: origin.AudioSeparate}
		source := &origintest.Source{FPS: 25, Audio: true}
		s := newStageWith(t, dir, config)
		s.play(s.publish(source), source, 12*time.Second)
		for range 2 {
			dir = crash(t, dir)
			s.look()
			again := revive(t, dir, config)
			again.look()
			checkGoesOn(t, s, again)
			s.stop()
			for range 50 {
				again.look()
				time.Sleep(100 * time.Millisecond)
			}
			again.checkEach()
			if p := again.newest(); !p.Segments[len(p.Segments)-1].Gap {
				t.Error("no gaps while nobody publishes")
			}
			s = again
		}
		source = &origintest.Source{FPS: 25, Audio: true}
		s.play(s.publish(source), source, 4*time.Second)
		s.checkEach()
		if p := s.newest(); p.Segments[len(p.Segments)-1].Gap || discontinuities(p) == 0 {
			t.Error("the programme does not go on")
		}
	})
}

// The encoder is away for longer than a list is long, so that it has nothing but
// gaps: it is still the list that players wait with.
func TestRestoreAListOfGaps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		source := &origintest.Source{FPS: 25, Audio: true}
		s := newStage(t, dir)
		p := s.publish(source)
		s.play(p, source, 12*time.Second)
		p.Close()
		time.Sleep(100 * time.Second)
		s.look()
		again := revive(t, crash(t, dir), origin.StreamConfig{})
		again.look()
		checkGoesOn(t, s, again)
		source = &origintest.Source{FPS: 25, Audio: true}
		again.play(again.publish(source), source, 6*time.Second)
		again.checkEach()
		list := again.newest()
		if s := list.Segments[len(list.Segments)-1]; s.Gap || !list.Segments[0].Gap {
			t.Error("the programme does not go on behind the gaps")
		}
	})
}

// What a life is not to go on with: an old list, one of other constants, one
// that has ended. Numbers go on beyond it all the same.
func TestNotRestored(t *testing.T) {
	for name, c := range map[string]struct {
		config origin.StreamConfig
		pause  time.Duration
		end    bool
	}{
		"too long ago":    {pause: 2 * time.Minute},
		"other constants": {config: origin.StreamConfig{Constants: relay.ConstantsFor(4*time.Second, 225*time.Millisecond)}},
		"ended":           {end: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				source := &origintest.Source{FPS: 25, Audio: true}
				s := newStage(t, dir)
				s.play(s.publish(source), source, 12*time.Second)
				if c.end {
					if err := s.End("theatre"); err != nil {
						t.Fatal(err)
					}
				}
				s.stop()
				before := s.newest()
				time.Sleep(c.pause)
				again := revive(t, dir, c.config)
				if again.window.Version() != nil {
					t.Fatal("it was restored")
				}
				// Another codec is no matter then.
				other := &origintest.Source{AudioOnly: true}
				again.play(again.publish(other), other, 6*time.Second)
				if p := again.newest(); p.MediaSequence < before.OpenSequence()+10 || p.Epoch() <= before.Epoch() || !p.Segments[0].Discontinuity {
					t.Errorf("goes on with segment %d after %d", p.MediaSequence, before.OpenSequence())
				}
			})
		})
	}
}

// While the list of before is still shown, players can't be given another codec.
func TestRestoredCodec(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		source := &origintest.Source{FPS: 25, Audio: true}
		s := newStage(t, dir)
		s.play(s.publish(source), source, 12*time.Second)
		s.stop()
		again := revive(t, dir, origin.StreamConfig{})
		if _, err := again.Publish("theatre", (&origintest.Source{AudioOnly: true}).Tracks()); err == nil {
			t.Error("sound alone is taken where pictures are listed")
		} else {
			t.Log(err)
		}
	})
}

// The clock is an hour back when the origin starts again, with the media and
// without: nothing goes back.
func TestRestoreAfterTheClockWasSetBack(t *testing.T) {
	dir := t.TempDir()
	var before *stage
	bubble(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		source := &origintest.Source{FPS: 25, Audio: true}
		before = newStageWith(t, dir, still)
		before.play(before.publish(source), source, 12300*time.Millisecond)
		before.look()
		before.stop()
	})
	bare := t.TempDir()
	journal, err := os.ReadFile(filepath.Join(dir, "journal.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bare, "journal.json"), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) { // begins where the other one did
		source := &origintest.Source{FPS: 25, Audio: true}
		again := revive(t, dir, still)
		again.play(again.publish(source), source, 8*time.Second)
		again.checkEach()
		checkSeam(t, before, again)
	})
	bubble(t, func(t *testing.T) {
		source := &origintest.Source{FPS: 25, Audio: true}
		again := revive(t, bare, origin.StreamConfig{})
		again.play(again.publish(source), source, 3*time.Second)
		last := before.versions[len(before.versions)-1].Playlist
		if p := again.newest(); p.MediaSequence < last.OpenSequence()+10 || p.Epoch() <= last.Epoch() || discontinuities(p) <= discontinuities(last) {
			t.Errorf("goes on with segment %d of epoch %v after %d of %v", p.MediaSequence, p.Epoch(), last.OpenSequence(), last.Epoch())
		}
	})
}

// Rungs, and the sound beside them, go on in step; one that was away is a gap.
func TestRestoreRungs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		config := threeRungs()
		config.OnLoss = origin.StandOnLoss
		s := newStageWith(t, dir, config)
		in, all := inspect(s), feeds()
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(14*time.Second, all...)
		before := map[string]*relay.Playlist{}
		for name, r := range in.renditions {
			before[name] = r.window.Version().Playlist
		}
		variants := s.variants()
		again := revive(t, crash(t, dir), config)
		s.stop()
		if got := again.variants(); got != variants {
			t.Errorf("variants: %s after %s", got, variants)
		}
		open := again.store.Stream("theatre").Window("1080").Version().Playlist.OpenSequence()
		for name, was := range before {
			p := again.store.Stream("theatre").Window(name).Version().Playlist
			if p.OpenSequence() != open || p.OpenSequence() < was.OpenSequence() || p.MediaSequence != was.MediaSequence {
				t.Errorf("%s goes on with segment %d after %d, from %d after %d", name, p.OpenSequence(), was.OpenSequence(), p.MediaSequence, was.MediaSequence)
			}
		}
		all = feeds()[:2]
		for _, f := range all {
			again.connect(f)
		}
		late := inspect(again)
		late.playRungs(8*time.Second, all...)
		whole := late.inStep("1080", "720", "360")
		if p := late.renditions["360"].last.Playlist; !p.Segments[len(p.Segments)-1].Gap || whole["720"] < whole["360"]+2 {
			t.Errorf("whole segments: %v", whole)
		}
	})
}
