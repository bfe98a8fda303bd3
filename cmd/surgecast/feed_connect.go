package main

import (
	"context"
	"log/slog"
	"net"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"surgecast/origin"
)

// pushOptions are those of one connection.
type pushOptions struct {
	UDP    bool
	Yield  bool // don't throw out who publishes already
	Logger *slog.Logger
}

// push connects and sends until the connection or ctx ends. connected says
// whether it got as far as sending.
func push(ctx context.Context, target *base.URL, programme *clip, options pushOptions) (connected bool, err error) {
	sender, err := newClipSender(programme)
	if err != nil {
		return false, err
	}
	client, err := connectFeed(ctx, target, sender, options)
	if err != nil {
		return false, err
	}
	options.Logger.Info("pushing")
	lost := make(chan error, 1)
	go func() { lost <- client.Wait() }() // ends with Close
	err = sender.run(ctx, client, lost)
	client.Close()
	return true, err
}

// connectFeed does the handshake, within feedTimeout.
func connectFeed(ctx context.Context, target *base.URL, sender *clipSender, options pushOptions) (*gortsplib.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	var conn net.Conn
	handshaken := func() bool { return true }
	transport := gortsplib.TransportTCP
	if options.UDP {
		transport = gortsplib.TransportUDP
	}
	client := &gortsplib.Client{
		Transport: &transport,
		UserAgent: "surgecast",
		// Its own reports come after 10 s only, and with a wrong fraction of the
		// second: ours tell the origin from the first packet on how sound and
		// picture belong together.
		DisableRTCPSenderReports: true,
		// In packets; the clip's largest picture has about 30. When the queue is
		// full the connection is given up and made anew.
		WriteQueueSize: 256,
		DialContext: func(_ context.Context, network, address string) (_ net.Conn, err error) {
			if conn, err = (&net.Dialer{}).DialContext(ctx, network, address); err == nil {
				handshaken = context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		},
		// Media leave by the address that the connection has, which is the one
		// that the origin lets in.
		ListenPacket: func(network, address string) (net.PacketConn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return net.ListenPacket(network, net.JoinHostPort(conn.LocalAddr().(*net.TCPAddr).IP.String(), port))
		},
		OnRequest: func(request *base.Request) {
			if options.Yield && request.Method == base.Announce {
				request.Header[origin.YieldHeader] = base.HeaderValue{"yes"}
			}
		},
	}
	if err := client.StartRecording(target.String(), sender.session); err != nil {
		return nil, err
	}
	if !handshaken() { // the time was over meanwhile
		client.Close()
		return nil, ctx.Err()
	}
	return client, nil
}
