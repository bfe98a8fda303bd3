package origin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	// pullHandshake is how long a camera may take from the connection to PLAY.
	pullHandshake = 15 * time.Second

	// Between two attempts there are pullBackoff, doubled with each that fails,
	// up to maxPullBackoff, and a fifth more or less, so that cameras behind one
	// switch are not all asked at once. A feed of steadyPull begins anew.
	pullBackoff    = 500 * time.Millisecond
	maxPullBackoff = 15 * time.Second
	steadyPull     = 10 * time.Second
)

// PullTransport is how a camera's media come.
type PullTransport string

const (
	// PullAuto tries UDP and takes TCP when nothing comes that way.
	PullAuto PullTransport = "auto"
	PullTCP  PullTransport = "tcp"
	PullUDP  PullTransport = "udp"
)

// PullConfig is a camera or recorder that is asked for a stream by RTSP, or called
// by SRT.
type PullConfig struct {
	// Stream is the one to publish. Required.
	Stream string

	// Branch of the stream that it is for: "backup" or the name of a rung, "" for the
	// stream itself.
	Branch string

	// URL is rtsp:// or rtsps://, without user and password, which would get into
	// logs; or srt://HOST:PORT. Required.
	URL string

	// User and Password are told when the camera asks, as Digest where it can.
	User, Password string

	// Transport of RTSP, default PullAuto.
	Transport PullTransport

	// StreamID, Passphrase and Latency are for SRT. Default: none, nothing is
	// encrypted, DefaultSRTLatency.
	StreamID, Passphrase string
	Latency              time.Duration

	// CallSRT makes an SRT call from another process, which ends with ctx, and
	// returns what comes. Close tells how the line was. Required for SRT.
	CallSRT func(ctx context.Context, call SRTCall) (io.ReadCloser, error)

	// Gate takes the stream. Required.
	Gate *Gate

	// Logger, default none.
	Logger *slog.Logger
}

// Pull fetches a stream from a camera, again and again.
type Pull struct {
	config       PullConfig
	url          *base.URL // of RTSP
	logger       *slog.Logger
	listenPacket func(network, address string) (net.PacketConn, error) // nil: net.ListenPacket
}

// Check says what is wrong with the URL or the transport, without a secret.
func (c PullConfig) Check() error {
	if c.bySRT() {
		return c.checkSRT()
	}
	if c.StreamID != "" || c.Passphrase != "" || c.Latency != 0 {
		return errors.New("url: stream_id, passphrase_file and latency are for srt://HOST:PORT")
	}
	u, err := base.ParseURL(c.URL)
	switch {
	case err != nil || u.Host == "":
		return errors.New("url: write rtsp://HOST/PATH, or srt://HOST:PORT") // err would have the URL, with its password
	case u.User != nil:
		return errors.New("url: write it without user and password, which have keys of their own")
	}
	switch c.Transport {
	case "", PullAuto, PullTCP, PullUDP:
		return nil
	}
	return fmt.Errorf("transport: %q is none: write auto, tcp or udp", c.Transport)
}

// NewPull checks the configuration. Run must be called next.
func NewPull(config PullConfig) (*Pull, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.Logger = config.Logger.With("stream", config.Stream)
	if config.Branch != "" {
		config.Logger = config.Logger.With("branch", config.Branch)
	}
	if config.bySRT() {
		return &Pull{config: config, logger: config.Logger.With("camera", strings.TrimPrefix(config.URL, "srt://"))}, nil
	}
	u, err := base.ParseURL(config.URL)
	if err != nil {
		return nil, errors.New("url can't be read") // checked above
	}
	config.Transport = cmp.Or(config.Transport, PullAuto)
	p := &Pull{config: config, url: u, logger: config.Logger.With("camera", u.Host)}
	if config.User != "" {
		p.url = u.Clone()
		p.url.User = url.UserPassword(config.User, config.Password)
	}
	return p, nil
}

// Run fetches until ctx ends.
func (p *Pull) Run(ctx context.Context) error {
	wait := pullBackoff
	for {
		began := time.Now()
		reason := p.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > steadyPull {
			wait = pullBackoff
		}
		pause := time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
		p.logger.Warn("no stream from the camera", "reason", reason, "again_in", pause.Round(time.Millisecond))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		wait = min(2*wait, maxPullBackoff)
	}
}

// fetch publishes what the camera sends until it or the publication ends, and
// returns why.
func (p *Pull) fetch(ctx context.Context) error {
	if p.config.bySRT() {
		return p.fetchSRT(ctx)
	}
	admitted, err := p.config.Gate.invite("RTSP pull", p.config.Stream, p.config.Branch, hostAddr(p.url.Host))
	if err != nil {
		return err
	}
	session := &pullSession{admission: admitted}
	client := p.client(session)
	if err := client.Start2(); err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, client.Close)()
	handshake := time.AfterFunc(pullHandshake, client.Close)
	defer handshake.Stop()
	if err := session.open(client, p.url, p.config.Transport); err != nil {
		return err
	}
	var media sync.WaitGroup
	media.Go(func() {
		if _, err := client.Play(nil); err != nil {
			session.ingest.end(err)
			return
		}
		handshake.Stop()
		session.ingest.end(client.Wait())
	})
	reason := session.ingest.run()
	client.Close() // if it isn't that which has ended
	media.Wait()
	return reason
}

func (p *Pull) client(session *pullSession) *gortsplib.Client {
	client := &gortsplib.Client{
		Scheme:            p.url.Scheme,
		Host:              p.url.Host,
		ReadTimeout:       mediaTimeout,
		UDPReadBufferSize: udpReadBuffer,
		ListenPacket:      p.listenPacket,
		OnPacketsLost:     func(uint64) {}, // ingest counts, too
		OnDecodeError:     session.refuse,
		OnTransportSwitch: func(err error) { p.logger.Info("the camera's media don't come by UDP, TCP is taken", "reason", err) },
	}
	transports := map[PullTransport]gortsplib.Transport{PullTCP: gortsplib.TransportTCP, PullUDP: gortsplib.TransportUDP}
	if transport, ok := transports[p.config.Transport]; ok {
		client.Transport = &transport
	}
	return client
}

// pullSession is one connection to a camera.
type pullSession struct {
	admission *admission
	ingest    *ingest // nil before open
}

// open sets up the tracks that are published. Sound in a codec that is not
// supported is left out: few cameras can be told to send another one.
func (s *pullSession) open(client *gortsplib.Client, u *base.URL, transport PullTransport) error {
	described, _, err := client.Describe(u)
	if err != nil {
		return err
	}
	announced := readAnnounce(described)
	n := announcement{transport: string(transport), tracks: announced.essences, lenient: true}
	chosen, err := chooseEssences(n.tracks, s.admission.pictures, n.lenient)
	if err != nil {
		return err
	}
	feed := announced.feed(chosen.index)
	feed.logger = s.admission.logger
	n.tie = feed
	for _, track := range chosen.index {
		if _, err := client.Setup(described.BaseURL, announced.medias[track], 0, 0); err != nil {
			return err
		}
	}
	if s.ingest, err = s.admission.open(n); err != nil {
		return err
	}
	feed.ingest = s.ingest
	for _, track := range chosen.index {
		s.receive(client, feed, announced, track)
	}
	return nil
}

func (s *pullSession) receive(client *gortsplib.Client, feed *rtpFeed, a announced, track int) {
	media := a.medias[track]
	client.OnPacketRTP(media, a.format(track), func(packet *rtp.Packet) { feed.packet(track, packet, time.Now()) })
	client.OnPacketRTCP(media, func(packet rtcp.Packet) {
		if report, ok := packet.(*rtcp.SenderReport); ok {
			feed.report(track, report, time.Now())
		}
	})
}

func (s *pullSession) refuse(err error) {
	if s.ingest != nil {
		s.ingest.reception.refuse(err)
	}
}

// hostAddr is a camera's host as the log has it.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (h hostAddr) String() string { return string(h) }
