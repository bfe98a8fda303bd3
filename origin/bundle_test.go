package origin

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/relay"
)

// bundleStage opens fake publications by rung.
type bundleStage struct {
	open map[string]*fakePublication
	err  error // of the next to open
}

func (s *bundleStage) publish(rung string, tracks []Track) (publication, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.open[rung] = &fakePublication{branch: rung, tracks: tracks, units: make(chan Unit, 100), closed: make(chan struct{}), done: make(chan struct{})}
	return s.open[rung], nil
}

// came are the tracks of the units that a rung has got.
func (s *bundleStage) came(rung string) (tracks []int) {
	for p := s.open[rung]; len(p.units) > 0; {
		tracks = append(tracks, (<-p.units).Track)
	}
	return tracks
}

// A bundle sends each picture where it belongs, from a key picture on that brings
// its parameters, and the sound everywhere; a refusal is logged once.
func TestBundle(t *testing.T) {
	known := Track{Codec: &codecs.H264{SPS: testSPS, PPS: testPPS}, ClockRate: videoClockRate}
	later := Track{Codec: &codecs.H264{}, ClockRate: videoClockRate, Missing: true}
	sound := Track{Codec: &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2}}, ClockRate: 48000}
	s := &bundleStage{open: map[string]*fakePublication{}}
	var log bytes.Buffer
	b, err := newBundle([]Track{known, later, known, sound}, []string{"a", "b", "c", "d"}, s.publish, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	key := [][]byte{testSPS, testPPS, {5}}
	write := func(units ...Unit) {
		t.Helper()
		for _, u := range units {
			if err := b.Write(u); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(Unit{Track: 0, Random: true, Payload: key}, Unit{Track: 1, Payload: [][]byte{{1}}}, Unit{Track: 3, Random: true, Payload: [][]byte{{9}}})
	if len(s.open) != 1 || len(s.open["a"].tracks) != 2 {
		t.Fatalf("open: %v", s.open)
	}
	write(Unit{Track: 1, Random: true, Payload: [][]byte{{5}}}) // without parameters
	s.err = errors.New("taken")
	write(Unit{Track: 1, Random: true, Payload: key}, Unit{Track: 1, Random: true, Payload: key})
	s.err = nil
	write(Unit{Track: 1, Random: true, Payload: key}, Unit{Track: 2, Random: true, Payload: key}, Unit{Track: 3, Random: true, Payload: [][]byte{{9}}})
	for rung, want := range map[string][]int{"a": {0, 1, 1}, "b": {0, 1}, "c": {0, 1}} {
		if s.open[rung] == nil {
			t.Fatalf("%s is not open", rung)
		}
		if got := s.came(rung); len(got) != len(want) || got[1] != want[1] || got[0] != want[0] {
			t.Errorf("%s: %v, want %v", rung, got, want)
		}
	}
	if c := s.open["b"].tracks[0]; c.Missing || len(c.Codec.(*codecs.H264).SPS) == 0 {
		t.Errorf("%+v", c)
	}
	if n := strings.Count(log.String(), "reason=taken"); n != 1 {
		t.Errorf("%d times in the log:\n%s", n, &log)
	}
	b.Close()
	for rung, p := range s.open {
		select {
		case <-p.closed:
		default:
			t.Errorf("%s is not closed", rung)
		}
	}
}

// A further picture does not come back once the first has been replaced.
func TestBundleIsOver(t *testing.T) {
	track := Track{Codec: &codecs.H264{SPS: testSPS, PPS: testPPS}, ClockRate: videoClockRate}
	s := &bundleStage{open: map[string]*fakePublication{}}
	b, err := newBundle([]Track{track, track}, []string{"a", "b"}, s.publish, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	close(s.open["a"].done)
	if err := b.Write(Unit{Track: 1, Random: true, Payload: [][]byte{testSPS, testPPS, {5}}}); err != nil || s.open["b"] != nil {
		t.Errorf("%v, %v", err, s.open["b"])
	}
	s.err = errors.New("refused")
	if b, err := newBundle([]Track{track, track}, []string{"a", "b"}, s.publish, slog.New(slog.DiscardHandler)); b != nil || err == nil {
		t.Errorf("%v, %v", b, err)
	}
}

// What pushes a rung comes before a feed's further picture, and that before what a
// ladder makes.
func TestClaims(t *testing.T) {
	o, err := New(Config{
		Dir: t.TempDir(), AuthorityKey: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Store: relay.NewStore(),
		Streams: []StreamConfig{{Name: "theatre", PublishKey: "k", Rungs: []string{"1080", "720"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := o.streams["theatre"]
	track := []Track{{Codec: &codecs.H264{SPS: testSPS, PPS: testPPS}, ClockRate: videoClockRate}}
	publish := func(as claim, want error) *Publication {
		t.Helper()
		p, err := s.publish("720", track, as)
		if !errors.Is(err, want) {
			t.Fatalf("claim %d: %v, want %v", as, err, want)
		}
		return p
	}
	ladder := publish(made, nil)
	first := publish(further, nil)
	publish(made, ErrTaken)
	second := publish(further, nil)
	pusher := publish(pushed, nil)
	publish(further, ErrTaken)
	publish(made, ErrTaken)
	for i, p := range []*Publication{ladder, first, second} {
		if p.err == nil || !errors.Is(p.err, ErrReplaced) {
			t.Errorf("%d: %v", i, p.err)
		}
	}
	pusher.Close()
	publish(made, nil)
}
