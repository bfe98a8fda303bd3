package origin_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// inspector holds each version of each list, and all media in it, to the rules
// while a stage plays.
type inspector struct {
	*stage
	renditions map[string]*inspected
	checked    int
	problems   int
	slack      time.Duration // that rungs' segments may differ from the lead's in length
	apart      bool          // sound is lost: the lists may be apart until that is sure
}

type inspected struct {
	window *relay.Window
	last   *relay.Version
	gaps   int
	media  hlscheck.Continuity
	init   relay.MediaName
	next   relay.MediaName // the part to be checked next
	begun  bool
}

func inspect(s *stage) *inspector {
	return &inspector{stage: s, renditions: map[string]*inspected{}}
}

// look checks what is new.
func (in *inspector) look() {
	in.Helper()
	stream, texts, news := in.store.Stream("theatre"), map[string]string{}, false
	for _, name := range stream.Renditions() {
		r := in.renditions[name]
		if r == nil {
			r = &inspected{window: stream.Window(name)}
			in.renditions[name] = r
		}
		v := r.window.Version()
		if v == nil {
			return // the set is whole from the first index on
		}
		texts[name] = string(v.Text)
		if v == r.last {
			continue
		}
		before := ""
		if r.last != nil {
			before = string(r.last.Text)
		}
		r.last, news = v, true
		in.checked++
		in.complain(name, hlscheck.Check(before, texts[name]))
		in.media(name, r)
	}
	if news && !in.apart && len(texts) > 1 && stream.Index() != nil {
		in.complain("set", hlscheck.CheckSet(texts))
	}
}

func (in *inspector) complain(where string, problems []string) {
	in.Helper()
	for _, p := range problems {
		if in.problems++; in.problems < 20 {
			in.Errorf("%v, %s: %s", time.Now().Format("04:05.000"), where, p)
		}
	}
}

// media follows the parts of a rendition.
func (in *inspector) media(name string, r *inspected) {
	in.Helper()
	p := r.last.Playlist
	for _, segment := range append(slices.Clone(p.Segments), p.Open) {
		for i, part := range segment.Parts {
			if r.begun && (part.Name.Number < r.next.Number || part.Name.Number == r.next.Number && part.Name.Part < r.next.Part) {
				continue
			}
			if segment.Discontinuity && i == 0 {
				r.media.Break()
			}
			r.begun, r.next = true, part.Name
			r.next.Part++
			if segment.Map != r.init {
				r.init = segment.Map
				in.complain(name, r.media.Init(in.body(r, segment.Map)))
			}
			if part.Gap {
				r.gaps++
				r.media.Break()
				if _, err := r.window.Media(in.Context(), part.Name); !errors.Is(err, relay.ErrNotFound) {
					in.Errorf("%v is a gap: %v", part.Name, err)
				}
				continue
			}
			in.complain(name, r.media.Media(in.body(r, part.Name)))
		}
		if segment.Name.Kind != 0 && segment.Name.Number >= r.next.Number {
			r.next = relay.MediaName{Number: segment.Name.Number + 1}
		}
	}
}

func (in *inspector) body(r *inspected, name relay.MediaName) []byte {
	in.Helper()
	o, err := r.window.Media(in.Context(), name)
	if err != nil {
		in.Fatalf("%v: %v", name, err)
	}
	return o.Body
}

// play publishes for so long, without what drop drops, and checks after each
// unit.
func (in *inspector) play(p *origin.Publication, source *origintest.Source, length time.Duration, drop func(origin.Unit) bool) {
	in.Helper()
	until := time.Now().Add(length)
	for time.Now().Before(until) {
		units := source.Next()
		time.Sleep(time.Until(source.Start.Add(time.Duration(units[0].PTS) * time.Second / time.Duration(source.Tracks()[0].ClockRate))))
		for _, u := range units {
			if drop != nil && drop(u) {
				continue
			}
			if err := p.Write(u); err != nil {
				in.Fatal(err)
			}
			synctest.Wait() // a slate publishes at the same moments, and one list at a time
			in.look()
		}
	}
}

// Ten minutes (one in ten of that, unless it is to be proved) at each frame rate, muxed and with renditions for the sound:
// reconnects, other parameters, a loss of sound, a restart of the origin.
func TestRulesHoldForTenMinutes(t *testing.T) {
	minute := 6 * time.Second
	if os.Getenv("SURGECAST_PROVE") != "" {
		minute = time.Minute
	}
	for i, fps := range []float64{15, 20, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60} {
		for sounds := range 3 {
			if i%3 != sounds {
				continue // each rate, each number of sounds, not each with each
			}
			t.Run(fmt.Sprintf("%v fps, %d sounds", fps, sounds), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T) { tenMinutes(t, fps, sounds, minute) })
			})
		}
	}
}

func tenMinutes(t *testing.T, fps float64, sounds int, minute time.Duration) {
	dir := t.TempDir()
	config := origin.StreamConfig{Audio: origin.AudioMuxed, Languages: []string{"de"}}
	if sounds > 0 {
		config.Audio = origin.AudioSeparate
	}
	source := func(width int, gop float64) *origintest.Source {
		return &origintest.Source{FPS: fps, GOP: int(gop * fps), Audio: true, Sounds: sounds, Width: width}
	}
	in := inspect(newStageWith(t, dir, config))
	one := source(64, 2)
	p := in.publish(one)
	in.play(p, one, 2*minute, nil)
	if sounds > 0 {
		lost := func(u origin.Unit) bool { return u.Track == sounds }
		in.apart = true
		in.play(p, one, 1200*time.Millisecond, lost)
		in.apart = false
		in.play(p, one, 5*time.Second, lost)
		in.apart = true
		in.play(p, one, 300*time.Millisecond, nil)
		in.apart = false
	}
	in.play(p, one, minute, nil)
	for i := range 6 {
		if i%2 == 0 {
			p.Close() // else the next one replaces it
			in.look()
			time.Sleep(time.Duration(i) * 700 * time.Millisecond)
		}
		one = source(64+i/3*64, []float64{1, 2, 10, 0.5, 3, 2}[i])
		p = in.publish(one)
		in.play(p, one, minute/3+time.Duration(1234*i)*time.Millisecond, nil)
	}
	in.stop()
	in.look()
	for name, r := range in.renditions {
		// 5 s and some, in parts of 0.2 s.
		if lost := name == fmt.Sprintf("audio-%d", sounds-1); lost != (r.gaps > 20) {
			t.Errorf("%s: %d gaps", name, r.gaps)
		}
	}

	again := inspect(newStageWith(t, dir, config))
	again.renditions = in.renditions
	for name, r := range again.renditions {
		r.window = again.store.Stream("theatre").CreateWindow(name)
		r.last, r.media, r.begun, r.init = nil, hlscheck.Continuity{}, false, relay.MediaName{}
	}
	one = source(64, 2)
	p = again.publish(one)
	again.play(p, one, minute*5, nil)
	if err := again.End("theatre"); err != nil {
		t.Fatal(err)
	}
	again.look()
	want := max(sounds, 0) + 1
	if len(again.renditions) != want || in.checked < 200*want {
		t.Errorf("%d lists of %d renditions, want %d", in.checked, len(again.renditions), want)
	}
}
