package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"surgecast/origin"
)

// Rungs of one encoder come each as the configuration says: pushed, as MPEG-TS
// over UDP, and fetched by SRT.
func TestRungsFromSources(t *testing.T) {
	beside(t)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	e := rungEvening(t, setting{
		"streams.rungs",
		fmt.Sprintf(`[{name: "1080"}, {name: "720", udp: {port: %d, from: [127.0.0.1]}}, {name: "360", pull: {url: "srt://127.0.0.1:%d"}}]`, protocolUDP, protocolCalled),
	})
	command := []string{
		"ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1",
		"-i", filepath.Join(repository, "cmd/surgecast/clip/clip.mp4"),
	}
	for i, output := range [][]string{
		{"-map", "0:a", "-c:a", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", e.pushURL()},
		{"-f", "mpegts", fmt.Sprintf("udp://%s:%d?pkt_size=1316", e.first, protocolUDP)},
		{"-f", "mpegts", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener", protocolCalled)},
	} {
		command = append(command, "-map", "0:v", "-vf", fmt.Sprintf("scale=-2:%d", rungHeights[i]), "-c:v", "libx264", "-preset", "ultrafast",
			"-tune", "zerolatency", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-threads", "1")
		command = append(command, output...)
	}
	runEncoder(t, command)
	eventually(t, "all rungs are aligned and listed", func() error {
		rungs := e.origin.rungs()
		if len(rungs) != 3 {
			return errors.New("nothing is on air")
		}
		for i, want := range []origin.RungState{origin.RungLeads, origin.RungAligned, origin.RungAligned} {
			if r := rungs[i]; r.State != want || !r.Listed {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	})
}
