package origin_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"surgecast/origin/origintest"
	"surgecast/relay"
)

// checkMediaTime parses all parts: each track's decode time goes on where the
// part before ended, or later, never earlier; sequence numbers count on.
func checkMediaTime(t *testing.T, s *stage) (holes int) {
	t.Helper()
	next := map[int]uint64{}
	var sequence uint32
	for _, name := range s.parts() {
		var parts fmp4.Parts
		if err := parts.Unmarshal(s.objects[name].Body); err != nil {
			t.Fatalf("%v: %v", name, err)
		}
		if len(parts) != 1 || parts[0].SequenceNumber != sequence+1 {
			t.Fatalf("%v: %d fragments, sequence number after %d", name, len(parts), sequence)
		}
		sequence = parts[0].SequenceNumber
		for _, track := range parts[0].Tracks {
			if track.BaseTime < next[track.ID] {
				t.Fatalf("%v: track %d goes back from %d to %d", name, track.ID, next[track.ID], track.BaseTime)
			}
			if track.BaseTime > next[track.ID] {
				holes++
			}
			next[track.ID] = track.BaseTime
			for _, sample := range track.Samples {
				next[track.ID] += uint64(sample.Duration)
			}
		}
	}
	return holes
}

func TestMediaTimeIsContinuous(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		for i, fps := range []float64{29.97, 50, 23.976} {
			source := &origintest.Source{FPS: fps, GOP: 50, Audio: true}
			p := s.publish(source)
			s.play(p, source, 7300*time.Millisecond)
			p.Close()
			s.look()
			// A new run begins up to a tick and an audio frame after the end of
			// the one before; within a run there is no hole.
			if holes := checkMediaTime(t, s); holes > 2*i {
				t.Errorf("%d holes after %d runs", holes, i+1)
			}
		}
	})
}

func TestKeyFramesAreSyncSamples(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 25, GOP: 50, Audio: true}
		s.play(s.publish(source), source, 7*time.Second)
		independent := map[relay.MediaName]bool{}
		for _, v := range s.versions {
			for _, segment := range append(v.Playlist.Segments, v.Playlist.Open) {
				for _, part := range segment.Parts {
					independent[part.Name] = part.Independent
				}
			}
		}
		for _, name := range s.parts() {
			var parts fmp4.Parts
			if err := parts.Unmarshal(s.objects[name].Body); err != nil {
				t.Fatal(err)
			}
			sync := false
			for i, sample := range parts[0].Tracks[0].Samples {
				sync = sync || !sample.IsNonSyncSample
				if !sample.IsNonSyncSample && (i > 0 || name.Part > 0) {
					t.Errorf("%v: a key frame within", name)
				}
			}
			if sync != independent[name] {
				t.Errorf("%v: has a key frame: %v, INDEPENDENT: %v", name, sync, independent[name])
			}
		}
	})
}

// Pictures that are shown in another order than they are decoded in: I P B B.
func TestCompositionOffsets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 25, GOP: 100, Audio: true}
		p := s.publish(source)
		n := 0
		for range 100 {
			for _, u := range source.Next() {
				if u.Track == 0 {
					u.PTS += []int64{2, 4, 1, 1}[n%4] * 3600
					u.WallTime = u.WallTime.Add(time.Duration([]int64{2, 4, 1, 1}[n%4]) * 40 * time.Millisecond)
					n++
				}
				if err := p.Write(u); err != nil {
					t.Fatal(err)
				}
				s.look()
			}
		}
		p.Close()
		list := s.newest()
		// The first picture is shown 0.08 s after the zero of both tracks.
		begin := source.Start.Add(80 * time.Millisecond)
		for i, segment := range list.Segments {
			if !segment.ProgramDateTime.Equal(begin) {
				t.Errorf("segment %d: date %v, want %v", i, segment.ProgramDateTime, begin)
			}
			begin = begin.Add(segment.Duration)
		}
		var offsets []int32
		for _, name := range s.parts() {
			var parts fmp4.Parts
			if err := parts.Unmarshal(s.objects[name].Body); err != nil {
				t.Fatal(err)
			}
			for _, sample := range parts[0].Tracks[0].Samples {
				offsets = append(offsets, sample.PTSOffset)
			}
			video, audio := parts[0].Tracks[0], parts[0].Tracks[1]
			shown, heard := float64(video.BaseTime)/90000+0.08, float64(audio.BaseTime)/48000
			// The source sends sound at its time and pictures at their DTS, 0.08 s
			// before they are shown: sound misses the part by no more than that.
			if lead := heard - shown; lead < -0.08-0.022 || lead > 0.022 {
				t.Errorf("%v: sound begins %.3f s after the picture", name, lead)
			}
		}
		for i, offset := range offsets {
			if want := []int32{7200, 14400, 3600, 3600}[i%4]; offset != want {
				t.Fatalf("picture %d: offset %d, want %d", i, offset, want)
			}
		}
		if len(offsets) != 100 {
			t.Errorf("%d pictures", len(offsets))
		}
	})
}

// What RTP carries is PTS: the decode times of the first pictures can be closer
// together than they should. Dates follow what is shown.
func TestDatesFollowWhatIsShown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 25, GOP: 50}
		p := s.publish(source)
		for i := range int64(120) {
			u := source.Next()[0]
			if i > 0 {
				u.DTS -= 3600
			}
			if i == 1 {
				u.DTS = 1800
			}
			if err := p.Write(u); err != nil {
				t.Fatal(err)
			}
		}
		list := s.newest()
		for i, segment := range list.Segments {
			if want := source.Start.Add(time.Duration(i) * 2 * time.Second); !segment.ProgramDateTime.Equal(want) {
				t.Errorf("segment %d of %v: date %v, want %v", i, segment.Duration, segment.ProgramDateTime, want)
			}
		}
		if first := list.Segments[0].Duration; first != 1960*time.Millisecond {
			t.Errorf("first segment of %v", first)
		}
	})
}

func TestFFmpegReadsIt(t *testing.T) {
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("no ffprobe")
	}
	file := filepath.Join(t.TempDir(), "live.mp4")
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		source := &origintest.Source{FPS: 29.97, GOP: 60, Audio: true}
		s.play(s.publish(source), source, 7*time.Second)
		list := s.newest()
		media := s.objects[list.Segments[0].Map].Body
		for _, segment := range list.Segments {
			media = append(media, s.objects[segment.Name].Body...)
		}
		if err := os.WriteFile(file, media, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	probe := exec.Command(ffprobe, "-v", "warning", "-count_frames", "-show_entries",
		"stream=codec_name,width,height,channels,avg_frame_rate,nb_read_frames", "-of", "compact=p=0", file)
	out, err := probe.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "codec_name=h264|width=64|height=48|avg_frame_rate=30000/1001|nb_read_frames=180\n" +
		"codec_name=aac|channels=2|avg_frame_rate=0/0|nb_read_frames=282\n"
	if string(out) != want {
		t.Errorf("ffprobe: got\n%s\nwant\n%s", out, want)
	}
	decode := exec.Command(strings.Replace(ffprobe, "ffprobe", "ffmpeg", 1), "-v", "warning", "-xerror", "-i", file, "-f", "null", "-")
	if out, err := decode.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v: %s", err, out)
	}
}
