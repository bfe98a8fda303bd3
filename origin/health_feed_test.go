package origin

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// byHand is a feed of 25 pictures and 50 frames of Opus a second whose encoder's
// clock and line the test sets.
type byHand struct {
	*watched
	t     *testing.T
	now   time.Duration // of the encoder's clock
	fast  float64       // how much faster that goes than ours
	count int

	gop            int // pictures
	picture, sound bool
	late           func(n int) time.Duration // of a unit's coming
	shift          time.Duration             // of the timestamps
	lag            time.Duration             // of the sound's coming
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	w := newWatched(t, newEssence(&codecs.H264{SPS: testSPS, PPS: testPPS}), newEssence(&codecs.Opus{ChannelCount: 2}))
	return &byHand{watched: w, t: t, gop: 25, picture: true, sound: true, late: func(int) time.Duration { return 0 }}
}

// play goes on for some time of the encoder's.
func (b *byHand) play(d time.Duration) {
	b.t.Helper()
	for end := b.now + d; b.now < end; b.now += 40 * time.Millisecond {
		b.count++
		here := b.at.Add(time.Duration(float64(b.now)/(1+b.fast)) + b.late(b.count))
		if b.picture {
			slice := append(slices.Clone(testP), make([]byte, 400+b.count%100)...)
			if b.count%b.gop == 1 {
				slice = append(slices.Clone(testIDR), make([]byte, 3000)...)
			}
			b.take(timedUnit{track: 0, pts: b.now + b.shift, arrival: here, payload: [][]byte{slice}})
		}
		for i := range time.Duration(2) {
			if b.sound {
				frame := append([]byte{0xfc, byte(b.count), byte(i)}, make([]byte, 80)...)
				b.take(timedUnit{track: 1, pts: b.now + b.shift - b.lag + i*20*time.Millisecond, arrival: here, payload: [][]byte{frame}})
			}
		}
		b.in.health.tick(here)
	}
}

func (b *byHand) take(u timedUnit) {
	b.t.Helper()
	u.dts, u.dtsKnown = u.pts, true
	if err := b.in.take(u); err != nil {
		b.t.Fatal(err)
	}
}

// on are the names of the alarms that are on.
func (b *byHand) on() (names []string) {
	_, alarms := b.in.health.snapshot()
	for _, a := range alarms {
		names = append(names, a.Name)
	}
	return names
}

func (b *byHand) want(names ...string) {
	b.t.Helper()
	if got := b.on(); !slices.Equal(got, names) {
		b.t.Fatalf("after %v: alarms %v, want %v\n%s", b.now, got, names, b.log.String())
	}
}

// Each alarm is raised and cleared once in the log, and goes when what it is
// about has gone.
func TestAlarmsComeAndGo(t *testing.T) {
	for name, c := range map[string]struct{ begin, end func(b *byHand) }{
		"no_sound":     {func(b *byHand) { b.sound = false }, func(b *byHand) { b.sound = true }},
		"no_picture":   {func(b *byHand) { b.picture = false }, func(b *byHand) { b.picture = true }},
		"long_gop":     {func(b *byHand) { b.gop = 250 }, func(b *byHand) { b.gop = 25 }},
		"timestamps":   {func(b *byHand) { b.shift += 5 * time.Second }, func(*byHand) {}},
		"loss":         {func(b *byHand) { b.late = func(n int) time.Duration { b.lose(n); return 0 } }, func(b *byHand) { b.late = func(int) time.Duration { return 0 } }},
		"variable_gop": {func(b *byHand) { b.gop = 55; b.play(4 * time.Second); b.gop = 21 }, func(b *byHand) { b.gop = 25 }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newByHand(t)
			b.play(20 * time.Second)
			b.want()
			c.begin(b)
			b.play(15 * time.Second)
			b.want(name)
			c.end(b)
			b.play(40 * time.Second)
			b.want()
			if up, down := strings.Count(b.log.String(), "msg=alarm alarm="+name), strings.Count(b.log.String(), `msg="alarm is over" alarm=`+name); up != 1 || down != 1 {
				t.Errorf("raised %d times, cleared %d times:\n%s", up, down, b.log.String())
			}
		})
	}
}

func (b *byHand) lose(n int) {
	if n%10 == 0 {
		b.in.reception.lose(1, b.at)
	}
}

func TestSoundFarFromPicture(t *testing.T) {
	b := newByHand(t)
	b.lag = 3 * time.Second
	b.play(20 * time.Second)
	b.want("av_offset")
	if health, _ := b.in.health.snapshot(); math.Abs(*health.AVOffsetSeconds-3) > 0.05 {
		t.Errorf("%v s", *health.AVOffsetSeconds)
	}
}

// A line that stalls and then brings all at once is no jump of the timestamps.
func TestStallIsNoJump(t *testing.T) {
	b := newByHand(t)
	b.play(10 * time.Second)
	b.in.health.tick(b.at.Add(b.now + 4*time.Second))
	b.want("no_media")
	stalled := b.count
	b.late = func(n int) time.Duration { return max(0, 5*time.Second-time.Duration(n-stalled)*40*time.Millisecond) }
	b.play(20 * time.Second)
	b.want()
	if health, _ := b.in.health.snapshot(); health.Jumps != 0 {
		t.Errorf("%d jumps", health.Jumps)
	}
}

// The encoder's clock is measured through jitter that is a thousand times what
// it is off in a second.
func TestDriftThroughJitter(t *testing.T) {
	for _, ppm := range []float64{0, 50, -500} {
		b := newByHand(t)
		b.fast = ppm / 1e6
		seed := uint32(1)
		b.late = func(int) time.Duration {
			seed = seed*1664525 + 1013904223
			return time.Duration(seed>>16) * 50 * time.Millisecond / 65536
		}
		b.play(10 * time.Minute)
		health, _ := b.in.health.snapshot()
		if health.DriftPPM == nil || math.Abs(*health.DriftPPM-ppm) > 10 {
			t.Fatalf("%v ppm measured as %v", ppm, health.DriftPPM)
		}
		if off := *health.DriftSeconds - ppm/1e6*590; math.Abs(off) > 0.01 {
			t.Errorf("%v ppm: %v s after ten minutes", ppm, *health.DriftSeconds)
		}
		if health.JitterSeconds < 0.005 || health.JitterSeconds > 0.05 {
			t.Errorf("jitter %v s", health.JitterSeconds)
		}
		if ppm == -500 {
			b.want("clock_drift")
		} else {
			b.want()
		}
	}
}

// A unit costs no allocation.
func TestHealthAllocatesNothing(t *testing.T) {
	b := newByHand(t)
	b.play(20 * time.Second)
	track := b.in.tracks[0]
	u := timedUnit{pts: b.now, dts: b.now, dtsKnown: true, arrival: b.at.Add(b.now), payload: [][]byte{testP}}
	if n := testing.AllocsPerRun(1000, func() {
		u.pts += time.Millisecond
		b.in.health.unit(track, &u, shaped{payload: u.payload, sliceBytes: len(testP)})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRecoveryPoint(t *testing.T) {
	for _, c := range []struct {
		sei  []byte
		want bool
	}{
		{[]byte{6, 1, 0x84, 0x80}, true},
		{[]byte{5, 2, 9, 9, 6, 1, 0x84, 0x80}, true},
		{[]byte{1, 3, 0, 0, 3, 1, 6, 1, 0x84, 0x80}, true},
		{[]byte{6, 0, 0x80}, false},
		{[]byte{5, 200, 1}, false},
		{[]byte{255, 255}, false},
		{nil, false},
	} {
		if got := hasRecoveryPoint(c.sei); got != c.want {
			t.Errorf("% x: %v", c.sei, got)
		}
	}
}

// FuzzSigns: what the heads of NAL units say is read without a panic, whatever
// they hold.
func FuzzSigns(f *testing.F) {
	f.Add([]byte{6, 6, 1, 0x84, 0x80})
	f.Add([]byte{6, 1, 3, 0, 0, 3, 1, 6, 1, 0x84})
	f.Add([]byte{0x12, 1, 2})
	f.Add(testPPS)
	f.Fuzz(func(_ *testing.T, nalu []byte) {
		for _, c := range []videoCodec{h264Codec{}, h265Codec{}, av1Codec{}} {
			if kind := c.kind(nalu); kind == naluOther || kind == naluPicture || kind == naluRandom {
				c.open(nalu)
			}
		}
		cabac(nalu)
	})
}
