package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readTime is how long ffmpeg reads from each relay: half a minute in the long
// run, a glance in the short one.
func readTime() time.Duration {
	return sized(3*time.Second, 30*time.Second)
}

// ffmpeg pushes a film by RTSP, over TCP and over UDP; ffprobe and ffmpeg read
// it from each relay and find nothing to complain of.
func TestFFmpegPushesAndReads(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 30 s")
	}
	shortly(t)
	pushAndRead(t)
}

func pushAndRead(t *testing.T) {
	film := makeFilm(t)
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			beside(t)
			e := newQuietEvening(t)
			pushFilm(t, film, transport, e.pushURL())
			e.startRelay(t, 1)
			e.startRelay(t, 2)
			eventually(t, "two relays are named", e.named(t, 1, 2))
			// The players are thrown at a window that has what they begin with.
			e.awaitSegments(t, 4)
			t.Run("read", func(t *testing.T) {
				for n := 1; n <= 2; n++ {
					url := e.url(n) + "/theatre/index.m3u8"
					t.Run(fmt.Sprintf("relay %d", n), func(t *testing.T) {
						t.Parallel()
						probe(t, url)
						read(t, url, readTime())
					})
				}
			})
		})
	}
}

// makeFilm makes a film with B-frames, a key frame each two seconds at
// 29.97 frames/s, and sound.
func makeFilm(t *testing.T) string {
	film := filepath.Join(t.TempDir(), "film.mp4")
	command(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30000/1001",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "12",
		"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "60", "-pix_fmt", "yuv420p", "-b:v", "600k",
		"-c:a", "aac", "-b:a", "96k", film)
	return film
}

// pushFilm pushes in a loop, in real time, until the test ends.
func pushFilm(t *testing.T, film, transport, url string) {
	push := exec.Command("ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", film,
		"-c", "copy", "-f", "rtsp", "-rtsp_transport", transport, url)
	var complaint bytes.Buffer
	push.Stderr = &complaint
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// An error would mean that it has ended by itself, which its log tells.
		_ = push.Process.Kill()
		_ = push.Wait()
		if t.Failed() {
			t.Logf("the pushing ffmpeg: %s", complaint.Bytes())
		}
	})
}

// probe looks at what a player is told of the stream.
func probe(t *testing.T, url string) {
	out := command(t, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height,sample_rate", "-of", "csv=p=0", url)
	for _, want := range []string{"h264,640,360", "aac,48000"} {
		if !strings.Contains(out, want) {
			t.Errorf("ffprobe finds %q, want %s in it", out, want)
		}
	}
}

// backlog is what a player finds in the window: it begins three segments back.
const backlog = 6 * time.Second

// moved is what ffmpeg says when it opens another pathway, as an error, and
// then a warning: it makes a new connection.
var moved = []string{"Cannot reuse HTTP connection for different host", "keepalive request failed for"}

// goesElsewhere tells whether a line of ffmpeg's says so.
func goesElsewhere(line string) bool {
	return slices.ContainsFunc(moved, func(text string) bool { return strings.Contains(line, text) })
}

// read decodes the backlog and then a while of the stream as it comes; any
// error ends it.
func read(t *testing.T, url string, d time.Duration) {
	began := time.Now()
	out := command(t, "ffmpeg", "-v", "error", "-xerror", "-i", url,
		"-t", strconv.Itoa(int((backlog + d).Seconds())), "-f", "null", "-")
	for line := range strings.Lines(out) {
		if !goesElsewhere(line) {
			t.Errorf("ffmpeg complains: %s", line)
		}
	}
	t.Logf("read %v in %v", d, time.Since(began).Round(time.Second))
}

// command runs a program that must succeed, and returns what it printed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}
