package origin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

const (
	// ladderZero is added to the times that ffmpeg sees, which may not be
	// negative, and taken off again.
	ladderZero = 10 * time.Second

	// ladderWrite is how long ffmpeg may take no picture before it is killed.
	ladderWrite = 10 * time.Second

	// ladderKill is how long it has to end by itself when nothing more comes.
	ladderKill = 2 * time.Second

	// ladderLines and ladderLine bound what is kept of its log, bytes a line.
	ladderLines = 20
	ladderLine  = 512
)

// ladderProcess is one life of ffmpeg.
type ladderProcess struct {
	ladder  *Ladder
	process *os.Process
	stdin   *os.File
	exited  chan struct{}
	err     error // of its end, after exited is closed
	ingests sync.WaitGroup
}

// startLadder starts ffmpeg, and the ingests of what it makes.
func startLadder(l *Ladder, path string) (*ladderProcess, error) {
	p := &ladderProcess{ladder: l, exited: make(chan struct{})}
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errs, stderr, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), stdin.Close())
	}
	p.stdin = stdin
	theirs, ours := []*os.File{in, stderr}, []*os.File{errs}
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	command := exec.Command(path, l.arguments()...)
	command.Stdin, command.Stderr = in, stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for range l.config.Rungs {
		out, w, err := os.Pipe()
		if err != nil {
			closeAll(append(append(theirs, ours...), stdin))
			return nil, err
		}
		ours, theirs = append(ours, out), append(theirs, w)
		command.ExtraFiles = append(command.ExtraFiles, w)
	}
	started := make(chan error)
	go p.live(command, started)
	err = <-started
	closeAll(theirs)
	if err != nil {
		closeAll(append(ours, stdin))
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p.ingests.Go(func() { l.readLog(errs) })
	for i, rung := range l.config.Rungs {
		p.ingests.Go(func() { p.publish(rung, ours[1+i]) })
	}
	l.logger.Info("ffmpeg makes the lower rungs", "pid", p.process.Pid, "rungs", len(l.config.Rungs))
	return p, nil
}

// live starts ffmpeg and waits for its end. It is killed when the thread that
// started it ends, and so when the origin dies: the thread is kept for it.
func (p *ladderProcess) live(command *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	if p.err = command.Start(); p.err != nil {
		started <- p.err
		return
	}
	p.process = command.Process
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, p.process.Pid, p.ladder.config.Nice); err != nil {
		p.ladder.logger.Warn("ffmpeg runs without its nice level", "err", err)
	}
	started <- nil
	if p.err = command.Wait(); p.err == nil {
		p.err = errors.New("it ended")
	}
}

// arguments are those of ffmpeg: as little delay as can be, times as they are,
// key pictures where they were.
func (l *Ladder) arguments() []string {
	args := []string{
		"-hide_banner", "-loglevel", "warning", "-nostats", "-copyts",
		"-fflags", "nobuffer", "-flags", "low_delay", "-fpsprobesize", "0", "-analyzeduration", "500000", "-threads", "1",
		"-f", "mpegts", "-i", "pipe:0",
	}
	for i, r := range l.config.Rungs {
		rate := strconv.FormatInt(r.BitRate, 10)
		args = append(
			args, "-map", "0:v:0", "-an", "-vf", fmt.Sprintf("scale=-2:%d", r.Height), "-fps_mode", "passthrough",
			"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "main", "-pix_fmt", "yuv420p",
			"-b:v", rate, "-maxrate", rate, "-bufsize", rate,
			"-bf", "0", "-g", "100000", "-sc_threshold", "0", "-force_key_frames", "source", "-forced-idr", "1",
			"-f", "mpegts", "-mpegts_copyts", "1", "-muxdelay", "0", "-muxpreload", "0", "-flush_packets", "1", "pipe:"+strconv.Itoa(3+i),
		)
	}
	return args
}

// feed writes pictures to ffmpeg as long as the publication of the first one
// lives; then it returns nil.
func (p *ladderProcess) feed(ctx context.Context, first tapped) error {
	w, write, err := ladderWriter(p.stdin, first.codec)
	if err != nil {
		return err
	}
	if err := w.Initialize(); err != nil {
		return err
	}
	for u := first; ; {
		if err := p.stdin.SetWriteDeadline(time.Now().Add(ladderWrite)); err != nil {
			return err
		}
		zero := durationToTicks(ladderZero, mpegtsClockRate)
		if err := write(rescale(u.PTS, u.rate, mpegtsClockRate)+zero, rescale(u.DTS, u.rate, mpegtsClockRate)+zero, u.Payload); err != nil {
			return p.died(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.exited:
			return p.died(nil)
		case <-first.from.done:
			return nil
		case u = <-p.ladder.tap:
			if u.from != first.from {
				return nil // the next key picture is not far
			}
		}
	}
}

// ladderWriter muxes pictures.
func ladderWriter(to io.Writer, codec codecs.Codec) (*mpegts.Writer, func(pts, dts int64, au [][]byte) error, error) {
	track := &mpegts.Track{}
	w := &mpegts.Writer{W: to, Tracks: []*mpegts.Track{track}}
	switch codec.(type) {
	case *codecs.H264:
		track.Codec = &tscodecs.H264{}
		return w, func(pts, dts int64, au [][]byte) error { return w.WriteH264(track, pts, dts, au) }, nil
	case *codecs.H265:
		track.Codec = &tscodecs.H265{}
		return w, func(pts, dts int64, au [][]byte) error { return w.WriteH265(track, pts, dts, au) }, nil
	}
	return nil, nil, fmt.Errorf("of %s no rungs are made: let the encoder send H.264 or H.265, or push the rungs", family(codec))
}

// died says why ffmpeg ended.
func (p *ladderProcess) died(writing error) error {
	select {
	case <-p.exited:
	case <-time.After(ladderKill): // it lives, and reads nothing
		return fmt.Errorf("ffmpeg takes no pictures: %w", writing)
	}
	last := ""
	if lines := p.ladder.Status().Log; len(lines) > 0 {
		last = ": " + lines[len(lines)-1]
	}
	return fmt.Errorf("ffmpeg: %w%s", p.err, last)
}

// end lets ffmpeg end, and waits for it and for the ingests.
func (p *ladderProcess) end() {
	_ = p.stdin.Close()
	select {
	case <-p.exited:
	case <-time.After(ladderKill):
		_ = syscall.Kill(-p.process.Pid, syscall.SIGKILL)
		<-p.exited
	}
	p.ingests.Wait()
}

// publish takes a rung in. Where somebody pushes it, that is what is published,
// and what is made is thrown away.
func (p *ladderProcess) publish(rung LadderRung, from *os.File) {
	defer from.Close()
	l := p.ladder
	admitted, err := l.config.Gate.invite("ffmpeg", l.config.Stream, rung.Name, ladderAddr{})
	if err == nil {
		admitted.tied = true
		feed := &mpegtsFeed{admission: admitted, transport: "pipe", zero: ladderZero, begin: func(in *ingest) {
			p.ingests.Go(func() { _ = in.run() }) // has logged it
		}}
		feed.end(feed.read(from))
	}
	_, _ = io.Copy(io.Discard, from) // else ffmpeg would wait, with all rungs
}

// ladderAddr is where what is made here comes from.
type ladderAddr struct{}

var _ net.Addr = ladderAddr{}

func (ladderAddr) Network() string { return "pipe" }
func (ladderAddr) String() string  { return "here" }

// readLog keeps ffmpeg's latest lines, and logs them: a flood of them at most
// ladderLines a second.
func (l *Ladder) readLog(from *os.File) {
	defer from.Close()
	lines := bufio.NewReaderSize(from, ladderLine)
	second, logged := time.Now(), 0
	for {
		line, long, err := lines.ReadLine()
		if err != nil {
			return
		}
		text := string(line)
		for long && err == nil {
			_, long, err = lines.ReadLine() // the rest of it
		}
		l.mu.Lock()
		if l.status.Log = append(l.status.Log, text); len(l.status.Log) > ladderLines {
			l.status.Log = l.status.Log[1:]
		}
		l.mu.Unlock()
		if now := time.Now(); now.Sub(second) > time.Second {
			second, logged = now, 0
		}
		if logged++; logged <= ladderLines {
			l.logger.Warn("ffmpeg says", "line", text)
		}
	}
}
