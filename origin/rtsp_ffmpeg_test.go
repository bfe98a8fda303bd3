package origin

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// TestRTSPFromFFmpeg lets ffmpeg push a file with B-frames in real time: it has
// parameter sets in the SDP only and sends a sender report in front of each
// track's first packet.
func TestRTSPFromFFmpeg(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := startRTSP(t, GateConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began := time.Now()
			push := exec.CommandContext(ctx, ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-re",
				"-i", "testdata/bframes.mp4", "-c", "copy", "-f", "rtsp", "-rtsp_transport", transport, s.url(testKey, "theatre/720"))
			output, err := push.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\nlog:\n%s", err, output, s.log)
			}
			p := s.publication(t)
			<-p.closed
			if p.stream != "theatre" || p.branch != "720" {
				t.Errorf("published to %q, branch %q", p.stream, p.branch)
			}
			checkFFmpegUnits(t, p.take(t, 1<<20), began)
		})
	}
}

// TestRTSPFromFFmpegH265 lets ffmpeg encode H.265 with B-frames, and Opus.
func TestRTSPFromFFmpegH265(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	t.Parallel()
	s := startRTSP(t, GateConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	push := exec.CommandContext(ctx, ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin",
		"-re", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-re", "-f", "lavfi", "-i", "sine=r=48000", "-t", "2",
		"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=3:keyint=25:log-level=none", "-pix_fmt", "yuv420p",
		"-c:a", "libopus", "-ac", "2", "-f", "rtsp", "-rtsp_transport", "tcp", s.url(testKey, "theatre"))
	if output, err := push.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\nlog:\n%s", err, output, s.log)
	}
	p := s.publication(t)
	if _, ok := p.tracks[0].Codec.(*codecs.H265); !ok {
		t.Errorf("video is %T", p.tracks[0].Codec)
	}
	if c, ok := p.tracks[1].Codec.(*codecs.Opus); !ok || c.ChannelCount != 2 {
		t.Errorf("audio is %+v", p.tracks[1].Codec)
	}
	<-p.closed
	var count, random [2]int
	last := [2]int64{-1 << 62, -1 << 62}
	reordered := false
	for _, u := range p.take(t, 1<<20) {
		if u.DTS > u.PTS || u.DTS <= last[u.Track] || u.PTS < 0 {
			t.Errorf("track %d: DTS %d after %d with PTS %d", u.Track, u.DTS, last[u.Track], u.PTS)
		}
		last[u.Track] = u.DTS
		reordered = reordered || u.DTS < u.PTS
		count[u.Track]++
		if u.Random {
			random[u.Track]++
		}
	}
	if count[0] != 50 || random[0] != 2 || !reordered || count[1] < 90 || random[1] != count[1] {
		t.Errorf("units %v, random %v, reordered %v\n%s", count, random, reordered, s.log)
	}
}

// checkFFmpegUnits compares with the file, whose first picture is at zero.
func checkFFmpegUnits(t *testing.T, units []Unit, began time.Time) {
	t.Helper()
	tracks, samples := testFile(t, "testdata/bframes.mp4")
	var pictures, frames int
	for _, u := range units {
		rate := int64(tracks[u.Track].ClockRate)
		var want sample
		if u.Track == 0 {
			want = nthOfTrack(samples, 0, pictures)
			pictures++
		} else {
			frames++ // the first one is from before the first picture, and left out
			want = nthOfTrack(samples, 1, frames)
		}
		off := ticksToDuration(u.PTS-want.pts, rate)
		if off.Abs() > time.Millisecond {
			t.Errorf("track %d: PTS %d is off by %v", u.Track, u.PTS, off)
		}
		if u.Random != want.random || u.DTS > u.PTS {
			t.Errorf("track %d: PTS %d DTS %d Random %v", u.Track, u.PTS, u.DTS, u.Random)
		}
		// ffmpeg dates its time zero when it connects.
		if since := u.WallTime.Add(-ticksToDuration(u.PTS, rate)).Sub(began); since < -100*time.Millisecond || since > 5*time.Second {
			t.Errorf("track %d: dated %v after the start", u.Track, since)
		}
	}
	// ffmpeg packs several audio frames into a packet and forgets the last one;
	// over UDP its TEARDOWN may overtake some more.
	if pictures != 50 || frames < 60 {
		t.Errorf("%d pictures, %d audio frames", pictures, frames)
	}
	checkOneClock(t, units, tracks)
}

// checkOneClock: wall times of all units lie on one line.
func checkOneClock(t *testing.T, units []Unit, tracks []Track) {
	t.Helper()
	zero := func(u Unit) time.Time {
		return u.WallTime.Add(-ticksToDuration(u.PTS, int64(tracks[u.Track].ClockRate)))
	}
	for _, u := range units {
		if off := zero(u).Sub(zero(units[0])); off.Abs() > 5*time.Millisecond {
			t.Fatalf("track %d: wall time is off by %v at PTS %d", u.Track, off, u.PTS)
		}
	}
}
