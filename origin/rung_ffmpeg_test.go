package origin_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"surgecast/origin"
)

// ffmpeg pushes three rungs from one process, over a connection each.
func TestRungsFromFFmpeg(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	for _, protocol := range []string{"rtsp", "rtmp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newStageWith(t, t.TempDir(), threeRungs())
			url, _ := s.listen(protocol)
			args := []string{
				"-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25",
				"-re", "-f", "lavfi", "-i", "sine=r=48000",
			}
			for i, rung := range threeRungs().Rungs {
				args = append(args, "-map", "0:v", "-vf", fmt.Sprintf("scale=-2:%d", []int{180, 120, 60}[i]), "-c:v", "libx264", "-preset", "ultrafast",
					"-pix_fmt", "yuv420p", "-bf", "2", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-threads", "1")
				if i == 0 { // which moves the times of this output by its priming
					args = append(args, "-map", "1:a", "-c:a", "aac", "-ac", "2")
				}
				if protocol == "rtsp" {
					args = append(args, "-f", "rtsp", "-rtsp_transport", "tcp", url+"/theatre/"+rung)
				} else {
					args = append(args, "-f", "flv", url+"/theatre/"+rung+"/curtain")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			push := exec.CommandContext(ctx, ffmpeg, args...)
			if err := push.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { cancel(); _ = push.Wait() }()
			in := inspect(s)
			// By RTSP the first picture of a publication has no delay from decoding to
			// showing, so the lead's first segment is listed shorter by that.
			in.apart, in.slack = true, 80*time.Millisecond
			in.until("three segments of all rungs in a row", func() bool {
				for _, rung := range threeRungs().Rungs {
					r := in.renditions[rung]
					if r == nil || r.last == nil {
						return false
					}
					segments := r.last.Playlist.Segments
					if n := len(segments); n < 3 || segments[n-1].Gap || segments[n-2].Gap || segments[n-3].Gap {
						return false
					}
				}
				return s.variants() == "1080 720 360 audio-0"
			})
			in.inStep("1080", "720", "360")
			for rung, r := range s.rungStates() {
				want := origin.RungAligned
				if rung == "1080" {
					want = origin.RungLeads
				}
				if r.State != want || !r.Listed || r.Misaligned > 1 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// A rung that ffmpeg makes with another distance of key frames is said to be out
// of step.
func TestUnalignedRungFromFFmpeg(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	t.Parallel()
	s := newStageWith(t, t.TempDir(), origin.StreamConfig{Rungs: []string{"1080", "720"}})
	url, _ := s.listen("rtsp")
	args := []string{"-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25"}
	for i, gop := range []string{"25", "37"} {
		args = append(args, "-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-tune", "zerolatency",
			"-g", gop, "-keyint_min", gop, "-sc_threshold", "0", "-f", "rtsp", "-rtsp_transport", "tcp", url+"/theatre/"+[]string{"1080", "720"}[i])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	push := exec.CommandContext(ctx, ffmpeg, args...)
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = push.Wait() }()
	for s.rungStates()["720"].Misaligned < 3 {
		select {
		case <-ctx.Done():
			t.Fatalf("%+v", s.Rungs())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if r := s.rungStates()["720"]; r.State != origin.RungMisaligned || r.LastMisaligned == nil || r.OffsetSeconds == nil {
		t.Errorf("%+v", r)
	}
	if r := s.rungStates()["1080"]; r.State != origin.RungLeads {
		t.Errorf("%+v", r)
	}
}

// listen opens a listener of the stage's origin and returns its address.
func (s *stage) listen(protocol string) (url string, gate *origin.Gate) {
	s.Helper()
	gate = origin.NewGate(origin.GateConfig{Origin: s.Origin})
	var l interface {
		Addr() net.Addr
		Run(ctx context.Context) error
	}
	var err error
	before, after := "", ""
	switch protocol {
	case "rtsp":
		l, err = origin.NewRTSP(origin.RTSPConfig{Listen: "127.64.0.1:0", Gate: gate})
		before = "rtsp://publish:curtain@"
	case "rtmp":
		l, err = origin.NewRTMP(origin.RTMPConfig{Listen: "127.64.0.1:0", Gate: gate})
		before = "rtmp://"
	case "srt":
		l, err = origin.NewSRT(origin.SRTConfig{Listen: "127.64.0.1:0", Gate: gate})
		before, after = "srt://", "?streamid=publish:theatre:curtain"
	case "udp":
		home := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.64.0.1")}
		l, err = origin.NewUDP(origin.UDPConfig{Listen: "127.64.0.1:0", From: home, Stream: "theatre", Key: "curtain", Gate: gate})
		before, after = "udp://", "?pkt_size=1316"
	}
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			s.Error(err)
		}
	}()
	s.Cleanup(func() { cancel(); <-done })
	return before + l.Addr().String() + after, gate
}
