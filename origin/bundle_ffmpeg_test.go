package origin_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib"
	rtmpcodecs "github.com/bluenviron/gortmplib/pkg/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"surgecast/origin"
)

// push lets ffmpeg make three pictures, and a sound where asked for, of one source
// and push them in one feed. It returns what ends it.
func push(t *testing.T, sound bool, output ...string) (end func()) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	args := []string{
		"-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25",
		"-re", "-f", "lavfi", "-i", "sine=r=48000",
		"-filter_complex", "[0:v]split=3[a][b][c];[b]scale=-2:120[d];[c]scale=-2:60[e]", "-map", "[a]", "-map", "[d]", "-map", "[e]",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-threads", "1",
	}
	if sound {
		args = append(args, "-map", "1:a", "-c:a", "aac", "-ac", "2")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	program := exec.CommandContext(ctx, ffmpeg, append(args, output...)...)
	program.Stderr = t.Output()
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() { cancel(); _ = program.Wait() }
	t.Cleanup(end)
	return end
}

func outputTo(protocol, url string) []string {
	switch protocol {
	case "rtsp":
		return []string{"-f", "rtsp", "-rtsp_transport", "tcp", url + "/theatre"}
	case "rtsp-udp":
		return []string{"-f", "rtsp", "-rtsp_transport", "udp", url + "/theatre"}
	}
	return []string{"-f", "mpegts", url}
}

// The pictures of one feed are the stream's rungs, by their order, with key frames
// at the same times.
func TestPicturesOfOneFeed(t *testing.T) {
	for _, protocol := range []string{"srt", "udp", "rtsp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newStageWith(t, t.TempDir(), threeRungs())
			url, gate := s.listen(protocol)
			in := inspect(s)
			in.apart, in.slack = true, 80*time.Millisecond // as in TestRungsFromFFmpeg
			push(t, true, outputTo(protocol, url)...)
			in.until("three segments of all rungs in a row", func() bool { return in.whole(3, threeRungs().Rungs...) && s.variants() == "1080 720 360 audio-0" })
			in.inStep("1080", "720", "360")
			for rung, r := range s.rungStates() {
				switch {
				case rung == "1080" && r.State == origin.RungLeads:
				case r.State != origin.RungAligned || r.By != "the encoder's clock" || r.OffsetSeconds == nil || *r.OffsetSeconds > 0.001 || *r.OffsetSeconds < -0.001:
					t.Errorf("%+v", r)
				case r.Misaligned > 0:
					t.Errorf("%+v", r)
				}
			}
			if feeds := gate.Feeds(); len(feeds) != 1 || len(feeds[0].Notes) != 0 || !slices.Equal(feeds[0].Rungs, threeRungs().Rungs) {
				t.Errorf("%+v", feeds)
			}
		})
	}
}

// whole tells whether the newest n segments of each rendition have media.
func (in *inspector) whole(n int, renditions ...string) bool {
	for _, name := range renditions {
		r := in.renditions[name]
		if r == nil || r.last == nil || len(r.last.Playlist.Segments) < n {
			return false
		}
		for _, segment := range r.last.Playlist.Segments[len(r.last.Playlist.Segments)-n:] {
			if segment.Gap {
				return false
			}
		}
	}
	return true
}

// Pictures beyond the rungs are left out, and told of. Who pushes a rung comes
// before the feed's picture, which is back when that has gone.
func TestMorePicturesThanRungs(t *testing.T) {
	t.Parallel()
	s := newStageWith(t, t.TempDir(), origin.StreamConfig{Rungs: []string{"1080", "720"}})
	srt, gate := s.listen("srt")
	in := inspect(s)
	in.apart, in.slack = true, 80*time.Millisecond
	push(t, false, outputTo("srt", srt)...)
	in.until("both rungs", func() bool { return in.whole(2, "1080", "720") && s.variants() == "1080 720" })
	feeds := gate.Feeds()
	if len(feeds) != 1 || !slices.Equal(feeds[0].Rungs, []string{"1080", "720"}) ||
		!slices.ContainsFunc(feeds[0].Notes, func(note string) bool {
			return strings.Contains(note, "all but the first 2, for which there are rungs")
		}) {
		t.Errorf("%+v", feeds)
	}
	// Another encoder's key pictures may lie halfway between those of the lead, where
	// it is not told to which they belong; of five a second one is near enough.
	often := []string{"-g", "5", "-keyint_min", "5"}
	end := push(t, false, append(often, outputTo("srt", strings.Replace(srt, "theatre", "theatre/720", 1))...)...)
	of720 := func() string {
		for _, f := range gate.Feeds() {
			if f.Branch == "720" && f.Units > 0 {
				return "pushed"
			}
		}
		return "the feed's"
	}
	in.until("720 is pushed", func() bool { return of720() == "pushed" && s.rungStates()["720"].State == origin.RungAligned })
	end()
	in.until("720 is the feed's again", func() bool {
		return of720() == "the feed's" && s.rungStates()["720"].State == origin.RungAligned && in.whole(1, "720")
	})
}

// By RTMP, too, a feed may have several pictures, as OBS's multitrack has. Debian's
// ffmpeg does not push it, so it makes the film.
func TestPicturesByRTMP(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "film.mp4")
	encode := exec.CommandContext(t.Context(), ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25", "-t", "12",
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", file)
	if output, err := encode.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var film pmp4.Presentation
	if err := film.Unmarshal(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	s := newStageWith(t, t.TempDir(), origin.StreamConfig{Rungs: []string{"1080", "720"}})
	address, gate := s.listen("rtmp")
	at, err := url.Parse(address + "/theatre/curtain")
	if err != nil {
		t.Fatal(err)
	}
	client := &gortmplib.Client{URL: at, Publish: true}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := client.Initialize(ctx); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := film.Tracks[0].Codec.(*codecs.H264)
	tracks := []*gortmplib.Track{{Codec: &rtmpcodecs.H264{SPS: c.SPS, PPS: c.PPS}}, {Codec: &rtmpcodecs.H264{SPS: c.SPS, PPS: c.PPS}}}
	writer := &gortmplib.Writer{Conn: client, Tracks: tracks}
	if err := writer.Initialize(); err != nil {
		t.Fatal(err)
	}
	const frame = 40 * time.Millisecond
	for began, n := time.Now(), 0; s.rungStates()["720"].Aligned < 3; n++ {
		if n == len(film.Tracks[0].Samples) {
			t.Fatalf("%+v\n%+v", s.Rungs(), gate.Feeds())
		}
		payload, err := film.Tracks[0].Samples[n].GetPayload()
		if err != nil {
			t.Fatal(err)
		}
		var units h264.AVCC
		if err := units.Unmarshal(payload); err != nil {
			t.Fatal(err)
		}
		for _, track := range tracks {
			if err := writer.WriteH264(track, time.Duration(n)*frame, time.Duration(n)*frame, units); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Until(began.Add(time.Duration(n+1) * frame)))
	}
	if r := s.rungStates()["720"]; r.State != origin.RungAligned || r.OffsetSeconds == nil || *r.OffsetSeconds != 0 || r.Misaligned != 0 {
		t.Errorf("%+v", r)
	}
}
