package origin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// golden compares with a file; SURGECAST_GOLDEN=write makes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("SURGECAST_GOLDEN") == "write" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestGoldenPlaylists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 30, GOP: 60, Audio: true, PictureBytes: 2000}
		p := s.publish(source)
		s.play(p, source, 5100*time.Millisecond)
		golden(t, "first.m3u8", string(s.versions[0].Text))
		for i, v := range s.versions {
			if len(v.Playlist.Segments) == 1 {
				// One piece of news: the last part, the segment and the next hint.
				golden(t, "before-close.m3u8", string(s.versions[i-1].Text))
				golden(t, "close.m3u8", string(v.Text))
				break
			}
		}
		golden(t, "index.m3u8", string(s.store.Stream("theatre").Index()))

		p.Close()
		s.look()
		golden(t, "closed.m3u8", string(s.versions[len(s.versions)-1].Text))
		time.Sleep(3 * time.Second)
		source = &origintest.Source{FPS: 30, GOP: 60, Audio: true, Width: 128}
		s.play(s.publish(source), source, 2500*time.Millisecond)
		golden(t, "reconnect.m3u8", string(s.versions[len(s.versions)-1].Text))
	})
}

func TestEachFrameRateInLists(t *testing.T) {
	for _, fps := range []float64{15, 20, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60} {
		t.Run(fmt.Sprint(fps), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, t.TempDir())
				source := &origintest.Source{FPS: fps, GOP: int(2*fps + 0.5), Audio: true}
				s.play(s.publish(source), source, 30*time.Second)
				checkLists(t, s)
				for msn, segment := range s.segments() {
					if segment.Duration < 1990*time.Millisecond || segment.Duration > 2010*time.Millisecond || !segment.Parts[0].Independent {
						t.Errorf("segment %d of %v, want one of each key frame", msn, segment.Duration)
					}
				}
			})
		})
	}
}

func TestOddGOPs(t *testing.T) {
	for name, source := range map[string]*origintest.Source{
		"2.002 s":            {FPS: 29.97, GOP: 60},
		"10 s":               {FPS: 25, GOP: 250, Audio: true},
		"one key frame":      {FPS: 23.976, GOP: -1, Audio: true},
		"each key":           {FPS: 50, GOP: 1},
		"sound alone":        {AudioOnly: true},
		"shorter than parts": {FPS: 30, GOP: 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStage(t, t.TempDir())
				s.play(s.publish(source), source, 40*time.Second)
				checkLists(t, s)
			})
		})
	}
}

// checkLists holds all lists of a stage to the rules of HLS, one after the
// other: S3, S4, S6-S8, S13, L4-L8.
func checkLists(t *testing.T, s *stage) {
	t.Helper()
	names := map[uint64]string{}
	for i, v := range s.versions {
		p := v.Playlist
		before := ""
		if i > 0 {
			before = string(s.versions[i-1].Text)
		}
		for _, problem := range hlscheck.Check(before, string(v.Text)) {
			t.Errorf("version %d: %s", i, problem)
		}
		if p.Hint.Number != p.OpenSequence() || p.Hint.Part != len(p.Open.Parts) {
			t.Fatalf("version %d: hint %v", i, p.Hint)
		}
		if i > 0 {
			q := s.versions[i-1].Playlist
			// The hint was kept: the part that it named came next.
			if segment, ok := at(p, q.Hint.Number); !ok || len(segment.Parts) <= q.Hint.Part || segment.Parts[q.Hint.Part].Name != q.Hint {
				t.Fatalf("version %d: the hint %v was not kept", i, q.Hint)
			}
		}
		if p.OpenSequence() > uint64(time.Now().Unix()) {
			t.Fatalf("segment %d is ahead of the clock", p.OpenSequence())
		}
		for j, segment := range p.Segments {
			msn := p.MediaSequence + uint64(j)
			if was, ok := names[msn]; ok && was != segment.Name.String() {
				t.Fatalf("segment %d has two names", msn)
			}
			names[msn] = segment.Name.String()
		}
		checkParts(t, p)
	}
	for msn, segment := range s.segments() {
		checkSegment(t, s, msn, segment)
	}
}

// checkParts tells whether the parts of a list stand where they belong: at the
// end, in the last three target durations.
func checkParts(t *testing.T, p *relay.Playlist) {
	t.Helper()
	var after time.Duration
	for _, part := range p.Open.Parts {
		after += part.Duration
	}
	for i := len(p.Segments) - 1; i >= 0; i-- {
		if has := len(p.Segments[i].Parts) > 0; has != (after < 6*time.Second) {
			t.Fatalf("segment %d, %v from the end: has parts: %v", i, after, has)
		}
		after += p.Segments[i].Duration
	}
}

func at(p *relay.Playlist, msn uint64) (relay.Segment, bool) {
	switch {
	case msn == p.OpenSequence():
		return p.Open, true
	case msn < p.MediaSequence || msn > p.OpenSequence():
		return relay.Segment{}, false
	}
	return p.Segments[msn-p.MediaSequence], true
}

func checkSegment(t *testing.T, s *stage, msn uint64, segment relay.Segment) {
	t.Helper()
	var total time.Duration
	var bytes []byte
	for i, part := range segment.Parts {
		total += part.Duration
		if part.Duration > 225*time.Millisecond {
			t.Errorf("part %v of %v", part.Name, part.Duration)
		}
		if i < len(segment.Parts)-1 && part.Duration < 225*time.Millisecond*85/100 {
			t.Errorf("part %v of %v, under 85 %%", part.Name, part.Duration)
		}
		bytes = append(bytes, s.objects[part.Name].Body...)
	}
	if segment.Duration != total || segment.Duration.Round(time.Second) > 2*time.Second {
		t.Errorf("segment %d of %v, its parts are %v", msn, segment.Duration, total)
	}
	if string(bytes) != string(s.objects[segment.Name].Body) {
		t.Errorf("segment %d is not its parts", msn)
	}
	if segment.ProgramDateTime.IsZero() {
		t.Errorf("segment %d has no date", msn)
	}
}

func TestLiveWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 25, GOP: 50}
		s.play(s.publish(source), source, 80*time.Second)
		p := s.newest()
		if len(p.Segments) != 30 || p.DiscontinuitySequence != 0 {
			t.Errorf("%d segments of 2 s, discontinuity sequence %d; want 60 s", len(p.Segments), p.DiscontinuitySequence)
		}
	})
}

func TestReconnects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		for i := range 5 {
			source := &origintest.Source{FPS: 25, Audio: true}
			p := s.publish(source)
			s.play(p, source, time.Duration(4300+i*100)*time.Millisecond)
			p.Close()
			time.Sleep(200 * time.Millisecond)
		}
		p := s.newest()
		var breaks []int
		for i, segment := range p.Segments {
			if segment.Discontinuity {
				breaks = append(breaks, i)
			}
			if segment.Map != p.Segments[0].Map {
				t.Errorf("segment %d: another init segment for the same parameters", i)
			}
		}
		if fmt.Sprint(breaks) != "[5 10 15 20]" {
			t.Errorf("discontinuities at segments %v", breaks)
		}
		source := &origintest.Source{FPS: 25, Audio: true}
		s.play(s.publish(source), source, 59*time.Second)
		if p := s.newest(); p.DiscontinuitySequence != 4 || p.Segments[0].Discontinuity {
			t.Errorf("discontinuity sequence %d with the first segment's discontinuity %v; want 4 gone",
				p.DiscontinuitySequence, p.Segments[0].Discontinuity)
		}
		checkDates(t, s)
	})
}

// checkDates tells whether dates go on with the durations, within the slew.
func checkDates(t *testing.T, s *stage) {
	t.Helper()
	all := s.segments()
	for msn, segment := range all {
		before, ok := all[msn-1]
		if !ok || segment.Discontinuity {
			continue
		}
		jump := segment.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration))
		// Lists say milliseconds.
		if jump.Abs() > 2*time.Millisecond {
			t.Errorf("segment %d: the date jumps by %v", msn, jump)
		}
	}
}

func TestDatesFollowTheWallClock(t *testing.T) {
	for _, drift := range []time.Duration{-400 * time.Microsecond, 0, 400 * time.Microsecond} {
		bubble(t, func(t *testing.T) {
			s := newStage(t, t.TempDir())
			source := &origintest.Source{FPS: 23.976, GOP: 48, WallDrift: drift}
			p := s.publish(source)
			s.play(p, source, 100*time.Second)
			checkDates(t, s)
			list := s.newest()
			first := list.MediaSequence - uint64(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
			media := time.Duration(first) * 2002 * time.Millisecond
			want := source.Start.Add(media + time.Duration(media.Seconds()*float64(drift)))
			if late := list.Segments[0].ProgramDateTime.Sub(want); late.Abs() > 2*time.Millisecond {
				t.Errorf("drift %v/s: after %v the date is %v off", drift, media, late)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		source := &origintest.Source{FPS: 25, Audio: true}
		s := newStage(t, dir)
		s.play(s.publish(source), source, 20*time.Second)
		s.stop()
		before, epoch := s.newest(), s.Epoch()

		again := newStage(t, dir)
		source = &origintest.Source{FPS: 25, Audio: true}
		again.play(again.publish(source), source, 5*time.Second)
		after := again.newest()
		if again.Epoch() != epoch+1 {
			t.Errorf("epoch %v after %v", again.Epoch(), epoch)
		}
		if after.MediaSequence != before.OpenSequence()+10 {
			t.Errorf("goes on with segment %d after %d", after.MediaSequence, before.OpenSequence())
		}
		if !after.Segments[0].Discontinuity || after.Segments[0].Map.Number != before.Segments[0].Map.Number+1 {
			t.Errorf("first segment: %+v", after.Segments[0])
		}
		again.stop()

		// After a pause, the clock leads.
		time.Sleep(time.Hour)
		third := newStage(t, dir)
		now := time.Now().Unix()
		source = &origintest.Source{FPS: 25}
		third.play(third.publish(source), source, 3*time.Second)
		if p := third.newest(); p.MediaSequence != uint64(now) || p.DiscontinuitySequence != 1 {
			t.Errorf("begins at segment %d, discontinuity sequence %d; want %d and 1", p.MediaSequence, p.DiscontinuitySequence, now)
		}
	})
}

// A crash leaves the journal as it was last saved.
func TestCrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, copied := t.TempDir(), t.TempDir()
		source := &origintest.Source{FPS: 25, GOP: 50}
		s := newStage(t, dir)
		p := s.publish(source)
		s.play(p, source, 500*time.Millisecond)
		for range 5 {
			synctest.Wait() // while it is being written, a copy would miss files
			if err := os.CopyFS(filepath.Join(copied, fmt.Sprint(len(s.versions))), os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			crashed := newStage(t, filepath.Join(copied, fmt.Sprint(len(s.versions))))
			other := &origintest.Source{FPS: 25}
			crashed.play(crashed.publish(other), other, 300*time.Millisecond)
			if now, before := crashed.newest().MediaSequence, s.newest().OpenSequence(); now <= before || crashed.Epoch() <= s.Epoch() {
				t.Errorf("after a crash in segment %d of epoch %v, segment %d of epoch %v", before, s.Epoch(), now, crashed.Epoch())
			}
			s.play(p, source, 1700*time.Millisecond)
		}
	})
}

func TestTimestampsJump(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 25, Audio: true}
		p := s.publish(source)
		write := func(shift time.Duration, n int) {
			for range n {
				for _, u := range source.Next() {
					rate := []int64{90000, 48000}[u.Track]
					u.PTS += int64(shift) * rate / 1e9
					u.DTS += int64(shift) * rate / 1e9
					if err := p.Write(u); err != nil {
						t.Fatal(err)
					}
					s.look()
				}
			}
		}
		write(0, 60)
		write(time.Hour, 60) // from the middle of a GOP on
		write(0, 60)
		p.Close()
		s.look()
		var got strings.Builder
		for _, segment := range s.newest().Segments {
			fmt.Fprint(&got, segment.Duration, " ", segment.Discontinuity, ", ")
		}
		// Pictures 60 to 74 and 120 to 124 have no key frame before them.
		if want := "1s false, 1s false, 400ms false, 1s true, 800ms false, 1s true, 1s false, 200ms false, "; got.String() != want {
			t.Errorf("got  %v\nwant %v", got.String(), want)
		}
		checkMediaTime(t, s)
	})
}
