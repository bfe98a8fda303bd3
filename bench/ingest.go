package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What encoders push: moving pictures with noise, at a constant rate, a key
// picture a second, each picture one slice.
var films = map[string]string{
	"house": "-f lavfi -i testsrc2=s=1280x720:r=30,noise=alls=20:allf=t -frames:v 60 -b:v 11500k -maxrate 11500k -bufsize 1M -g 30",
	"ward":  "-f lavfi -i testsrc2=s=640x360:r=30,noise=alls=40:allf=t -frames:v 60 -b:v 5350k -maxrate 5350k -bufsize 500k -g 30",
	"large": "-f lavfi -i testsrc2=s=3840x2160:r=60,noise=alls=7:allf=t -frames:v 60 -b:v 47M -maxrate 47M -bufsize 5M -g 60",
}

const filmForm = " -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -keyint_min 30 -sc_threshold 0 -x264-params sliced-threads=0:slices=1"

const (
	// ingestLasting is how long each protocol is measured.
	ingestLasting = 5 * time.Second
	// heavyLasting is for what must keep up.
	heavyLasting = 10 * time.Second
	// listingLasting is for the latency: 100 parts.
	listingLasting = 20 * time.Second

	manyStreams = 20
)

// What is promised.
const (
	goalListing = 5 // ms, the 99th percentile
	goalCPU     = 1 // core, as GOMAXPROCS says: beyond it nothing keeps up
)

// ingestProtocols is what it costs to take 10 Mbit/s in by each protocol, and to
// package them; and how soon a part is listed.
func ingestProtocols(ctx context.Context, s *session) ([]figure, error) {
	return runIngest(ctx, s, "house", (*ingestBench).protocols)
}

// ingestLarge is 4K with 60 pictures a second and 40 Mbit/s, on one thread.
func ingestLarge(ctx context.Context, s *session) ([]figure, error) {
	return runIngest(ctx, s, "large", func(b *ingestBench, ctx context.Context) ([]figure, error) {
		return b.heavy(ctx, "4K60", 60, 1)
	})
}

// ingestMany are twenty streams of 5 Mbit/s, on one thread.
func ingestMany(ctx context.Context, s *session) ([]figure, error) {
	return runIngest(ctx, s, "ward", func(b *ingestBench, ctx context.Context) ([]figure, error) {
		return b.heavy(ctx, fmt.Sprintf("%d × 5 Mbit/s", manyStreams), 30, manyStreams)
	})
}

func runIngest(ctx context.Context, s *session, film string, run func(*ingestBench, context.Context) ([]figure, error)) ([]figure, error) {
	dir, err := os.MkdirTemp("", "surgecast-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := &ingestBench{session: s, dir: dir}
	if b.film, err = makeFilm(ctx, films[film]); err != nil {
		return nil, err
	}
	defer b.stop()
	figures, err := run(b, ctx)
	for _, f := range figures {
		s.say(f)
	}
	return figures, err
}

// makeFilm makes a film as it is sent by RTSP, and beside it a file that ffmpeg
// can begin again. What an earlier run has made is taken.
func makeFilm(ctx context.Context, arguments string) (file string, err error) {
	arguments += filmForm
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("surgecast-films-%x", sha256.Sum256([]byte(arguments)))[:32])
	file = filepath.Join(dir, "film.h264")
	if _, err := os.Stat(file + ".mp4"); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for _, one := range []string{arguments + " -f h264 " + file, "-r 30 -i " + file + " -c copy " + file + ".part.mp4"} {
		all := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-y"}, strings.Fields(one)...)
		if text, err := exec.CommandContext(ctx, "ffmpeg", all...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("make a film with ffmpeg: %w: %s", err, text)
		}
	}
	return file, os.Rename(file+".part.mp4", file+".mp4")
}

// ingestBench is an origin without relays, and who pushes to it.
type ingestBench struct {
	*session
	dir    string
	film   string
	origin *node
	key    string
	bearer string
}

// streamNames of so many.
func streamNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("theatre%d", i)
	}
	return names
}

// Where encoders push to the bench's origin, besides RTSP.
const (
	rtspsPort = "18322"
	rtmpPort  = "11935"
	rtmpsPort = "11936"
	srtPort   = "18890"
	udpPort   = "15000"
)

// start starts an origin with streams, on a core of its own, with so many
// threads for Go; 0: as many as there are cores.
func (b *ingestBench) start(ctx context.Context, streams, threads int) error {
	dir := filepath.Join(b.dir, "pool"+strconv.Itoa(streams)+strconv.Itoa(threads))
	names := streamNames(streams)
	if text, err := exec.CommandContext(ctx, b.binary, "init", dir, "--stream", names[0]).CombinedOutput(); err != nil {
		return fmt.Errorf("make the pool's files: %w: %s", err, text)
	}
	tls, err := newCredentials(dir)
	if err != nil {
		return err
	}
	settings := append([]setting{
		{"encoder_tls.cert_file", tls.certificate},
		{"encoder_tls.key_file", tls.key},
		{"rtsp.tls_port", rtspsPort},
		{"rtmp.port", rtmpPort},
		{"rtmp.tls_port", rtmpsPort},
		{"srt.port", srtPort},
		{"drain", "0s"},
	}, poolPorts...)
	var more strings.Builder
	for _, name := range names[1:] {
		fmt.Fprintf(&more, "  - name: %s\n    publish_key_file: %s.key\n", name, names[0])
	}
	fmt.Fprintf(&more, "  - name: house\n    publish_key_file: %s.key\n    udp:\n      port: %s\n      from: [%s]\n", names[0], udpPort, originHost)
	if err := rewrite(filepath.Join(dir, "origin.yaml"), settings, more.String()); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(dir, names[0]+".key"))
	if err != nil {
		return err
	}
	b.key = strings.TrimSpace(string(key))
	if b.bearer, err = bearer(filepath.Join(dir, "pool.secret")); err != nil {
		return err
	}
	program := []string{b.binary}
	if threads > 0 {
		program = []string{"env", "GOMAXPROCS=" + strconv.Itoa(threads), b.binary}
	}
	b.origin, err = startNodeAs(ctx, dir, program, "origin", originHost, "origin", serverCore)
	return err
}

func (b *ingestBench) stop() {
	b.origin.stop()
	b.origin = nil
}

// pushed is what was measured while something was pushed.
type pushed struct {
	publishEvent
	cores float64 // CPU time of the origin for each second
}

// perMbit is milliseconds of CPU time for each megabit.
func (p pushed) perMbit() float64 { return p.cores * 1000 / (p.BitsPerSecond / 1e6) }

// publish pushes a film by RTSP.
func (b *ingestBench) publish(ctx context.Context, fps int, names []string, url, transport, lists string, lasting time.Duration) (pushed, error) {
	var result pushed
	c, err := startChild(ctx, loadCore, "publish", "-clip", b.film, "-fps", strconv.Itoa(fps), "-streams", strings.Join(names, ","),
		"-url", url, "-transport", transport, "-lasting", lasting.String(), "-lists", lists, "-bearer", b.bearer)
	if err != nil {
		return result, err
	}
	defer c.kill()
	if err := c.next(&result.publishEvent); err != nil {
		return result, err
	}
	before, began, err := b.cpu()
	if err != nil {
		return result, err
	}
	if err := c.next(&result.publishEvent); err != nil {
		return result, errors.Join(err, b.origin.alive())
	}
	after, ended, err := b.cpu()
	result.cores = float64(after-before) / float64(ended.Sub(began))
	return result, err
}

func (b *ingestBench) cpu() (time.Duration, time.Time, error) {
	used, err := cpuTime(b.origin.pid())
	return used, time.Now(), err
}

// protocols pushes the same 10 Mbit/s by each. Without a feed an origin uses
// next to nothing, so that is not taken off.
func (b *ingestBench) protocols(ctx context.Context) ([]figure, error) {
	if err := b.start(ctx, 1, 0); err != nil {
		return nil, err
	}
	defer b.stop()
	at := func(scheme, port string) string {
		return fmt.Sprintf("%s://publish:%s@%s:%s", scheme, b.key, originHost, port)
	}
	var figures []figure
	for _, way := range []struct{ name, url, transport string }{
		{"RTSP", at("rtsp", rtspPort), "tcp"}, {"RTSP by UDP", at("rtsp", rtspPort), "udp"}, {"RTSPS", at("rtsps", rtspsPort), "tcp"},
	} {
		lasting, lists := ingestLasting, ""
		if len(figures) == 0 {
			lasting, lists = listingLasting, originURL
		}
		result, err := b.publish(ctx, 30, streamNames(1), way.url, way.transport, lists, lasting)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		figures = append(figures, costOf(way.name, result))
		if lasting == listingLasting {
			figures = append(figures, listing("10 Mbit/s", result))
		}
	}
	for _, way := range []struct{ name, form, url string }{
		{"RTMP", "flv", fmt.Sprintf("rtmp://%s:%s/house/%s", originHost, rtmpPort, b.key)},
		{"RTMPS", "flv", fmt.Sprintf("rtmps://%s:%s/house/%s", originHost, rtmpsPort, b.key)},
		{"SRT", "mpegts", fmt.Sprintf("srt://%s:%s?streamid=publish:house:%s", originHost, srtPort, b.key)},
		{"MPEG-TS by UDP", "mpegts", fmt.Sprintf("udp://%s:%s?pkt_size=1316", originHost, udpPort)},
	} {
		result, err := b.ffmpeg(ctx, way.form, way.url)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		figures = append(figures, costOf(way.name, result))
	}
	return figures, nil
}

func costOf(name string, p pushed) figure {
	return figure{
		name: "ingest by " + name + ", CPU per Mbit", ours: sample{p.perMbit()}, unit: "ms", goal: noGoal,
		note: fmt.Sprintf("%s Mbit/s, packaging included", number(p.BitsPerSecond/1e6)),
	}
}

func listing(of string, p pushed) figure {
	return figure{
		name: "packet to listing p99, " + of, ours: sample{p.P99}, unit: "ms", goal: goalListing,
		note: fmt.Sprintf("p50 %s, most %s, %d parts, load up to %s late", number(p.P50), number(p.Max), p.Parts, number(p.BehindMS)),
	}
}

// ffmpeg pushes the house film; the origin says how much it got.
func (b *ingestBench) ffmpeg(ctx context.Context, form, url string) (result pushed, err error) {
	feed, err := startProcess(b.dir, "feed-"+form, loadCore, "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin",
		"-re", "-stream_loop", "-1", "-i", b.film+".mp4", "-c", "copy", "-f", form, url)
	if err != nil {
		return result, err
	}
	defer feed.end()
	if err := pause(ctx, publishSettle); err != nil {
		return result, err
	}
	before, began, err := b.cpu()
	if err != nil {
		return result, err
	}
	if err := pause(ctx, ingestLasting); err != nil {
		return result, err
	}
	after, ended, err := b.cpu()
	if err := errors.Join(err, feed.alive(), b.origin.alive()); err != nil {
		return result, err
	}
	result.cores = float64(after-before) / float64(ended.Sub(began))
	result.BitsPerSecond, err = b.origin.metric(ctx, `surgecast_feed_bits_per_second{input="primary",stream="house"}`)
	return result, err
}

// heavy pushes to as many streams, at one thread of Go.
func (b *ingestBench) heavy(ctx context.Context, name string, fps, streams int) ([]figure, error) {
	if err := b.start(ctx, streams, 1); err != nil {
		return nil, err
	}
	defer b.stop()
	result, err := b.publish(ctx, fps, streamNames(streams), fmt.Sprintf("rtsp://publish:%s@%s:%s", b.key, originHost, rtspPort), "tcp", originURL, heavyLasting)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return []figure{
		{
			name: "ingest of " + name + ", GOMAXPROCS=1, cores", ours: sample{result.cores}, goal: goalCPU,
			note: fmt.Sprintf("%s Mbit/s, %s ms per Mbit", number(result.BitsPerSecond/1e6), number(result.perMbit())),
		},
		listing(name+", GOMAXPROCS=1", result),
		{name: "late parts, " + name + ", GOMAXPROCS=1", ours: sample{float64(result.Late)}, goal: 0, note: fmt.Sprintf("of %d, over %v", result.Parts, lateListing)},
	}, nil
}
