package main

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/memberlist"

	"surgecast/relay"
)

// environment is the network that a node lives in. A test gives an in-memory
// one with its own time, and runs a whole pool in one process.
type environment struct {
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)

	// Transport carries gossip from and to the address; nil for real sockets.
	Transport func(bind string) (memberlist.Transport, error)

	// Kernel is /proc/sys, to give advice on its settings; nil for none.
	Kernel fs.FS
}

// connectBound is how long a node waits for a connection to another one: a
// dead parent must be left before its child's viewers notice.
const connectBound = time.Second

// realEnvironment is the machine's own network.
func realEnvironment() environment {
	return environment{
		Listen: (&net.ListenConfig{}).Listen,
		Dial:   (&net.Dialer{}).DialContext,
		Kernel: os.DirFS("/proc/sys"),
	}
}

// gossip returns the transport for gossip; nil means real sockets.
func (e environment) gossip(bind string) (memberlist.Transport, error) {
	if e.Transport == nil {
		return nil, nil
	}
	return e.Transport(bind)
}

// client returns the client by which a node asks other nodes. It does not
// follow redirects: a node asks whom it means to ask. It has no time limit of
// its own, since a blocking request may be held; each asker gives one.
func (e environment) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, connectBound)
				defer cancel()
				return e.Dial(ctx, network, address)
			},
			MaxIdleConnsPerHost: 16, // a connection for each rendition's list and parts, kept between them
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true, // bytes are kept as they are
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Time-outs of the HTTP listeners. There is none for a whole answer: lists are
// held back, and the control channel never ends. Handlers bound each write.
const (
	headerBound = 5 * time.Second
	idleBound   = 75 * time.Second // above the 60 s after which browsers give up idle connections themselves
	headerBytes = 16 << 10
)

// newHTTPServer serves HTTP/1.1 and HTTP/2, by TLS or without (then HTTP/2 by
// prior knowledge). It tells the gate which connections are idle.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerBound,
		IdleTimeout:       idleBound,
		MaxHeaderBytes:    headerBytes,
		Protocols:         protocols,
		ConnState:         relay.TrackState,
		ErrorLog:          relay.ErrorLog(log),
	}
}
