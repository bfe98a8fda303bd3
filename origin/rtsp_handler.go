package origin

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// rtspHandler has the callbacks of gortsplib. It does not implement DESCRIBE,
// PLAY and PAUSE, which the server therefore answers with 501. Callbacks of
// one session follow one another; those of several overlap.
type rtspHandler RTSP

var (
	_ gortsplib.ServerHandlerOnAnnounce     = (*rtspHandler)(nil)
	_ gortsplib.ServerHandlerOnSetup        = (*rtspHandler)(nil)
	_ gortsplib.ServerHandlerOnRecord       = (*rtspHandler)(nil)
	_ gortsplib.ServerHandlerOnSessionClose = (*rtspHandler)(nil)
	_ gortsplib.ServerHandlerOnConnClose    = (*rtspHandler)(nil)
	_ gortsplib.ServerHandlerOnPacketsLost  = (*rtspHandler)(nil)
	_ gortsplib.ServerHandlerOnDecodeError  = (*rtspHandler)(nil)
)

// rtspSession is what we know about a session between ANNOUNCE and its end.
type rtspSession struct {
	stream  string
	logger  *slog.Logger
	chosen  []announced
	conn    *gortsplib.ServerConn // the one that sent RECORD
	ingest  *ingest               // nil before RECORD
	invalid atomic.Int64          // packets that are no RTP or RTCP of this session
}

// YieldHeader in an ANNOUNCE asks to be refused while somebody else publishes.
// The newest publisher wins, so that two that both come back whenever they are
// dropped would throw each other out for ever: a stand-in says that it is one.
const YieldHeader = "Surgecast-Yield"

// OnAnnounce checks the key first, then whether the tracks can be published.
func (h *rtspHandler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	stream := strings.Trim(ctx.Path, "/")
	key, known := h.publishers.PublishKey(stream)
	if !authorized(ctx.Conn, ctx.Request, key, known) {
		h.refuseKey(ctx, stream, known)
		return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	}
	logger := h.logger.With("stream", stream, "remote", ctx.Conn.NetConn().RemoteAddr().String())
	chosen, dropped, err := choose(ctx.Description)
	if err != nil {
		logger.Warn("encoder refused", "reason", err)
		return &base.Response{StatusCode: base.StatusUnsupportedMediaType, StatusMessage: err.Error()}, nil
	}
	if len(ctx.Request.Header[YieldHeader]) > 0 && h.publishing(stream) {
		return &base.Response{StatusCode: base.StatusServiceUnavailable, StatusMessage: "another encoder has the stream"}, nil
	}
	if len(dropped) > 0 {
		logger.Warn("what can't be published is dropped, of video all but the first: turn it off on the encoder", "dropped", dropped)
	}
	ctx.Session.SetUserData(&rtspSession{stream: stream, logger: logger, chosen: chosen})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// refuseKey logs and delays the refusal of a wrong key. A stream that isn't
// configured is not named: people paste keys into the wrong place.
func (h *rtspHandler) refuseKey(ctx *gortsplib.ServerHandlerOnAnnounceCtx, stream string, known bool) {
	if _, ok := credentials(ctx.Request); !ok {
		return // the first request of each client
	}
	if !known {
		stream = ""
	}
	conn := ctx.Conn.NetConn()
	h.logger.Warn("encoder refused", "reason", "wrong key or unknown stream", "stream", stream, "remote", conn.RemoteAddr().String())
	if delay := h.failures.add(addressOf(conn), time.Now()); delay > 0 {
		select {
		case <-time.After(delay):
		case <-h.stopping.Done():
		}
	}
}

// OnSetup lets each announced track be set up, also those that are dropped:
// clients don't take no for an answer for a single one.
func (h *rtspHandler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() != gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: base.StatusMethodNotAllowed}, nil, errors.New("streams can't be read by RTSP")
	}
	return &base.Response{StatusCode: base.StatusOK}, nil, nil
}

// OnRecord starts the ingest.
func (h *rtspHandler) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	session := ctx.Session.UserData().(*rtspSession)
	tracks := make([]*ingestTrack, len(session.chosen))
	for i, chosen := range session.chosen {
		tracks[i] = chosen.track
	}
	session.conn = ctx.Conn
	ctx.Conn.SetUserData(ctx.Session)
	session.ingest = newIngest(tracks, func(tracks []Track) (publication, error) {
		return h.publishers.publish(session.stream, tracks)
	}, session.logger)
	for i, chosen := range session.chosen {
		h.receive(ctx.Session, session.ingest, i, chosen)
	}
	if conn, ok := ctx.Conn.NetConn().(*controlConn); ok {
		conn.recording()
	}
	session.logger.Info("encoder connected", "transport", ctx.Session.SetuppedTransport().String(), "codecs", codecNames(session.chosen))
	h.count(session.stream, 1)
	h.ingests.Go(func() {
		session.run(ctx.Session)
		h.count(session.stream, -1)
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// count keeps the number of encoders that push to a stream.
func (h *rtspHandler) count(stream string, change int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.encoders[stream] += change; h.encoders[stream] == 0 {
		delete(h.encoders, stream)
	}
}

func (h *rtspHandler) publishing(stream string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.encoders[stream] > 0
}

// receive leads the packets of a track into the queue. These callbacks run on
// the goroutine that reads the socket.
func (h *rtspHandler) receive(session *gortsplib.ServerSession, in *ingest, track int, chosen announced) {
	session.OnPacketRTP(chosen.media, chosen.format, func(packet *rtp.Packet) {
		in.enqueue(item{track: track, arrival: time.Now(), rtp: packet})
	})
	session.OnPacketRTCP(chosen.media, func(packet rtcp.Packet) {
		if report, ok := packet.(*rtcp.SenderReport); ok {
			in.enqueue(item{track: track, arrival: time.Now(), report: report})
		}
	})
}

// run ingests until the end and then closes the session, if it isn't that
// which has ended.
func (s *rtspSession) run(session *gortsplib.ServerSession) {
	began := time.Now()
	reason := s.ingest.run()
	session.Close()
	s.logger.Info("encoder gone", "reason", reason, "duration", time.Since(began).Round(time.Millisecond),
		"units", s.ingest.units, "lost_packets", s.ingest.lost, "damaged", s.ingest.damaged, "invalid_packets", s.invalid.Load())
}

// OnSessionClose tells the ingest that nothing comes any more.
func (h *rtspHandler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	session, ok := ctx.Session.UserData().(*rtspSession)
	if !ok || session.ingest == nil {
		return
	}
	close(session.ingest.ended)
	if conn, ok := session.conn.NetConn().(*controlConn); ok {
		conn.resume()
	}
}

// OnConnClose ends a publication over UDP together with its connection.
// gortsplib would wait for the media to time out; the timeline wants to know
// at once that the encoder is gone.
func (h *rtspHandler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	if session, ok := ctx.Conn.UserData().(*gortsplib.ServerSession); ok {
		session.Close()
		return
	}
	h.logger.Debug("connection closed", "remote", ctx.Conn.NetConn().RemoteAddr().String(), "reason", ctx.Error)
}

// OnPacketsLost keeps gortsplib from logging by itself: ingest counts, too.
func (h *rtspHandler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError counts packets that are no RTP, from another sender, or of an
// undeclared payload type.
func (h *rtspHandler) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	if session, ok := ctx.Session.UserData().(*rtspSession); ok && session.invalid.Add(1) == 1 {
		session.logger.Warn("packets from the publisher are not what was announced", "error", ctx.Error)
	}
}
