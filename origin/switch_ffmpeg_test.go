package origin_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
)

// One encoder feeds two pushers through ffmpeg's tee, and the one on air is
// killed: of the file not a unit is missing, none comes twice, and viewers see
// no discontinuity.
func TestHitlessFromFFmpeg(t *testing.T) {
	t.Parallel()
	hitless(t, 6, 1, "rtsp", "rtsp")
}

// Ten deaths in turn, of pushers that come by several protocols.
func TestHitlessAgainAndAgain(t *testing.T) {
	if os.Getenv("SURGECAST_PROVE") == "" {
		t.Skip("takes a minute each: make prove")
	}
	for _, protocols := range [][2]string{{"rtsp", "rtsp"}, {"rtmp", "srt"}, {"rtsp", "rtmp"}} {
		t.Run(strings.Join(protocols[:], " and "), func(t *testing.T) {
			t.Parallel()
			hitless(t, 75, 10, protocols[0], protocols[1])
		})
	}
}

func hitless(t *testing.T, seconds, deaths int, primary, backup string) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds+20)*time.Second)
	defer cancel()
	file := filepath.Join(t.TempDir(), "source.mp4")
	tools := tools{ffmpeg, file, seconds}
	if deaths > 1 {
		if output, err := exec.CommandContext(ctx, ffmpeg, tools.encode("", file)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	store := relay.NewStore()
	o, err := origin.New(origin.Config{
		Dir: t.TempDir(), AuthorityKey: authority, Store: store, Logger: logger,
		Window:  5 * time.Minute, // all of it
		Streams: []origin.StreamConfig{{Name: "theatre", PublishKey: "curtain"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	runBeside(ctx, t, o.Run)
	gate := origin.NewGate(origin.GateConfig{Origin: o, Logger: logger})
	urls := listenAll(ctx, t, gate)
	pushers := []*pusher{{protocol: primary, url: urls(primary, "theatre")}, {protocol: backup, url: urls(backup, "theatre/backup")}}
	began := time.Now()
	input := func() []string { // each pusher reads the file for itself, from where the other is
		return []string{"-re", "-ss", fmt.Sprintf("%.3f", time.Since(began).Seconds()), "-i", file}
	}
	if deaths == 1 {
		input = func() []string { return []string{"-f", "matroska", "-i", "pipe:0"} }
	}
	for _, p := range pushers {
		p.ffmpeg, p.said = ffmpeg, &log
		p.start(ctx, t, input())
	}
	encoded := make(chan struct{})
	if deaths == 1 {
		go tools.tee(ctx, t, encoded, pushers)
	} else {
		close(encoded)
	}
	silence := make(chan time.Duration, 1)
	published := store.Stream("theatre").Window("main")
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() { silence <- longestSilence(watching, published) }()
	for n := range deaths {
		onAir := await(ctx, t, gate, &log)
		if n%2 == 1 { // the line hangs before it breaks
			_ = pushers[onAir].command.Process.Signal(syscall.SIGSTOP)
			awaitSwitch(ctx, t, gate, &log, onAir)
		}
		pushers[onAir].kill()
		if deaths > 1 {
			awaitSwitch(ctx, t, gate, &log, onAir)
			pushers[onAir].start(ctx, t, input())
		}
	}
	for _, p := range pushers {
		if p.command.ProcessState == nil { // else it was killed
			if err := p.command.Wait(); err != nil {
				t.Errorf("%s: %v", p.protocol, err)
			}
			stop() // with the first end the programme may stand
		}
	}
	<-encoded
	awaitNoFeeds(ctx, t, gate)

	in, err := origintest.CodedFile(file, equalStart)
	if err != nil {
		t.Fatal(err)
	}
	discontinuities := 0
	for _, segment := range published.Version().Playlist.Segments {
		if segment.Discontinuity {
			discontinuities++
		}
	}
	out, err := origintest.CodedWindow(ctx, published)
	if err != nil {
		t.Fatal(err)
	}
	c, err := origintest.Compare(in, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	// All that came out is one unbroken piece of the file, so none is missing
	// between and none is there twice.
	missing := c.PicturesBefore + c.PicturesAfter
	changes := strings.Count(log.String(), "hitless=true")
	t.Logf("%d changes, %d killed: %d of %d pictures and %d of %d sounds came out: missing %d, duplicate 0, discontinuities %d, sound off by %v; no news for %v at most",
		changes, deaths, len(out.Pictures), len(in.Pictures), len(out.Sounds), len(in.Sounds), missing, discontinuities, c.Offset, <-silence)
	if changes < deaths || strings.Contains(log.String(), "hitless=false") || missing != 0 || discontinuities != 0 || c.SoundsAfter > 30 || c.Offset.Abs() > 3*time.Millisecond {
		t.Errorf("%+v\n%s", c, &log)
	}
}

// listenAll opens the listeners, and returns how a pusher calls them.
func listenAll(ctx context.Context, t *testing.T, gate *origin.Gate) func(protocol, stream string) string {
	t.Helper()
	rtsp, err := origin.NewRTSP(origin.RTSPConfig{Listen: "127.0.0.1:0", UDPRTP: "127.0.0.1:0", Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	rtmp, err := origin.NewRTMP(origin.RTMPConfig{Listen: "127.0.0.1:0", Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	srt, err := origin.NewSRT(origin.SRTConfig{Listen: "127.0.0.1:0", Latency: origin.DefaultSRTLatency, Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	runBeside(ctx, t, rtsp.Run)
	runBeside(ctx, t, rtmp.Run)
	runBeside(ctx, t, srt.Run)
	return func(protocol, stream string) string {
		switch protocol {
		case "rtmp":
			return "rtmp://" + rtmp.Addr().String() + "/" + stream + "/curtain"
		case "srt":
			return "srt://" + srt.Addr().String() + "?streamid=publish:" + stream + ":curtain"
		}
		return "rtsp://publish:curtain@" + rtsp.Addr().String() + "/" + stream
	}
}

// await waits until one input is on air and the other stands by with the same
// bytes, and returns which is on air.
func await(ctx context.Context, t *testing.T, gate *origin.Gate, log *lockedBuffer) (onAir int) {
	t.Helper()
	for {
		var found [2]*origin.Standing
		for _, f := range gate.Feeds() {
			if f.Standing != nil && f.Standing.Input == origin.Backup {
				found[1] = f.Standing
			} else if f.Standing != nil {
				found[0] = f.Standing
			}
		}
		for i, f := range found {
			if other := found[1-i]; f != nil && other != nil && f.OnAir && other.Bytes == origin.SameYes && !other.Silent && !other.Gone {
				return i
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the inputs are not the same:\n%s", log)
		}
	}
}

// awaitSwitch waits until an input is not on air any more.
func awaitSwitch(ctx context.Context, t *testing.T, gate *origin.Gate, log *lockedBuffer, was int) {
	t.Helper()
	name := []origin.Input{origin.Primary, origin.Backup}[was]
	for {
		for _, f := range gate.Feeds() {
			if f.Standing != nil && f.Standing.OnAir && f.Standing.Input != name {
				return
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("nothing takes over from the %s:\n%s", name, log)
		}
	}
}

// longestSilence is the longest time without a new version of a list, until ctx
// ends.
func longestSilence(ctx context.Context, w *relay.Window) (longest time.Duration) {
	last, since := w.Version(), time.Now()
	for ctx.Err() == nil {
		if v := w.Version(); v != last {
			if last != nil {
				longest = max(longest, time.Since(since))
			}
			last, since = v, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return longest.Round(10 * time.Millisecond)
}

// tools make what is pushed.
type tools struct {
	ffmpeg, file string
	seconds      int
}

// encode are the options to encode with B-frames, to one or more outputs.
func (o tools) encode(pace string, output ...string) []string {
	options := []string{"-hide_banner", "-loglevel", "error", "-nostdin", "-y"}
	for _, source := range []string{"testsrc2=s=160x90:r=25", "aevalsrc=sin(700*t*(1+t/50)):s=48000"} {
		if pace != "" {
			options = append(options, pace)
		}
		options = append(options, "-f", "lavfi", "-i", source)
	}
	options = append(options, "-t", fmt.Sprint(o.seconds), "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25",
		"-pix_fmt", "yuv420p", "-c:a", "aac", "-flags", "+global_header", "-map", "0", "-map", "1")
	return append(options, output...)
}

// tee lets one encoder feed the file and all pushers, in real time; it does not
// mind who dies. It closes done at the end.
func (o tools) tee(ctx context.Context, t *testing.T, done chan struct{}, pushers []*pusher) {
	defer close(done)
	outputs := []string{"[f=mp4]" + o.file}
	encoder := exec.CommandContext(ctx, o.ffmpeg)
	var lines sync.WaitGroup
	for i, p := range pushers {
		from, to, err := os.Pipe()
		if err != nil {
			t.Error(err)
			return
		}
		encoder.ExtraFiles = append(encoder.ExtraFiles, to)
		outputs = append(outputs, fmt.Sprintf("[f=matroska:live=1:cluster_time_limit=40:flush_packets=1]pipe:%d", 3+i))
		lines.Go(func() { p.feed(from) })
	}
	encoder.Args = append([]string{o.ffmpeg}, o.encode("-re", "-f", "tee", strings.Join(outputs, "|"))...)
	encoder.Stderr = pushers[0].said
	if err := encoder.Run(); err != nil {
		t.Errorf("encoder: %v", err)
	}
	for _, f := range encoder.ExtraFiles {
		_ = f.Close()
	}
	lines.Wait()
}

// pusher is an ffmpeg that passes on what it reads.
type pusher struct {
	ffmpeg, protocol, url string
	said                  io.Writer

	command *exec.Cmd
	stdin   io.WriteCloser
}

func (p *pusher) start(ctx context.Context, t *testing.T, input []string) {
	t.Helper()
	output := map[string][]string{"rtsp": {"rtsp", "-rtsp_transport", "tcp"}, "rtmp": {"flv"}, "srt": {"mpegts"}}[p.protocol]
	options := append([]string{"-hide_banner", "-loglevel", "error"}, input...)
	options = append(options, "-c", "copy", "-map", "0", "-f")
	options = append(options, output...)
	p.command = exec.CommandContext(ctx, p.ffmpeg, append(options, p.url)...)
	p.command.Stderr = p.said
	var err error
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
}

// feed is the pusher's line from the encoder; the rest of it goes nowhere when
// the pusher is dead.
func (p *pusher) feed(from io.ReadCloser) {
	_, _ = io.Copy(p.stdin, from)
	_ = p.stdin.Close()
	_, _ = io.Copy(io.Discard, from)
	_ = from.Close()
}

// kill ends it as a power cut would.
func (p *pusher) kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// lockedBuffer takes a log from several goroutines.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
