package origin

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"surgecast/relay"
)

// rates are those that the default PART-TARGET is made for, as fractions.
var rates = []struct {
	num, den int64
}{
	{15, 1},
	{20, 1},
	{24000, 1001},
	{24, 1},
	{25, 1},
	{30000, 1001},
	{30, 1},
	{50, 1},
	{60000, 1001},
	{60, 1},
}

// pictures returns n frames of a constant rate with a key frame each gop, in
// ticks of 90 kHz rounded by round.
func pictures(n int, num, den int64, gop int, round int64) []frame {
	out := make([]frame, n)
	for i := range out {
		dts := int64(i) * den * 90000 / num
		out[i] = frame{dts: dts / round * round, random: i%gop == 0, payload: []byte{1}}
	}
	return out
}

// cutAll returns the pieces of all frames, in segments.
func cutAll(frames []frame) [][]piece {
	s := newSegmenter(newCutting(relay.DefaultConstants(), 90000, true))
	var all []piece
	for _, f := range frames {
		all = append(all, s.push(f)...)
	}
	all = append(all, s.seal(3600)...)
	segments := [][]piece{nil}
	for _, p := range all {
		last := len(segments) - 1
		segments[last] = append(segments[last], p)
		if p.last {
			segments = append(segments, nil)
		}
	}
	return segments[:len(segments)-1]
}

func seconds(ticks int64) float64 { return float64(ticks) / 90000 }

func TestPartsFitEachFrameRate(t *testing.T) {
	for _, r := range rates {
		for name, round := range map[string]int64{"exact": 1, "milliseconds": 90} {
			fps := float64(r.num) / float64(r.den)
			for _, gopSeconds := range []float64{1, 2, 10} {
				gop := int(fps*gopSeconds + 0.5)
				t.Run(fmt.Sprintf("%.3f/%s/gop %d", fps, name, gop), func(t *testing.T) {
					segments := cutAll(pictures(40*int(fps), r.num, r.den, gop, round))
					for i, parts := range segments {
						checkSegment(t, parts, i == len(segments)-1)
					}
				})
			}
		}
	}
}

// checkSegment holds a segment of a constant frame rate to the rules.
func checkSegment(t *testing.T, parts []piece, sealed bool) {
	t.Helper()
	var total int64
	for i := range parts {
		p := &parts[i]
		total += p.duration
		if p.duration > 20250 {
			t.Errorf("part %d lasts %.4f s", i, seconds(p.duration))
		}
		if i < len(parts)-1 && float64(p.duration) < 0.85*20250 {
			t.Errorf("part %d of %d lasts %.4f s, under 85 %%", i, len(parts), seconds(p.duration))
		}
		if p.first != (i == 0) || p.last != (i == len(parts)-1) {
			t.Errorf("part %d of %d: first %v, last %v", i, len(parts), p.first, p.last)
		}
	}
	if total >= 225000 {
		t.Errorf("segment of %.4f s does not round to 2", seconds(total))
	}
	if total < 90000 && !sealed {
		t.Errorf("segment of %.4f s is under 1 s", seconds(total))
	}
}

func TestSegmentsBeginAtKeyFrames(t *testing.T) {
	// A key frame each 2.002 s must not be missed by 2 ms.
	for i, parts := range cutAll(pictures(900, 30000, 1001, 60, 1)) {
		if !parts[0].frames[0].random {
			t.Errorf("segment %d does not begin with a key frame", i)
		}
		if i < 14 && len(parts) != 10 {
			t.Errorf("segment %d has %d parts", i, len(parts))
		}
	}
	// A key frame each 0.5 s closes only each second segment's worth.
	for i, parts := range cutAll(pictures(250, 25, 1, 13, 1)) {
		var total int64
		for _, p := range parts {
			total += p.duration
		}
		if i < 9 && total != 26*3600 {
			t.Errorf("segment %d lasts %.3f s, want 1.04", i, seconds(total))
		}
	}
}

func TestForcedCuts(t *testing.T) {
	var lengths []string
	independent := 0
	for _, parts := range cutAll(pictures(500, 25, 1, 250, 1)) {
		var total int64
		for _, p := range parts {
			total += p.duration
			if p.independent() {
				independent++
			}
		}
		lengths = append(lengths, fmt.Sprintf("%.2f", seconds(total)))
	}
	// 0.4 s after a forced cut comes the key frame, too early to close a segment
	// of 1 s: the next forced cut goes over it.
	want := "[2.40 2.40 2.40 2.40 2.40 2.40 2.40 2.40 0.80]"
	if got := fmt.Sprint(lengths); got != want {
		t.Errorf("segments of %v s, want %v", got, want)
	}
	if independent != 2 {
		t.Errorf("%d independent parts, want those of the 2 key frames", independent)
	}
}

// A frame rate that wanders, frames lost, a clock in coarse steps: whatever
// comes, no rule that ends a player is broken, and a promised part follows.
func TestAnyTiming(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newSegmenter(newCutting(relay.DefaultConstants(), 90000, true))
		var dts, segment, media int64
		frames, pushed := 0, 0
		for i := range 2000 {
			for _, p := range s.push(frame{dts: dts, random: i == 0 || random.IntN(80) == 0}) {
				if p.duration < s.partMin && !p.last && !p.independent() {
					t.Fatalf("seed %d: part of %d ticks, under 85 %%", seed, p.duration)
				}
				frames += len(p.frames)
				segment += p.duration
				media += p.duration
				if p.duration > 20250 || p.duration <= 0 {
					t.Fatalf("seed %d: part of %d ticks", seed, p.duration)
				}
				if segment >= 225000 {
					t.Fatalf("seed %d: segment of %d ticks", seed, segment)
				}
				if !p.last {
					continue
				}
				if s.part != 0 || s.begun {
					t.Fatalf("seed %d: a segment is closed and goes on", seed)
				}
				segment = 0
			}
			pushed++
			if s.pending == nil {
				t.Fatalf("seed %d: no frame is pending for the part that was promised", seed)
			}
			step := 1 + random.Int64N(6000)
			if random.IntN(50) == 0 {
				step = random.Int64N(100_000) + 1
			}
			dts += step
		}
		for _, p := range s.seal(3600) {
			frames += len(p.frames)
		}
		if frames != pushed {
			t.Fatalf("seed %d: %d frames went in, %d came out", seed, pushed, frames)
		}
	}
}

// The last frame of a segment lasts to its end, however many are missing there:
// the part before stays within the rules, and nothing is lost of the whole.
func TestLastFrameIsStretched(t *testing.T) {
	for frames := 2; frames < 12; frames++ {
		for missing := range int64(3) {
			s := newFollowerSegmenter(relay.DefaultConstants(), 90000)
			var parts []piece
			for n := range int64(frames) {
				parts = append(parts, s.push(frame{dts: n * 3600})...)
			}
			end := (int64(frames) + missing) * 3600
			parts = append(parts, s.sealAt(end)...)
			checkSegment(t, parts, true)
			var listed, media int64
			for _, p := range parts {
				listed += p.duration
				for _, f := range p.frames {
					media += f.duration
				}
			}
			if listed != end || media != end {
				t.Errorf("%d frames and %d missing: listed %d, media of %d, want %d", frames, missing, listed, media, end)
			}
		}
	}
}

func TestLongFrame(t *testing.T) {
	in := pictures(50, 25, 1, 25, 1)
	for i := 10; i < len(in); i++ {
		in[i].dts += 45000 // half a second was lost
	}
	for _, parts := range cutAll(in)[:1] {
		var frames int
		for _, p := range parts {
			if frames += len(p.frames); frames == 10 {
				if p.duration != 20250 || p.frames[0].duration != 48600 || len(p.frames) != 1 {
					t.Errorf("the frame before the loss: %d frames of %d ticks, listed as %d; want it alone, to the next one, as PART-TARGET", len(p.frames), p.frames[0].duration, p.duration)
				}
			}
		}
	}
}

func TestAudioAloneMakesFullParts(t *testing.T) {
	for _, rate := range []int{44100, 48000} {
		s := newSegmenter(newCutting(relay.DefaultConstants(), rate, false))
		for i := range int64(1000) {
			for _, p := range s.push(frame{dts: i * 1024, random: true}) {
				d := time.Duration(p.duration) * time.Second / time.Duration(rate)
				if d > 225*time.Millisecond || d < 192*time.Millisecond {
					t.Errorf("%d Hz: part of %v", rate, d)
				}
			}
		}
	}
}

func BenchmarkSegmenter(b *testing.B) {
	s := newSegmenter(newCutting(relay.DefaultConstants(), 90000, true))
	var dts int64
	for b.Loop() {
		s.push(frame{dts: dts, random: dts%180000 == 0})
		dts += 3600
	}
}
