package origin_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// What the file begins with, by its edit lists: two pictures of 512 ticks before
// zero, and a frame of 1024 samples.
const (
	equalFile  = "testdata/bframes.mp4"
	equalStart = -1024
)

// bitEqual lets ffmpeg push a file with B-frames and AAC in real time, and holds
// that it comes out of the live window bit for bit, with its lip sync. push
// starts a protocol's listener on the gate, runs it until ctx ends, and returns
// the options of ffmpeg for the output, with the key "curtain" to the stream
// theatre. Sound may be missing at either end: what is from before the first
// picture, and what the encoder or its container keeps back when it ends.
func bitEqual(t *testing.T, push func(ctx context.Context, t *testing.T, gate *origin.Gate) []string) {
	t.Helper()
	bitEqualTo(t, time.Second/videoTicks, 0, push)
}

// videoTicks are those of MPEG's clock in a second.
const videoTicks = 90000

// bitEqualTo is bitEqual for a container whose clock has this tick, and for a
// protocol that may lose as many pictures when ffmpeg hangs up.
func bitEqualTo(t *testing.T, tick time.Duration, tail int, push func(ctx context.Context, t *testing.T, gate *origin.Gate) []string) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	in, err := origintest.CodedFile(equalFile, equalStart)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, t.TempDir())
	gate := origin.NewGate(origin.GateConfig{Origin: s.Origin})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	options := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-i", equalFile, "-c", "copy"}, push(ctx, t, gate)...)
	if output, err := exec.CommandContext(ctx, ffmpeg, options...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	awaitNoFeeds(ctx, t, gate)
	out, err := origintest.CodedWindow(ctx, s.window)
	if err != nil {
		t.Fatal(err)
	}
	c, err := origintest.Compare(in, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pictures, %d sounds, %+v", len(out.Pictures), len(out.Sounds), c)
	if c.PicturesBefore != 0 || c.PicturesAfter > tail || c.SoundsBefore > 1 || c.SoundsAfter > 30+5*tail {
		t.Errorf("of %d pictures and %d sounds there are missing: %+v", len(in.Pictures), len(in.Sounds), c)
	}
	if c.Offset.Abs() > time.Millisecond+tick {
		t.Errorf("sound is %v late", c.Offset)
	}
}

// awaitNoFeeds waits until all that was pushed is published.
func awaitNoFeeds(ctx context.Context, t *testing.T, gate *origin.Gate) {
	t.Helper()
	for len(gate.Feeds()) > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the feed does not end: %+v", gate.Feeds())
		}
	}
}
