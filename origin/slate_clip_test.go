package origin

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

// Whatever a file holds, it is refused or can be shown in a loop.
func FuzzParseSlate(f *testing.F) {
	files, err := filepath.Glob("slate/ended-*.mp4")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add(slateInMPEGTS(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		clip, err := parseSlate(file)
		if err != nil {
			return
		}
		last := clip.pictures[0].dts - 1
		for _, p := range clip.pictures {
			if p.dts <= last || p.pts < p.dts || p.pts < 0 || len(p.payload) == 0 {
				t.Fatalf("a picture at %d, %d after %d", p.dts, p.pts, last)
			}
			last = p.dts
		}
		if !clip.pictures[0].random || clip.pictures[0].pts != 0 || last-clip.pictures[0].dts >= clip.length {
			t.Fatalf("%d pictures of %d ticks", len(clip.pictures), clip.length)
		}
	})
}

// slateInMPEGTS is a slate in the other container.
func slateInMPEGTS(t testing.TB) []byte {
	t.Helper()
	clip := builtInClip(t)
	var b bytes.Buffer
	track := &mpegts.Track{Codec: &tscodecs.H264{}}
	w := &mpegts.Writer{W: &b, Tracks: []*mpegts.Track{track}}
	if err := w.Initialize(); err != nil {
		t.Fatal(err)
	}
	for _, p := range clip.pictures {
		if err := w.WriteH264(track, p.pts+90000, p.dts+90000, p.payload); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func builtInClip(t testing.TB) *slateClip {
	t.Helper()
	file, err := builtInSlates.ReadFile("slate/hold-360p25-h264.mp4")
	if err != nil {
		t.Fatal(err)
	}
	clip, err := parseSlate(file)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// The same pictures are read from both containers, with the same times.
func TestSlateContainers(t *testing.T) {
	one := builtInClip(t)
	other, err := parseSlate(slateInMPEGTS(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(one.pictures) != 50 || len(other.pictures) != 50 || one.length != other.length || one.length != 2*videoClockRate {
		t.Fatalf("%d pictures, %d ticks; %d pictures, %d ticks", len(one.pictures), one.length, len(other.pictures), other.length)
	}
	for i := range one.pictures {
		if one.pictures[i].pts != other.pictures[i].pts || one.pictures[i].random != other.pictures[i].random {
			t.Errorf("picture %d: %+v, %+v", i, one.pictures[i], other.pictures[i])
		}
	}
}

// ffmpeg decodes silence of each channel configuration without a complaint, to
// zeros.
func TestSilence(t *testing.T) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("no ffmpeg: ", err)
	}
	tracks := map[string]Track{
		"Opus 1": {Codec: &codecs.Opus{ChannelCount: 1}, ClockRate: 48000},
		"Opus 2": {Codec: &codecs.Opus{ChannelCount: 2}, ClockRate: 48000},
	}
	for n := uint8(1); n <= 7; n++ {
		config := mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: n}
		tracks[fmt.Sprint("AAC ", n)] = Track{Codec: &codecs.MPEG4Audio{Config: config}, ClockRate: 48000}
	}
	for name, track := range tracks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quiet := silence(track.Codec)
			ticks := frameTicks(track.Codec, track.ClockRate, quiet)
			var frames []frame
			for n := range int64(20) {
				frames = append(frames, frame{dts: n * ticks, duration: ticks, random: true, payload: quiet})
			}
			init, err := initSegment(map[int]Track{audioID: track})
			if err != nil {
				t.Fatal(err)
			}
			part, err := partBytes(1, map[int][]frame{audioID: frames})
			if err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), program, "-hide_banner", "-loglevel", "warning", "-xerror", "-i", "pipe:0", "-f", "s16le", "pipe:1")
			var out, complaints bytes.Buffer
			c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(append(init, part...)), &out, &complaints
			if err := c.Run(); err != nil || complaints.Len() > 0 || out.Len() < 1000 || len(bytes.Trim(out.Bytes(), "\x00")) > 0 {
				t.Errorf("%v, %d bytes: %s", err, out.Len(), &complaints)
			}
		})
	}
	if silence(&codecs.Opus{ChannelCount: 6}) != nil || silence(&codecs.H264{}) != nil {
		t.Error("silence where none can be made")
	}
}
