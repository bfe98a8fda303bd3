package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
)

const (
	// udpReadBuffer holds 100 ms of 80 Mbit/s. The kernel may give less.
	udpReadBuffer = 1 << 20
)

// RTSPConfig configures the RTSP ingest.
type RTSPConfig struct {
	// Listen is the TCP address for RTSP, "127.0.0.1:8554". Port 0 picks one.
	Listen string

	// UDPRTP and UDPRTCP are the addresses for media over UDP, for example
	// ":8000" and ":8001": an even port and the one after it. Both empty: media
	// over TCP only. Port 0 in UDPRTP picks a pair.
	UDPRTP, UDPRTCP string

	// TLS makes it RTSPS: media by TCP only, in the same connection. Default none.
	TLS *tls.Config

	// Gate admits the encoders. Required.
	Gate *Gate

	// Logger, default none.
	Logger *slog.Logger
}

// RTSP takes in streams that encoders push with ANNOUNCE and RECORD. Nobody
// can read from it.
type RTSP struct {
	gate   *Gate
	tls    *tls.Config // nil: in clear
	logger *slog.Logger

	listener  *limitedListener
	rtp, rtcp net.PacketConn // nil: TCP only
	server    *gortsplib.Server
	stopping  context.Context
	stop      context.CancelFunc
	ingests   sync.WaitGroup
}

// NewRTSP opens the sockets, so that Addr is known and that a port in use is
// reported before anything runs. Run must be called next.
func NewRTSP(config RTSPConfig) (*RTSP, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	r := &RTSP{gate: config.Gate, tls: config.TLS, logger: config.Logger}
	if config.TLS != nil && config.UDPRTP != "" {
		return nil, errors.New("RTSPS takes media by TCP only")
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, err
	}
	r.listener = r.gate.listen(listener)
	if config.UDPRTP != "" {
		if r.rtp, r.rtcp, err = listenMedia(config.UDPRTP, config.UDPRTCP); err != nil {
			_ = listener.Close()
			return nil, err
		}
	}
	r.stopping, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// protocol is the name for the log.
func (r *RTSP) protocol() string {
	if r.tls != nil {
		return "RTSPS"
	}
	return "RTSP"
}

// Addr is the TCP address that encoders connect to.
func (r *RTSP) Addr() net.Addr { return r.listener.Addr() }

// Run serves until ctx is done and all publications are closed.
func (r *RTSP) Run(ctx context.Context) error {
	defer r.stop()
	r.server = &gortsplib.Server{
		Handler:     (*rtspHandler)(r),
		RTSPAddress: r.Addr().String(),
		TLSConfig:   r.tls,
		ReadTimeout: mediaTimeout,
		Listen:      func(string, string) (net.Listener, error) { return r.listener, nil },
	}
	if r.rtp != nil {
		r.server.UDPRTPAddress, r.server.UDPRTCPAddress = r.rtp.LocalAddr().String(), r.rtcp.LocalAddr().String()
		r.server.ListenPacket = r.listenPacket
	}
	if err := r.server.Start(); err != nil {
		r.close()
		return fmt.Errorf("rtsp: %w", err)
	}
	var closing sync.WaitGroup
	ending, end := context.WithCancel(ctx)
	closing.Go(func() {
		<-ending.Done()
		r.stop() // first, since the server waits for callbacks that wait for it
		r.server.Close()
	})
	err := r.server.Wait()
	end()
	closing.Wait()
	r.ingests.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("rtsp: %w", err)
}

// close closes the sockets of a server that never ran.
func (r *RTSP) close() {
	_ = r.listener.Close()
	for _, conn := range []net.PacketConn{r.rtp, r.rtcp} {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// listenPacket hands gortsplib the sockets that are open already.
func (r *RTSP) listenPacket(_, address string) (net.PacketConn, error) {
	for _, conn := range []net.PacketConn{r.rtp, r.rtcp} {
		if conn.LocalAddr().String() == address {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("no socket for %s", address)
}

// listenMedia opens the pair of UDP sockets for RTP and RTCP.
func listenMedia(rtpAddress, rtcpAddress string) (rtp, rtcp net.PacketConn, err error) {
	host, port, err := net.SplitHostPort(rtpAddress)
	if err != nil {
		return nil, nil, err
	}
	if port == "0" {
		return listenAnyPair(host)
	}
	if rtp, err = listenUDP(rtpAddress); err != nil {
		return nil, nil, err
	}
	if rtcp, err = listenUDP(rtcpAddress); err != nil {
		_ = rtp.Close()
		return nil, nil, err
	}
	return rtp, rtcp, nil
}

// listenAnyPair tries until the kernel picks an even port whose successor is
// free: on average a little over two times.
func listenAnyPair(host string) (rtp, rtcp net.PacketConn, err error) {
	for range 100 {
		if rtp, err = listenUDP(net.JoinHostPort(host, "0")); err != nil {
			return nil, nil, err
		}
		port := rtp.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if rtcp, err = listenUDP(net.JoinHostPort(host, strconv.Itoa(port+1))); err == nil {
				return rtp, rtcp, nil
			}
		}
		_ = rtp.Close()
	}
	return nil, nil, errors.New("no two consecutive UDP ports are free")
}

func listenUDP(address string) (*net.UDPConn, error) {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	udp := conn.(*net.UDPConn)
	_ = udp.SetReadBuffer(udpReadBuffer) // as much as the kernel allows
	return udp, nil
}
