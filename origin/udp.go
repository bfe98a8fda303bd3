package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// udpSilence is how long a sender may be silent before its stream has ended,
	// and another one may begin.
	udpSilence = 2 * time.Second

	// udpQueue is how many datagrams wait for the demuxer, at most: 500 ms of
	// 10 Mbit/s. Beyond it they are lost.
	udpQueue = 512

	// udpRetry is how long a sender is not heard that was refused or dropped.
	udpRetry = time.Second

	// maxDatagram is more than any sender puts into one.
	maxDatagram = 64 << 10
)

// UDPConfig configures the ingest of one stream by MPEG-TS over UDP.
type UDPConfig struct {
	// Listen is the UDP address, "127.0.0.1:5000". Port 0 picks one.
	Listen string

	// From are the senders that are heard: MPEG-TS has no key. At least one.
	From []netip.Addr

	// Stream is what they publish, or Branch of it, and Key the stream's own.
	Stream, Branch, Key string

	// Gate admits them. Required.
	Gate *Gate

	// Logger, default none.
	Logger *slog.Logger
}

// UDP takes in one stream by MPEG-TS over UDP, unicast. It has neither key nor
// repair of losses: it is for encoders in the same house that know nothing else.
type UDP struct {
	config  UDPConfig
	conn    *net.UDPConn
	ingests sync.WaitGroup
}

// NewUDP opens the socket, so that Addr is known and that a port in use is
// reported before anything runs. Run must be called next.
func NewUDP(config UDPConfig) (*UDP, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if len(config.From) == 0 {
		return nil, errors.New("no address is allowed to send")
	}
	conn, err := listenUDP(config.Listen)
	if err != nil {
		return nil, err
	}
	return &UDP{config: config, conn: conn}, nil
}

// Addr is the UDP address that encoders send to.
func (u *UDP) Addr() net.Addr { return u.conn.LocalAddr() }

// udpSession is one sender's stream.
type udpSession struct {
	from      netip.AddrPort
	heard     time.Time
	noticed   bool          // that it has ended, since a datagram came afterwards
	ended     chan struct{} // closed when its feed has ended
	datagrams chan []byte
	lost      int64
}

// Run serves until ctx is done and the publication is closed.
func (u *UDP) Run(ctx context.Context) error {
	stopped := context.AfterFunc(ctx, func() { _ = u.conn.Close() })
	var now *udpSession
	defer func() {
		if stopped() { // reading failed by itself
			_ = u.conn.Close()
		}
		u.finish(now)
		u.ingests.Wait()
	}()
	buffer := make([]byte, maxDatagram)
	for {
		// It wakes up to see that nothing comes.
		if err := u.conn.SetReadDeadline(time.Now().Add(udpSilence / 2)); err != nil && ctx.Err() == nil {
			return fmt.Errorf("udp: %w", err)
		}
		n, from, err := u.conn.ReadFromUDPAddrPort(buffer)
		at := time.Now()
		var timeout net.Error
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &timeout) && timeout.Timeout():
		case err != nil:
			return fmt.Errorf("udp: %w", err)
		case slices.Contains(u.config.From, from.Addr().Unmap()):
			now = u.take(ctx, now, from, buffer[:n], at)
		}
		if now != nil && now.over(at) {
			u.finish(now)
			now = nil
		}
	}
}

// over tells whether a session has ended.
func (s *udpSession) over(at time.Time) bool {
	select {
	case <-s.ended:
		return at.Sub(s.heard) > udpRetry
	default:
		return at.Sub(s.heard) > udpSilence
	}
}

// take gives a datagram to the session that it belongs to. Those of a second
// sender are left out while the first one sends.
func (u *UDP) take(ctx context.Context, now *udpSession, from netip.AddrPort, datagram []byte, at time.Time) *udpSession {
	if now == nil {
		now = u.begin(ctx, from)
	}
	if now.from != from {
		return now
	}
	select {
	case <-now.ended: // it is heard again udpRetry after the end
		if now.noticed {
			return now
		}
		now.noticed, now.heard = true, at
		return now
	default:
	}
	now.heard = at
	select {
	case now.datagrams <- slices.Clone(datagram):
	default:
		now.lost++
	}
	return now
}

// begin starts a session.
func (u *UDP) begin(ctx context.Context, from netip.AddrPort) *udpSession {
	s := &udpSession{from: from, heard: time.Now(), ended: make(chan struct{}), datagrams: make(chan []byte, udpQueue)}
	u.ingests.Go(func() {
		defer close(s.ended)
		admitted, err := u.config.Gate.admit(ctx, attempt{
			protocol: "MPEG-TS", stream: u.config.Stream, branch: u.config.Branch, proof: plainKey(u.config.Key), remote: net.UDPAddrFromAddrPort(from),
		})
		if err != nil {
			return // the gate has logged it
		}
		feed := &mpegtsFeed{admission: admitted, transport: "UDP", begin: func(in *ingest) {
			u.ingests.Go(func() { _ = in.run() }) // has logged it
		}}
		feed.end(feed.read(&datagramReader{datagrams: s.datagrams}))
	})
	return s
}

// finish ends a session.
func (u *UDP) finish(s *udpSession) {
	if s == nil {
		return
	}
	close(s.datagrams)
	<-s.ended
	if s.lost > 0 {
		u.config.Logger.Warn("datagrams were lost, the origin did not keep up", "stream", u.config.Stream, "datagrams", s.lost)
	}
}

// datagramReader reads datagrams as one run of bytes, until the channel is
// closed.
type datagramReader struct {
	datagrams <-chan []byte
	rest      []byte
}

func (r *datagramReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		datagram, ok := <-r.datagrams
		if !ok {
			return 0, io.EOF
		}
		r.rest = datagram
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
