package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// clip is a made-up film that ffmpeg pushes again and again.
type clip string

var (
	// A viewer's stream: 640 × 360 at 30 fps, 600 kbit/s with AAC, a key picture
	// a second. 16 s are whole video frames and whole audio frames, so that the
	// clip can be repeated without a seam.
	smallClip clip = "-f lavfi -i testsrc2=s=640x360:r=30,noise=alls=12:allf=t -f lavfi -i sine=f=440:r=48000" +
		" -frames:v 480 -frames:a 750 -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 30 -keyint_min 30 -sc_threshold 0" +
		" -b:v 510k -minrate 510k -maxrate 510k -bufsize 255k -c:a aac -b:a 80k"
	// The same with a key picture each 2 s, for a list of few segments.
	longClip = clip(strings.NewReplacer("-g 30", "-g 60", "-keyint_min 30", "-keyint_min 60").Replace(string(smallClip)))
	// One whose parts of 0.2 s have 125 kB and whose segments of 2 s have 1.3 MB.
	largeClip clip = "-f lavfi -i testsrc2=s=640x360:r=30,noise=alls=60:allf=t" +
		" -frames:v 360 -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0" +
		" -b:v 5150k -minrate 5150k -maxrate 5150k -bufsize 600k"
)

// make encodes the clip into dir, or takes what is there.
func (c clip) make(dir, name string) (string, error) {
	file := filepath.Join(dir, name+".mp4")
	arguments := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-y"}, strings.Fields(string(c))...)
	if text, err := exec.Command("ffmpeg", append(arguments, file)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make a clip with ffmpeg: %w: %s", err, text)
	}
	return file, nil
}

// push sends a clip to the origin until the process is ended.
func push(dir, stream, file, url string) (*process, error) {
	return startProcess(dir, "feed-"+stream, loadCore, "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin",
		"-re", "-stream_loop", "-1", "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", url)
}
