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
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// filmTrack is one track of a film that ffmpeg has made, as a test's own RTMP
// encoder sends it.
type filmTrack struct {
	*pmp4.Track
	coded  origintest.Coded
	bodies [][]byte // of its samples
}

// newFilmTrack lets ffmpeg encode what it is told; start is as for CodedFile. It
// returns ffmpeg's error: it may lack an encoder.
func newFilmTrack(t *testing.T, what string, start int64) (*filmTrack, error) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	path := filepath.Join(t.TempDir(), "film.mp4")
	encode := exec.CommandContext(t.Context(), ffmpeg, slices.Concat(
		[]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i"}, strings.Fields(what), []string{path})...)
	encode.Env = append(os.Environ(), "SVT_LOG=1")
	if output, err := encode.CombinedOutput(); err != nil {
		t.Logf("%s", output)
		return nil, err
	}
	f := &filmTrack{}
	if f.coded, err = origintest.CodedFile(path, start); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	f.Track = p.Tracks[0]
	for _, sample := range f.Samples {
		body, err := sample.GetPayload() // here, since they share a reader
		if err != nil {
			t.Fatal(err)
		}
		f.bodies = append(f.bodies, body)
	}
	return f, nil
}

// at is a time of the track.
func (f *filmTrack) at(ticks int64) time.Duration {
	return time.Duration(ticks) * time.Second / time.Duration(f.TimeScale)
}

// rtmpStage is a stage that is pushed to by RTMP.
type rtmpStage struct {
	*stage
	gate    *origin.Gate
	address string
}

func newRTMPStage(t *testing.T) *rtmpStage {
	t.Helper()
	s := newStage(t, t.TempDir())
	gate := origin.NewGate(origin.GateConfig{Origin: s.Origin})
	r, err := origin.NewRTMP(origin.RTMPConfig{Listen: "127.0.0.1:0", Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	runBeside(t.Context(), t, r.Run)
	return &rtmpStage{s, gate, r.Addr().String()}
}

// begin begins a session with these tracks.
func (s *rtmpStage) begin(t *testing.T, tracks ...*gortmplib.Track) (*gortmplib.Client, *gortmplib.Writer) {
	t.Helper()
	client := &gortmplib.Client{URL: &url.URL{Scheme: "rtmp", Host: s.address, Path: "/theatre/curtain"}, Publish: true}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.Initialize(ctx); err != nil {
		t.Fatal(err)
	}
	writer := &gortmplib.Writer{Conn: client, Tracks: tracks}
	if err := writer.Initialize(); err != nil {
		client.Close()
		t.Fatal(err)
	}
	return client, writer
}
