package origin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib"
	rtmpcodecs "github.com/bluenviron/gortmplib/pkg/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/origin/origintest"
)

// TestRTMPEnhanced pushes what plain RTMP has no name for, and what Debian's
// ffmpeg does not push: H.265 with reordered pictures, and AV1.
func TestRTMPEnhanced(t *testing.T) {
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
			film, err := newFilmTrack(t, "testsrc2=s=160x96:r=25 -t 3 -pix_fmt yuv420p -c:v "+c.encoder, c.start)
			if err != nil {
				t.Skip("this ffmpeg does not encode it: ", err)
			}
			s := newRTMPStage(t)
			film.push(t, s)
			awaitNoFeeds(t.Context(), t, s.gate)
			out, err := origintest.CodedWindow(t.Context(), s.window)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := origintest.Compare(film.coded, out); err != nil || c.PicturesBefore+c.PicturesAfter > 0 {
				t.Errorf("%+v, %v", c, err)
			}
			if index := string(s.store.Stream("theatre").Index()); !strings.Contains(index, c.codecs) || !strings.Contains(index, "RESOLUTION=160x96") {
				t.Errorf("the multivariant playlist:\n%s", index)
			}
		})
	}
}

// push sends pictures, faster than in real time.
func (f *filmTrack) push(t *testing.T, s *rtmpStage) {
	t.Helper()
	track := &gortmplib.Track{Codec: &rtmpcodecs.AV1{}}
	hevc, is265 := f.Codec.(*codecs.H265)
	if is265 {
		track.Codec = &rtmpcodecs.H265{VPS: hevc.VPS, SPS: hevc.SPS, PPS: hevc.PPS}
	}
	client, writer := s.begin(t, track)
	defer client.Close()
	var dts int64
	for n, sample := range f.Samples {
		var units [][]byte
		var err error
		if is265 {
			if err := (*h264.AVCC)(&units).Unmarshal(f.bodies[n]); err != nil {
				t.Fatal(err)
			}
			err = writer.WriteH265(track, f.at(dts+int64(sample.PTSOffset)), f.at(dts), units)
		} else {
			if err := (*av1.Bitstream)(&units).Unmarshal(f.bodies[n]); err != nil {
				t.Fatal(err)
			}
			err = writer.WriteAV1(track, f.at(dts), units)
		}
		if err != nil {
			t.Fatal(err)
		}
		dts += int64(sample.Duration)
		time.Sleep(20 * time.Millisecond) // whether sound comes too is waited for
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if feeds := s.gate.Feeds(); len(feeds) > 0 && feeds[0].Units >= int64(len(f.Samples)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all was published: %+v", s.gate.Feeds())
		}
	}
}
