package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortmplib"
)

// rtmpWriteTimeout is how long an encoder may leave our few answers unread.
const rtmpWriteTimeout = 10 * time.Second

// Why an RTMP connection ends before anything is published. What the library
// says is left out: it quotes the URL, and with it the key.
var (
	errRTMPHandshake = errors.New("no RTMP handshake, or an unreadable command")
	errRTMPPlay      = errors.New("streams can't be read by RTMP")
)

// RTMPConfig configures the RTMP ingest.
type RTMPConfig struct {
	// Listen is the TCP address, "127.0.0.1:1935". Port 0 picks one.
	Listen string

	// TLS makes it RTMPS. Nil: cleartext.
	TLS *tls.Config

	// Gate admits the encoders. Required.
	Gate *Gate

	// Logger, default none.
	Logger *slog.Logger
}

// RTMP takes in streams that encoders push with publish. Nobody can read from
// it. The stream is the first part of the URL's path and the key the last, as
// encoders put them together from "server" and "stream key"; a branch of the
// stream stands between both.
//
// What messages take of the memory rtmpChunks bounds, for those who were not
// admitted yet to 256 KiB; Gate's places bound how many there are.
type RTMP struct {
	gate     *Gate
	logger   *slog.Logger
	protocol string
	tls      *tls.Config
	listener *limitedListener
	stopping context.Context
	stop     context.CancelFunc
	conns    sync.WaitGroup
}

// NewRTMP opens the socket, so that Addr is known and that a port in use is
// reported before anything runs. Run must be called next.
func NewRTMP(config RTMPConfig) (*RTMP, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, err
	}
	r := &RTMP{gate: config.Gate, logger: config.Logger, protocol: "RTMP", tls: config.TLS, listener: config.Gate.listen(listener)}
	if r.tls != nil {
		r.protocol = "RTMPS"
	}
	r.stopping, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Addr is the TCP address that encoders connect to.
func (r *RTMP) Addr() net.Addr { return r.listener.Addr() }

// Run serves until ctx is done and all publications are closed.
func (r *RTMP) Run(ctx context.Context) error {
	stopped := context.AfterFunc(ctx, func() {
		r.stop()
		_ = r.listener.Close()
	})
	defer func() {
		if stopped() { // accepting failed by itself
			r.stop()
			_ = r.listener.Close()
		}
		r.conns.Wait()
	}()
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", strings.ToLower(r.protocol), err)
		}
		r.conns.Go(func() { r.serve(conn) })
	}
}

// serve ends with the connection.
func (r *RTMP) serve(conn net.Conn) {
	pending, _ := pendingOf(conn)
	defer context.AfterFunc(r.stopping, func() { _ = pending.Close() })()
	defer func() { _ = pending.Close() }()
	if r.tls != nil {
		conn = tls.Server(conn, r.tls)
	}
	remote := conn.RemoteAddr()
	server, admitted, err := r.admit(conn)
	if err != nil {
		r.logger.Debug("connection closed", "protocol", r.protocol, "remote", remote.String(), "reason", err)
		return
	}
	pending.awaitMedia()
	feed := &rtmpFeed{admission: admitted, transport: r.protocol, line: tcpLine(conn), begin: func(in *ingest) {
		pending.admitted()
		r.conns.Go(func() {
			_ = in.run()        // has logged it
			_ = pending.Close() // if it isn't that which has ended
		})
	}}
	feed.end(feed.read(server))
}

// admit shakes hands and checks the key.
func (r *RTMP) admit(conn net.Conn) (server *gortmplib.ServerConn, admitted *admission, err error) {
	defer func() { // the parser is other people's
		if p := recover(); p != nil {
			err = errRTMPHandshake
		}
	}()
	chunks := newRTMPChunks(conn)
	server = &gortmplib.ServerConn{RW: struct {
		io.Reader
		io.Writer
	}{chunks, rtmpWriter{conn}}}
	if err := server.Initialize(); err != nil {
		return nil, nil, errRTMPHandshake
	}
	if err := server.AcceptConn(); err != nil {
		return nil, nil, errRTMPHandshake
	}
	if !server.Publish {
		_ = server.RejectAction() // it is closed either way
		return nil, nil, errRTMPPlay
	}
	stream, branch, key := rtmpTarget(server.URL.Path)
	admitted, err = r.gate.admit(r.stopping, attempt{
		protocol: r.protocol, stream: stream, branch: branch, proof: plainKey(key), remote: conn.RemoteAddr(),
	})
	if err != nil {
		_ = server.RejectAction()
		return nil, nil, err
	}
	chunks.admitted()
	if err := server.AcceptAction(); err != nil {
		return nil, nil, errRTMPHandshake
	}
	return server, admitted, nil
}

// rtmpTarget splits the path of an RTMP URL, STREAM/KEY or STREAM/BRANCH/KEY. A
// key may have slashes where what stands before them can't name a branch.
func rtmpTarget(path string) (stream, branch, key string) {
	stream, key, _ = strings.Cut(strings.Trim(path, "/"), "/")
	if first, rest, ok := strings.Cut(key, "/"); ok && branchForm.MatchString(first) {
		branch, key = first, rest
	}
	return stream, branch, key
}

// rtmpWriter bounds how long a write may take. Reads are bounded by the
// handshake's time, and by ingest afterwards.
type rtmpWriter struct{ conn net.Conn }

func (w rtmpWriter) Write(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(rtmpWriteTimeout)); err != nil {
		return 0, err
	}
	return w.conn.Write(b)
}
