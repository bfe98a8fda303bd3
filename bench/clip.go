package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// clip is a film that is pushed again and again: what makes it with ffmpeg.
type clip string

const (
	// builtIn is the product's own film, which "surgecast feed" pushes: 640 × 360,
	// 600 kbit/s of H.264 and AAC, a key picture a second, parts of 200 ms. Its
	// sender keeps to the clock within a few milliseconds; ffmpeg's is up to
	// 30 ms off, which would be taken for the relay's delay.
	builtIn clip = ""
	// longClip is like it with a key picture each 2 s, for a list of few segments.
	// 16 s are whole video frames and whole audio frames, so that the clip can be
	// repeated without a seam.
	longClip clip = "-f lavfi -i testsrc2=s=640x360:r=30,noise=alls=12:allf=t -f lavfi -i sine=f=440:r=48000" +
		" -frames:v 480 -frames:a 750 -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0" +
		" -b:v 510k -minrate 510k -maxrate 510k -bufsize 255k -c:a aac -b:a 80k"
	// largeClip has parts of 0.2 s and 125 kB, and segments of 2 s and 1.3 MB.
	largeClip clip = "-f lavfi -i testsrc2=s=640x360:r=30,noise=alls=60:allf=t" +
		" -frames:v 360 -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0" +
		" -b:v 5150k -minrate 5150k -maxrate 5150k -bufsize 600k"
	// hugeClip has segments of 2 s and more than 4 MiB.
	hugeClip clip = "-f lavfi -i testsrc2=s=640x360:r=30,noise=alls=80:allf=t" +
		" -frames:v 120 -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0" +
		" -b:v 17800k -minrate 17800k -maxrate 17800k -bufsize 2000k"
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
func (c clip) push(dir, binary, stream, url string) (*process, error) {
	if c == builtIn {
		return startProcess(dir, "feed-"+stream, loadCore, binary, "feed", url)
	}
	file, err := c.make(dir, "film-"+stream)
	if err != nil {
		return nil, err
	}
	return startProcess(dir, "feed-"+stream, loadCore, "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin",
		"-re", "-stream_loop", "-1", "-i", file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", url)
}
