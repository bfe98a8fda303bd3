package origin

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/relay"
)

// TestJumpsInOneProgramme lets the clock of an encoder jump forward and back while
// it stays connected: each time the programme goes on with a discontinuity, with
// no gap and no hole that the clock does not have.
func TestJumpsInOneProgramme(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := relay.NewStore()
		o, err := New(Config{
			Dir: t.TempDir(), Store: store, AuthorityKey: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)),
			Streams: []StreamConfig{{Name: "theatre", PublishKey: testKey}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- o.Run(ctx) }()
		a, err := NewGate(GateConfig{Origin: o}).admit(t.Context(), knock("theatre", testKey))
		if err != nil {
			t.Fatal(err)
		}
		config := mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2}
		in, err := a.open(announcement{transport: "hand", tracks: []essence{
			newEssence(&codecs.H264{SPS: testSPS, PPS: testPPS}), newEssence(&codecs.MPEG4Audio{Config: config}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- in.run() }()
		clocks := []time.Duration{20 * time.Hour, 30 * time.Hour, time.Hour, time.Hour - 3*time.Second, 0}
		for _, clock := range clocks {
			feedFor(t, in, clock, 125)
		}
		in.end(errDisconnect)
		<-done
		list := store.Stream("theatre").Window(mainRendition).Version().Playlist
		breaks := 0
		for i, s := range list.Segments {
			if s.Discontinuity {
				breaks++
			}
			if i == 0 {
				continue
			}
			before := &list.Segments[i-1]
			if hole := s.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration)); s.Gap || hole.Abs() > 50*time.Millisecond {
				t.Errorf("segment %d: a gap: %v, %v after the one before", i, s.Gap, hole)
			}
		}
		if breaks != len(clocks)-1 {
			t.Errorf("%d discontinuities, want %d", breaks, len(clocks)-1)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// feedFor sends so many pictures and their sound in real time, the first at clock.
func feedFor(t *testing.T, in *ingest, clock time.Duration, pictures int) {
	t.Helper()
	const frame = 1024 * time.Second / 48000
	sounds := time.Duration(0)
	for n := range pictures {
		at := time.Duration(n) * 40 * time.Millisecond
		for ; sounds < at+40*time.Millisecond; sounds += frame {
			in.enqueue(timedUnit{track: 1, pts: clock + sounds, arrival: time.Now(), payload: [][]byte{{1, 2, 3}}})
		}
		picture := testP
		if n%25 == 0 {
			picture = testIDR
		}
		if !in.enqueue(timedUnit{pts: clock + at, dts: clock + at, dtsKnown: true, arrival: time.Now(), payload: [][]byte{picture}}) {
			t.Fatal("dropped")
		}
		time.Sleep(40 * time.Millisecond)
	}
}
