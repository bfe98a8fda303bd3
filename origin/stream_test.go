package origin_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

func TestNewestPublisherWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		first := &origintest.Source{}
		old := s.publish(first)
		s.play(old, first, 1500*time.Millisecond)
		second := &origintest.Source{}
		p := s.publish(second)
		select {
		case <-old.Done():
		default:
			t.Fatal("the older publication is not done")
		}
		if err := old.Write(first.Next()[0]); !errors.Is(err, origin.ErrReplaced) {
			t.Errorf("write to the older publication: %v", err)
		}
		old.Close() // is late and must not end the newer one
		s.play(p, second, 3*time.Second)
		list := s.newest()
		if len(list.Segments) != 4 || !list.Segments[2].Discontinuity {
			t.Errorf("%d segments", len(list.Segments))
		}
		p.Close()
		p.Close()
		if err := p.Write(second.Next()[0]); !errors.Is(err, origin.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
	})
}

func TestTrackSetIsForGood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		if _, err := s.Publish("cinema", nil); !errors.Is(err, origin.ErrUnknownStream) {
			t.Errorf("unknown stream: %v", err)
		}
		if _, err := s.Publish("theatre", []origin.Track{{Codec: &codecs.VP9{}, ClockRate: 90000}}); !errors.Is(err, origin.ErrCodecUnusable) {
			t.Errorf("VP9: %v", err)
		}
		source := &origintest.Source{}
		p := s.publish(source)
		s.play(p, source, 2*time.Second)

		other := []origin.Track{{Codec: &codecs.H265{}, ClockRate: 90000}}
		if _, err := s.Publish("theatre", other); !errors.Is(err, origin.ErrCodecChanged) || !strings.Contains(err.Error(), "H.265") {
			t.Errorf("H.265 after H.264: %v", err)
		}
		if _, err := s.Publish("theatre", (&origintest.Source{AudioOnly: true}).Tracks()); !errors.Is(err, origin.ErrCodecChanged) {
			t.Errorf("sound alone after video: %v", err)
		}
		// The one that plays was not disturbed by those that were refused.
		s.play(p, source, time.Second)

		withSound := &origintest.Source{Audio: true}
		s.play(s.publish(withSound), withSound, 2*time.Second)
		for name, o := range s.objects {
			if name.Kind != relay.PartMedia {
				continue
			}
			var parts fmp4.Parts
			if err := parts.Unmarshal(o.Body); err != nil || len(parts[0].Tracks) != 1 {
				t.Fatalf("%v: %d tracks (%v), want no sound where none was declared", name, len(parts[0].Tracks), err)
			}
		}
		if list := s.newest(); list.Segments[0].Map != list.Open.Map {
			t.Error("undeclared sound made another init segment")
		}
	})
}

func TestDeclaredSoundStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{Audio: true}
		p := s.publish(source)
		s.play(p, source, 2*time.Second)
		silent := &origintest.Source{}
		s.play(s.publish(silent), silent, 2*time.Second)
		if list := s.newest(); list.Segments[0].Map != list.Open.Map {
			t.Error("missing sound made another init segment")
		}
	})
}

func TestNewParametersMakeNewInit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		small := &origintest.Source{}
		p := s.publish(small)
		s.play(p, small, 3*time.Second)
		large := &origintest.Source{Width: 128, Height: 96}
		units := large.Next()
		for _, u := range units { // the same publication, at another size
			u.PTS, u.DTS = u.PTS+75*3600, u.DTS+75*3600
			if err := p.Write(u); err != nil {
				t.Fatal(err)
			}
		}
		p.Close()
		list := s.newest()
		last := list.Segments[len(list.Segments)-1]
		if !last.Discontinuity || last.Map.Number != list.Segments[0].Map.Number+1 {
			t.Errorf("last segment: %+v", last)
		}
		var init fmp4.Init
		if err := init.Unmarshal(strings.NewReader(string(s.objects[last.Map].Body))); err != nil {
			t.Fatal(err)
		}
		if got := string(init.Tracks[0].Codec.(*codecs.H264).SPS); got != string(units[0].Payload[0]) {
			t.Error("the init segment does not have the new SPS")
		}
		if index := string(s.store.Stream("theatre").Index()); !strings.Contains(index, "RESOLUTION=128x96") {
			t.Error(index)
		}
	})
}

// With B-frames the sound of the last pictures comes behind the first picture of
// another size, and before that is shown: it is kept, to the frame.
func TestSoundGoesOnWithNewParameters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		sources := []*origintest.Source{{Audio: true}, {Audio: true, Width: 128, Height: 96}}
		p := s.publish(sources[0])
		write := func(units []origin.Unit) {
			for _, u := range units {
				if u.Track == 0 {
					u.PTS += 2 * 3600 // shown two pictures later
				}
				if err := p.Write(u); err != nil {
					t.Fatal(err)
				}
				s.look()
			}
		}
		sent := 0
		for n := range 150 {
			time.Sleep(40 * time.Millisecond)
			for i, source := range sources {
				units := source.Next()
				if i == n/75 {
					write(units)
					sent += len(units) - 1
				}
			}
		}
		p.Close()
		s.look()
		list, heard := s.newest(), 0
		if n := list.Segments[len(list.Segments)-1].Map.Number; n != list.Segments[0].Map.Number+1 {
			t.Fatalf("init segment %d: the size has not changed", n)
		}
		end := map[int]float64{}
		for _, name := range s.parts() {
			var parts fmp4.Parts
			if err := parts.Unmarshal(s.objects[name].Body); err != nil {
				t.Fatal(err)
			}
			for _, track := range parts[0].Tracks {
				rate := map[int]float64{1: 90000, 2: 48000}[track.ID]
				at := float64(track.BaseTime) / rate
				if hole := at - end[track.ID]; end[track.ID] > 0 && (hole < -0.001 || hole > 0.022) {
					t.Errorf("%v: track %d goes on %.3f s after what came before", name, track.ID, hole)
				}
				for _, sample := range track.Samples {
					at += float64(sample.Duration) / rate
				}
				end[track.ID] = at
				if track.ID == 2 {
					heard += len(track.Samples)
				}
			}
		}
		// What is heard before the first picture is shown, in all, is left out.
		if before := 4; heard < sent-before-1 {
			t.Errorf("of %d frames of sound %d are there", sent, heard)
		}
	})
}

func TestShutdownSeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{}
		p := s.publish(source)
		s.play(p, source, 1700*time.Millisecond)
		s.stop()
		<-p.Done()
		list := s.newest()
		if len(list.Open.Parts) != 0 || list.Segments[1].Duration != 680*time.Millisecond {
			t.Errorf("the open segment was not sealed with all 42 pictures: %+v", list.Segments)
		}
		if _, err := s.Publish("theatre", source.Tracks()); !errors.Is(err, origin.ErrClosed) {
			t.Errorf("publish after the end: %v", err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := func() origin.Config {
		return origin.Config{Dir: t.TempDir(), AuthorityKey: authority, Store: relay.NewStore()}
	}
	for want, streams := range map[string][]origin.StreamConfig{
		"no publish key": {{Name: "theatre"}},
		"twice":          {{Name: "theatre", PublishKey: "a"}, {Name: "theatre", PublishKey: "b"}},
		"reserved":       {{Name: "pool", PublishKey: "a"}},
		"on loss":        {{Name: "theatre", PublishKey: "a", OnLoss: "panic"}},
		"two keys":       {{Name: "theatre", PublishKey: "a", Broadcasters: map[string]string{"van": "a"}}},
		"same key":       {{Name: "theatre", PublishKey: "a", SameKey: "oldest"}},
		"part target":    {{Name: "theatre", PublishKey: "a", Constants: relay.ConstantsFor(2*time.Second, time.Millisecond)}},
	} {
		config := good()
		config.Streams = streams
		if _, err := origin.New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	config := good()
	config.AuthorityKey = nil
	if _, err := origin.New(config); err == nil {
		t.Error("no authority key, no error")
	}
}
