package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

const (
	// A lost connection is tried again after feedPause, doubled with each
	// failure up to feedPauseMax; a feed that held that long starts over.
	feedPause    = 250 * time.Millisecond
	feedPauseMax = 5 * time.Second

	// feedYield is how often a feed that was thrown out by another encoder looks
	// whether the stream is free again.
	feedYield = time.Second

	// feedTimeout is how long the origin may take for an answer.
	feedTimeout = 5 * time.Second
)

// FeedCmd pushes the built-in clip.
type FeedCmd struct {
	URL string        `arg:"" help:"Where to push to: rtsp://publish:KEY@HOST:8554/STREAM, with the stream's publish key."`
	For time.Duration `help:"End after this time, for example 30s. Without it: at Ctrl-C." placeholder:"DURATION"`
	UDP bool          `name:"udp" help:"Send the media over UDP, as cameras do, instead of inside the RTSP connection."`
}

// Help is shown by --help.
func (*FeedCmd) Help() string {
	return `Stands in for an encoder: pushes a clip of 16 s by RTSP, in real time and again
and again without a seam, until it is told to stop. When the origin goes away it
keeps trying. ffmpeg is not needed.

	surgecast feed rtsp://publish:$(cat evening/theatre.key)@127.0.0.1:8554/theatre

The picture shows seconds and frames, a sweep that makes any stall visible, and a
lamp that is on while the beep sounds: so you see lip sync, too.`
}

// Run pushes until ctx ends, or for the time that was asked for.
func (c *FeedCmd) Run(ctx context.Context, out io.Writer) error {
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	target, err := parseFeedURL(c.URL)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Pushing the built-in clip to %s. Ctrl-C ends it.\n", target.CloneWithoutCredentials())
	return feed(ctx, c.URL, feedOptions{UDP: c.UDP, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

// feedOptions are the choices of feed. The zero value is fine.
type feedOptions struct {
	// UDP sends media over UDP instead of the RTSP connection.
	UDP bool
	// Logger is told when the connection comes and goes, default none.
	Logger *slog.Logger
}

// feed pushes the built-in clip until ctx ends. It then returns nil, if it was
// on air at all. Before that it returns only for what trying again doesn't help
// against: a wrong address, a wrong key, an origin that doesn't take the clip.
func feed(ctx context.Context, url string, options feedOptions) error {
	target, err := parseFeedURL(url)
	if err != nil {
		return err
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	programme, err := loadClip()
	if err != nil {
		return err
	}
	logger := options.Logger.With("url", target.CloneWithoutCredentials().String())
	var yield bool // once it was on air, a feed makes room for any other encoder
	for pause := feedPause; ctx.Err() == nil; pause = min(2*pause, feedPauseMax) {
		began := time.Now()
		var connected bool
		connected, err = push(ctx, target, programme, pushOptions{UDP: options.UDP, Yield: yield, Logger: logger})
		yield = yield || connected
		if ctx.Err() != nil {
			break
		}
		if refusal := refused(err); refusal != nil {
			return refusal
		}
		switch {
		case occupied(err):
			pause = feedYield
		case time.Since(began) > feedPauseMax:
			pause = feedPause
		}
		logger.Warn("not connected to the origin, trying again", "reason", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	if !yield {
		return fmt.Errorf("the origin was never reached: %w", err)
	}
	return nil
}

// parseFeedURL never repeats the URL in its error: the key is in it.
func parseFeedURL(url string) (*base.URL, error) {
	target, err := base.ParseURL(url)
	if err != nil || target.Scheme != "rtsp" || target.Host == "" || len(target.Path) < 2 {
		return nil, errors.New("the address to push to must look like rtsp://publish:KEY@127.0.0.1:8554/theatre")
	}
	if target.Port() == "" {
		target.Host = net.JoinHostPort(target.Hostname(), "8554")
	}
	return target, nil
}

// refused returns what to tell the user when the origin has said no for good.
func refused(err error) error {
	var status liberrors.ErrClientBadStatusCode
	if !errors.As(err, &status) {
		return nil
	}
	switch status.Code {
	case base.StatusUnauthorized:
		return errors.New("the publish key is wrong, or the stream is not there: look at the stream's name and publish_key_file in the origin's configuration (the demo prints the whole address)")
	case base.StatusNotFound:
		return errors.New(status.Message)
	case base.StatusUnsupportedMediaType:
		return fmt.Errorf("the origin does not take the clip: %s", status.Message)
	}
	return nil
}

// occupied says whether another encoder has the stream.
func occupied(err error) bool {
	var status liberrors.ErrClientBadStatusCode
	return errors.As(err, &status) && status.Code == base.StatusServiceUnavailable
}
