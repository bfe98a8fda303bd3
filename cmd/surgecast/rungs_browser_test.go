package main

import (
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rungHeights are those of the rungs that rungEvening has.
var rungHeights = []int{360, 240, 120}

const rungNames = `[{name: "1080"}, {name: "720"}, {name: "360"}]`

// rungEvening is an origin with a stream of three rungs, and a relay; ffmpeg
// pushes all rungs from one process.
func rungEvening(t *testing.T, more ...setting) *evening {
	t.Helper()
	e := &evening{first: someLoopback(), logs: t.TempDir()}
	e.dir = newPoolDir(t, poolSettings{
		Origin:     e.first,
		OriginMore: append([]setting{{"dns.port", "5300"}, {"drain", "0s"}}, more...),
		RelayMore:  []setting{{"drain", "0s"}},
	})
	config, err := loadOriginConfig(filepath.Join(e.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	e.origin, err = newOriginNode(t.Context(), config, nodeOptions{Address: e.first, Env: realEnvironment(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "origin", e.origin.Run)
	e.startRelay(t, 1)
	e.addReady(t, 1, &roster{})
	return e
}

// pushRungs pushes so many of the rungs until the test ends.
func (e *evening) pushRungs(t *testing.T, rungs int) {
	t.Helper()
	args := []string{
		"-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1",
		"-i", filepath.Join(repository, "cmd/surgecast/clip/clip.mp4"),
	}
	for i, height := range rungHeights[:rungs] {
		args = append(args, "-map", "0:v", "-vf", fmt.Sprintf("scale=-2:%d", height), "-c:v", "libx264", "-preset", "ultrafast",
			"-tune", "zerolatency", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-threads", "1", "-b:v", fmt.Sprintf("%dk", 3*height))
		if i == 0 {
			args = append(args, "-map", "0:a", "-c:a", "copy")
		}
		args = append(args, "-f", "rtsp", "-rtsp_transport", "tcp", e.pushURL()+"/"+[]string{"1080", "720", "360"}[i])
	}
	c := exec.Command("ffmpeg", args...)
	c.Stderr = t.Output()
	if err := c.Start(); err != nil {
		t.Skip("no ffmpeg: ", err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

// TestRungsInARealPlayer lets hls.js go up and down through three rungs, pushed
// or made by a ladder, without a gap in what it has buffered and without a stop.
func TestRungsInARealPlayer(t *testing.T) {
	if !proving() {
		t.Skip("a minute of a real encoder and a real player: SURGECAST_PROVE=1")
	}
	for _, c := range []struct {
		name   string
		pushed int
		more   []setting
	}{
		{"pushed", 3, []setting{{"streams.rungs", rungNames}}},
		{"ladder", 1, []setting{
			{"streams.rungs", `[{name: "1080"}, {name: "720", height: 240, bitrate: 700kbit/s}, {name: "360", height: 120, bitrate: 300kbit/s}]`},
			{"streams.ladder", "ffmpeg"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := rungEvening(t, c.more...)
			e.pushRungs(t, c.pushed)
			index := e.url(1) + "/theatre/index.m3u8"
			for deadline := time.Now().Add(30 * time.Second); getOK(t.Context(), index) != nil; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the stream is not on air")
				}
			}
			view := openLossPage(t, index)
			view.await("hls.js plays", `state === 'playing' && video.currentTime > 3`)
			if levels := view.eval(`hls.levels.map(l => l.height).join(' ')`); levels != "120 240 360" {
				t.Fatalf("levels: %s", levels)
			}
			view.eval(`(seen.holes = 0, setInterval(() => { if (video.buffered.length > 1) seen.holes++; }, 20), '')`)
			before := view.look(t)
			var took []string
			for _, level := range []int{0, 1, 2, 0, 2, 1, 0, 2} {
				height := []int{120, 240, 360}[level]
				began := time.Now()
				view.eval(fmt.Sprintf(`(hls.loadLevel = %d, '')`, level))
				view.await(fmt.Sprintf("the picture has %d lines", height), fmt.Sprintf(`video.videoHeight === %d`, height))
				took = append(took, fmt.Sprintf("%d in %.1f s", height, time.Since(began).Seconds()))
				time.Sleep(3 * time.Second)
			}
			after, holes := view.look(t), view.eval(`String(seen.holes)`)
			t.Logf("%s; %s holes, frozen %.2f s, jumped %.1f s, %.1f s behind live, errors %v", strings.Join(took, ", "), holes,
				after.Frozen-before.Frozen, after.Jumped-before.Jumped, after.Latency, after.Errors)
			if holes != "0" || after.Frozen-before.Frozen > 0.3 || after.Jumped > before.Jumped || after.Back > before.Back || after.Fatal != "" {
				t.Errorf("%+v, %s holes", after, holes)
			}
		})
	}
}
