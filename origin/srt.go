package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	srt "github.com/datarhei/gosrt"
)

const (
	// DefaultSRTLatency is how long lost packets may take to come again.
	DefaultSRTLatency = 200 * time.Millisecond

	// srtPayload holds seven packets of MPEG-TS, as senders send them.
	srtPayload = 1316

	// minSRTPassphrase and MaxSRTPassphrase are what SRT allows, bytes.
	minSRTPassphrase = 10
	MaxSRTPassphrase = 79
)

// Why an SRT connection ends before anything is published.
var (
	errSRTStreamID   = errors.New("the stream id must be publish:STREAM:KEY or publish:STREAM/BRANCH:KEY")
	errSRTGarbage    = errors.New("a hello that can't be read")
	errSRTPassphrase = errors.New("no passphrase, or not the right one")
)

// SRTConfig configures the SRT ingest.
type SRTConfig struct {
	// Listen is the UDP address, "127.0.0.1:8890". Port 0 picks one.
	Listen string

	// Passphrase encrypts all that comes, and the stream id not: 10 to 79 bytes.
	// Empty: who encrypts is refused.
	Passphrase string

	// Latency is how long lost packets may take to come again; the sender's is
	// taken if it is more. Default DefaultSRTLatency.
	Latency time.Duration

	// Gate admits the encoders. Required.
	Gate *Gate

	// Logger, default none.
	Logger *slog.Logger
}

// SRT takes in streams that encoders push as callers, in MPEG-TS. Nobody can
// read from it.
type SRT struct {
	config   SRTConfig
	listener srt.Listener
	stopping context.Context
	stop     context.CancelFunc
	conns    sync.WaitGroup
}

// NewSRT opens the socket, so that Addr is known and that a port in use is
// reported before anything runs. Run must be called next.
func NewSRT(config SRTConfig) (*SRT, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if n := len(config.Passphrase); n > 0 && (n < minSRTPassphrase || n > MaxSRTPassphrase) {
		return nil, fmt.Errorf("the passphrase has %d bytes: SRT wants %d to %d", n, minSRTPassphrase, MaxSRTPassphrase)
	}
	if config.Latency == 0 {
		config.Latency = DefaultSRTLatency
	}
	options := srt.DefaultConfig()
	options.ReceiverLatency = config.Latency
	options.PeerIdleTimeout = mediaTimeout
	options.PayloadSize = srtPayload
	options.Passphrase = config.Passphrase
	listener, err := srt.Listen("srt", config.Listen, options)
	if err != nil {
		return nil, err
	}
	s := &SRT{config: config, listener: listener}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Addr is the UDP address that encoders call.
func (s *SRT) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx is done and all publications are closed.
func (s *SRT) Run(ctx context.Context) error {
	closing := make(chan struct{})
	stopped := context.AfterFunc(ctx, func() {
		defer close(closing)
		s.stop()
		s.listener.Close()
	})
	defer func() {
		if stopped() { // accepting failed by itself
			s.stop()
			s.listener.Close()
		} else {
			<-closing
		}
		s.conns.Wait()
	}()
	for {
		request, err := s.accept()
		if errors.Is(err, errSRTGarbage) {
			s.config.Logger.Debug("connection refused", "protocol", "SRT", "reason", err)
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("srt: %w", err)
		}
		s.request(request)
	}
}

// accept waits for the next caller. The library reads a hello here, and a
// crooked one makes it panic.
func (s *SRT) accept() (request srt.ConnRequest, err error) {
	defer func() {
		if recover() != nil {
			request, err = nil, errSRTGarbage
		}
	}()
	return s.listener.Accept2()
}

// request gives a caller a place, and judges it on a goroutine of its own, for
// wrong keys are answered late.
func (s *SRT) request(request srt.ConnRequest) {
	judging, evict := context.WithCancel(s.stopping)
	place, ok := s.config.Gate.places.take(addressOf(request.RemoteAddr()), evict)
	if !ok {
		evict()
		request.Reject(srt.REJX_OVERLOAD)
		return
	}
	s.conns.Go(func() {
		defer evict()
		defer place.leave()
		conn, admitted, err := s.admit(judging, request)
		if err != nil {
			s.config.Logger.Debug("connection refused", "protocol", "SRT", "remote", request.RemoteAddr().String(), "reason", err)
			return
		}
		defer conn.Close()
		defer context.AfterFunc(s.stopping, func() { _ = conn.Close() })()
		place.admit(true)
		s.serve(conn, admitted)
	})
}

// admit checks the key, which is in the stream id, and takes the call.
func (s *SRT) admit(ctx context.Context, request srt.ConnRequest) (srt.Conn, *admission, error) {
	if request.IsEncrypted() != (s.config.Passphrase != "") || request.IsEncrypted() && request.SetPassphrase(s.config.Passphrase) != nil {
		request.Reject(srt.REJ_UNSECURE)
		return nil, nil, errSRTPassphrase
	}
	fields := strings.SplitN(request.StreamId(), ":", 3)
	if len(fields) != 3 || fields[0] != "publish" {
		request.Reject(srt.REJX_BAD_REQUEST)
		return nil, nil, errSRTStreamID
	}
	stream, branch := splitBranch(fields[1])
	admitted, err := s.config.Gate.admit(ctx, attempt{
		protocol: "SRT", stream: stream, branch: branch, proof: plainKey(fields[2]), remote: request.RemoteAddr(),
	})
	if err != nil {
		reason := srt.REJX_UNAUTHORIZED
		switch {
		case errors.Is(err, ErrTaken):
			reason = srt.REJX_OVERLOAD
		case errors.Is(err, ErrUnknownBranch):
			reason = srt.REJX_NOTFOUND
		}
		request.Reject(reason)
		return nil, nil, err
	}
	conn, err := request.Accept()
	return conn, admitted, err
}

// serve ends with the connection.
func (s *SRT) serve(conn srt.Conn, admitted *admission) {
	// Who only keeps the line alive would be waited for without end.
	silent := time.AfterFunc(mpegtsProbeTime+time.Second, func() { _ = conn.Close() })
	defer silent.Stop()
	feed := &mpegtsFeed{admission: admitted, transport: "SRT", line: srtLine(conn), begin: func(in *ingest) {
		silent.Stop()
		s.conns.Go(func() {
			_ = in.run()     // has logged it
			_ = conn.Close() // if it isn't that which has ended
		})
	}}
	feed.end(feed.read(conn))
	var all srt.Statistics
	conn.Stats(&all)
	admitted.logger.Info("line of the encoder", "rtt", time.Duration(all.Instantaneous.MsRTT*float64(time.Millisecond)).Round(time.Millisecond),
		"packets", all.Accumulated.PktRecv, "lost", all.Accumulated.PktRecvLoss, "never_came", all.Accumulated.PktRecvDrop)
}
