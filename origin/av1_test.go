package origin_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
	"github.com/pion/rtcp"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// TestAV1 pushes what ffmpeg has encoded by RTSP, which ffmpeg itself can't do
// with AV1: it comes out as it went in, under its right name.
func TestAV1(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "av1.mp4")
	encode := exec.CommandContext(t.Context(), ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=s=160x96:r=25", "-t", "2", "-c:v", "libsvtav1", "-preset", "12", "-g", "25", "-pix_fmt", "yuv420p", file)
	encode.Env = append(os.Environ(), "SVT_LOG=1")
	if output, err := encode.CombinedOutput(); err != nil {
		t.Skipf("this ffmpeg does not encode AV1: %v\n%s", err, output)
	}
	in, err := origintest.CodedFile(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, t.TempDir())
	gate := origin.NewGate(origin.GateConfig{Origin: s.Origin})
	r, err := origin.NewRTSP(origin.RTSPConfig{Listen: "127.0.0.1:0", Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	runBeside(t.Context(), t, r.Run)
	pushAV1(t, gate, "rtsp://publish:curtain@"+r.Addr().String()+"/theatre", file)
	awaitNoFeeds(t.Context(), t, gate)
	out, err := origintest.CodedWindow(t.Context(), s.window)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := origintest.Compare(in, out); err != nil || c.PicturesBefore+c.PicturesAfter > 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if index := string(s.store.Stream("theatre").Index()); !strings.Contains(index, "CODECS=\"av01.0.") || !strings.Contains(index, "RESOLUTION=160x96") {
		t.Errorf("the multivariant playlist:\n%s", index)
	}
}

func pushAV1(t *testing.T, gate *origin.Gate, url, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	track := p.Tracks[0]
	f := &format.AV1{PayloadTyp: 96}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}}
	transport := gortsplib.TransportTCP
	client := &gortsplib.Client{Transport: &transport, DisableRTCPSenderReports: true}
	if err := client.StartRecording(url, &description.Session{Medias: []*description.Media{media}}); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	encoder, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	// Without a report the publication would begin a second later, when all is over.
	ssrc := client.Stats().Session.Medias[media].Formats[f].LocalSSRC
	if err := client.WritePacketRTCP(media, &rtcp.SenderReport{SSRC: ssrc, NTPTime: uint64(time.Now().Unix()+2208988800) << 32}); err != nil {
		t.Fatal(err)
	}
	var at int64
	for _, s := range track.Samples {
		payload, err := s.GetPayload()
		if err != nil {
			t.Fatal(err)
		}
		var obus av1.Bitstream
		if err := obus.Unmarshal(payload); err != nil {
			t.Fatal(err)
		}
		packets, err := encoder.Encode(obus)
		if err != nil {
			t.Fatal(err)
		}
		for _, packet := range packets {
			packet.Timestamp = uint32(at * 90000 / int64(track.TimeScale))
			if err := client.WritePacketRTP(media, packet); err != nil {
				t.Fatal(err)
			}
		}
		at += int64(s.Duration)
	}
	// To close loses what the client has not sent yet.
	for deadline := time.Now().Add(10 * time.Second); gate.Feeds()[0].Units < int64(len(track.Samples)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not all was published: %+v", gate.Feeds())
		}
	}
}
