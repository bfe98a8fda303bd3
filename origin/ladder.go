package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"
)

const (
	// Between two lives of ffmpeg there are ladderBackoff, doubled with each that
	// fails, up to maxLadderBackoff. One of steadyLadder begins anew.
	ladderBackoff    = time.Second
	maxLadderBackoff = 30 * time.Second
	steadyLadder     = 30 * time.Second

	// DefaultNice is how much ffmpeg gives way to all else.
	DefaultNice = 10
)

var errNoFFmpeg = errors.New("ffmpeg is missing")

// LadderConfig configures the rungs that ffmpeg makes from a stream's top one.
type LadderConfig struct {
	// Stream is the one to make them for. Required.
	Stream string
	// Rungs are those to make, which the stream has. At least one.
	Rungs []LadderRung
	// FFmpeg is the program, default the ffmpeg in PATH.
	FFmpeg string
	// Nice is how much it gives way to other processes, 0 to 19.
	Nice int
	// Origin has the stream, and Gate takes the rungs. Required.
	Origin *Origin
	Gate   *Gate
	// Logger, default none.
	Logger *slog.Logger
}

// LadderRung is one rung that is made.
type LadderRung struct {
	Name    string
	Height  int   // pixels, even; the width follows
	BitRate int64 // bits/s, not exceeded for longer than a second
}

// Ladder makes lower rungs of a stream from its top one, in a process of ffmpeg
// that is started again when it ends.
//
//	top rung ─▶ tap ─▶ MPEG-TS ─▶ ffmpeg ─▶ MPEG-TS, one pipe a rung ─▶ ingest
//
// Times pass through it as they are, and it makes key pictures where the top
// rung has them: so they are aligned exactly.
type Ladder struct {
	config LadderConfig
	logger *slog.Logger
	tap    <-chan tapped

	mu     sync.Mutex
	status LadderStatus
}

// LadderStatus tells how a ladder is.
type LadderStatus struct {
	Stream   string `json:"stream"`
	State    string `json:"state"` // waiting for the top rung, running, or why it does not
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	// Log are the latest lines that ffmpeg wrote.
	Log []string `json:"log,omitempty"`
}

// Running tells whether rungs are made.
func (s LadderStatus) Running() bool { return s.State == ladderRuns }

const (
	ladderWaits = "waiting for the top rung"
	ladderRuns  = "running"
)

// NewLadder returns a ladder of a stream of the origin. Run must be called next.
func NewLadder(config LadderConfig) (*Ladder, error) {
	s := config.Origin.streams[config.Stream]
	if s == nil {
		return nil, ErrUnknownStream
	}
	for _, r := range config.Rungs {
		if p, err := s.picture(r.Name); err != nil || p == s.pictures[0] {
			return nil, fmt.Errorf("%q of %s can't be made: name a lower rung of the stream", r.Name, config.Stream)
		}
	}
	if config.FFmpeg == "" {
		config.FFmpeg = "ffmpeg"
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ladder{
		config: config, logger: config.Logger.With("stream", config.Stream, "ladder", "ffmpeg"), tap: s.openTap(),
		status: LadderStatus{Stream: config.Stream, State: ladderWaits},
	}, nil
}

// Status tells how it is.
func (l *Ladder) Status() LadderStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	status := l.status
	status.Log = append([]string(nil), status.Log...)
	return status
}

func (l *Ladder) is(state string, pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.State, l.status.PID = state, pid
}

// Run makes the rungs whenever the top one is there, until ctx ends.
func (l *Ladder) Run(ctx context.Context) error {
	wait := ladderBackoff
	for {
		l.is(ladderWaits, 0)
		first, ok := l.first(ctx)
		if !ok {
			return nil
		}
		began := time.Now()
		reason := l.make(ctx, first)
		switch {
		case ctx.Err() != nil:
			return nil
		case reason == nil: // the top rung has gone, or begun anew
			wait = ladderBackoff
			continue
		case errors.Is(reason, errNoFFmpeg):
			wait = maxLadderBackoff
		case time.Since(began) > steadyLadder:
			wait = ladderBackoff
		}
		l.logger.Error("the lower rungs are not made", "reason", reason, "again_in", wait)
		l.is(reason.Error(), 0)
		if !l.pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, maxLadderBackoff)
		l.mu.Lock()
		l.status.Restarts++
		l.mu.Unlock()
	}
}

// first waits for a key picture to begin with.
func (l *Ladder) first(ctx context.Context) (tapped, bool) {
	for {
		select {
		case <-ctx.Done():
			return tapped{}, false
		case u := <-l.tap:
			if u.Random && u.from.lives() {
				return u, true
			}
		}
	}
}

// pause takes what comes, and makes nothing of it.
func (l *Ladder) pause(ctx context.Context, length time.Duration) bool {
	over := time.After(length)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-l.tap:
		}
	}
}

// make runs ffmpeg, beginning with a key picture, as long as its publication
// lives. The error says why it ended before.
func (l *Ladder) make(ctx context.Context, first tapped) error {
	path, err := exec.LookPath(l.config.FFmpeg)
	if err != nil {
		return fmt.Errorf("%w: there is no %s: install it (apt-get install ffmpeg), or set ffmpeg.path; the stream goes on without these rungs", errNoFFmpeg, l.config.FFmpeg)
	}
	p, err := startLadder(l, path)
	if err != nil {
		return err
	}
	l.is(ladderRuns, p.process.Pid)
	err = p.feed(ctx, first)
	p.end()
	return err
}

// lives tells whether a publication has not ended.
func (p *Publication) lives() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
