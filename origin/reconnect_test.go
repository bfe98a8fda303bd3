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

// testSPSLarge is 1920×1080, where testSPS is smaller.
var testSPSLarge = []byte{0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58}

// visit is one connection of an encoder.
type visit struct {
	after     time.Duration // the one before has gone
	sps       []byte
	audioRate int
	newInit   bool // other parameters than before
}

// TestReconnect lets an encoder come back again and again, with the same and
// with other parameters: it is one programme, whose numbers and dates go on,
// with a discontinuity at each return and another init segment where one is
// needed.
func TestReconnect(t *testing.T) {
	visits := []visit{
		{0, testSPS, 48000, true},
		{200 * time.Millisecond, testSPS, 48000, false},
		{200 * time.Millisecond, testSPSLarge, 48000, true},
		{5 * time.Second, testSPSLarge, 48000, false},
		{5 * time.Second, testSPS, 44100, true},
		{time.Minute, testSPS, 44100, false},
		{time.Minute, testSPSLarge, 48000, true},
		{10 * time.Minute, testSPSLarge, 48000, false},
		{10 * time.Minute, testSPS, 48000, true},
	}
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
		gate := NewGate(GateConfig{Origin: o})
		window := store.Stream("theatre").Window(mainRendition)
		var last *relay.Playlist
		for i, v := range visits {
			time.Sleep(v.after)
			v.publish(t, gate)
			list := window.Version().Playlist
			v.check(t, i, last, list)
			last = list
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// publish sends five seconds through the gate, on a clock that is another one at
// each visit.
func (v visit) publish(t *testing.T, gate *Gate) {
	t.Helper()
	a, err := gate.admit(t.Context(), knock("theatre", testKey))
	if err != nil {
		t.Fatal(err)
	}
	config := mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: v.audioRate, ChannelConfig: 2}
	in, err := a.open(announcement{transport: "hand", tracks: []essence{
		newEssence(&codecs.H264{SPS: v.sps, PPS: testPPS}), newEssence(&codecs.MPEG4Audio{Config: config}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- in.run() }()
	clock := time.Duration(time.Now().UnixNano() % int64(26*time.Hour))
	frame := time.Duration(1024) * time.Second / time.Duration(v.audioRate)
	sounds := time.Duration(0)
	for n := range 125 {
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
	in.end(errDisconnect)
	<-done
}

// check compares the list after a visit with the one before it.
func (v visit) check(t *testing.T, i int, last, list *relay.Playlist) {
	t.Helper()
	var date time.Time
	for _, s := range list.Segments {
		if !s.ProgramDateTime.After(date) {
			t.Errorf("visit %d: dated %v after %v", i, s.ProgramDateTime, date)
		}
		date = s.ProgramDateTime
	}
	if last == nil {
		return
	}
	next := last.MediaSequence + uint64(len(last.Segments))
	if list.MediaSequence < last.MediaSequence || list.OpenSequence() <= next {
		t.Fatalf("visit %d: the list begins at %d and has %d segments, the one before came to %d", i, list.MediaSequence, len(list.Segments), next)
	}
	from := max(next, list.MediaSequence) - list.MediaSequence
	first := int(from)
	for list.Segments[first].Gap { // while it was away
		first++
	}
	returned, before := list.Segments[first], last.Segments[len(last.Segments)-1]
	if gaps := first > int(from); gaps != (v.after > gonePatience) {
		t.Errorf("visit %d: gaps: %v", i, gaps)
	}
	if !returned.Discontinuity {
		t.Errorf("visit %d: no discontinuity", i)
	}
	if changed := returned.Map != before.Map; changed != v.newInit {
		t.Errorf("visit %d: another init segment: %v", i, changed)
	}
	if gap := returned.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration)); gap < 0 || (gap-v.after).Abs() > time.Second {
		t.Errorf("visit %d: %v lie between the dates, after %v", i, gap, v.after)
	}
	for _, s := range list.Segments[first+1:] {
		if s.Discontinuity {
			t.Errorf("visit %d: a discontinuity within it", i)
		}
	}
}
