package origin_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib"
	rtmpcodecs "github.com/bluenviron/gortmplib/pkg/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// TestRTMPEnhanced pushes what plain RTMP has no name for, and what Debian's
// ffmpeg does not push: H.265 with reordered pictures, and AV1.
func TestRTMPEnhanced(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	for name, c := range map[string]struct {
		encoder string
		codecs  string
		start   int64 // ticks of 1/12800 s that two reordered pictures take
	}{
		"H.265": {"libx265 -preset ultrafast -x265-params bframes=2:keyint=25:log-level=none -tag:v hvc1", `CODECS="hvc1.`, -1024},
		"AV1":   {"libsvtav1 -preset 12 -g 25", `CODECS="av01.`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "film.mp4")
			encode := exec.CommandContext(t.Context(), ffmpeg, append(append([]string{
				"-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25", "-t", "3", "-pix_fmt", "yuv420p", "-c:v",
			}, strings.Fields(c.encoder)...), file)...)
			encode.Env = append(os.Environ(), "SVT_LOG=1")
			if output, err := encode.CombinedOutput(); err != nil {
				t.Skipf("this ffmpeg does not encode it: %v\n%s", err, output)
			}
			in, err := origintest.CodedFile(file, c.start)
			if err != nil {
				t.Fatal(err)
			}
			s := newStage(t, t.TempDir())
			gate := origin.NewGate(origin.GateConfig{Origin: s.Origin})
			r, err := origin.NewRTMP(origin.RTMPConfig{Listen: "127.0.0.1:0", Gate: gate})
			if err != nil {
				t.Fatal(err)
			}
			runBeside(t.Context(), t, r.Run)
			pushRTMP(t, gate, r.Addr().String(), file)
			awaitNoFeeds(t.Context(), t, gate)
			out, err := origintest.CodedWindow(t.Context(), s.window)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := origintest.Compare(in, out); err != nil || c.PicturesBefore+c.PicturesAfter > 0 {
				t.Errorf("%+v, %v", c, err)
			}
			if index := string(s.store.Stream("theatre").Index()); !strings.Contains(index, c.codecs) || !strings.Contains(index, "RESOLUTION=160x96") {
				t.Errorf("the multivariant playlist:\n%s", index)
			}
		})
	}
}

// pushRTMP sends the pictures of a file, faster than in real time.
func pushRTMP(t *testing.T, gate *origin.Gate, address, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	from := p.Tracks[0]
	track := &gortmplib.Track{Codec: &rtmpcodecs.AV1{}}
	if c, ok := from.Codec.(*codecs.H265); ok {
		track.Codec = &rtmpcodecs.H265{VPS: c.VPS, SPS: c.SPS, PPS: c.PPS}
	}
	client := &gortmplib.Client{URL: &url.URL{Scheme: "rtmp", Host: address, Path: "/theatre/curtain"}, Publish: true}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.Initialize(ctx); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	writer := &gortmplib.Writer{Conn: client, Tracks: []*gortmplib.Track{track}}
	if err := writer.Initialize(); err != nil {
		t.Fatal(err)
	}
	var dts int64
	for _, s := range from.Samples {
		payload, err := s.GetPayload()
		if err != nil {
			t.Fatal(err)
		}
		at := func(ticks int64) time.Duration {
			return time.Duration(ticks) * time.Second / time.Duration(from.TimeScale)
		}
		var units [][]byte
		if _, ok := track.Codec.(*rtmpcodecs.AV1); ok {
			if err := (*av1.Bitstream)(&units).Unmarshal(payload); err != nil {
				t.Fatal(err)
			}
			err = writer.WriteAV1(track, at(dts), units)
		} else {
			if err := (*h264.AVCC)(&units).Unmarshal(payload); err != nil {
				t.Fatal(err)
			}
			err = writer.WriteH265(track, at(dts+int64(s.PTSOffset)), at(dts), units)
		}
		if err != nil {
			t.Fatal(err)
		}
		dts += int64(s.Duration)
		time.Sleep(20 * time.Millisecond) // whether sound comes too is waited for
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if feeds := gate.Feeds(); len(feeds) > 0 && feeds[0].Units >= int64(len(from.Samples)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all was published: %+v", gate.Feeds())
		}
	}
}
