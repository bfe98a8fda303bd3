package origin

import (
	"errors"
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
	admission *admission
	announced announced
	conn      *gortsplib.ServerConn // the one that sent RECORD
	ingest    *ingest               // nil before RECORD
}

// YieldHeader in an ANNOUNCE asks to be refused while somebody else publishes.
// The newest publisher wins, so that two that both come back whenever they are
// dropped would throw each other out for ever: a stand-in says that it is one.
const YieldHeader = "Surgecast-Yield"

// OnAnnounce checks the key first, then whether the tracks can be published.
func (h *rtspHandler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	if _, ok := credentials(ctx.Request); !ok { // the first request of each client
		challenge(ctx.Conn, ctx.Request)
		return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	}
	stream, branch := splitBranch(ctx.Path)
	admitted, err := h.gate.admit(h.stopping, attempt{
		protocol: (*RTSP)(h).protocol(),
		stream:   stream,
		branch:   branch,
		proof:    requestProof(ctx.Conn, ctx.Request),
		remote:   ctx.Conn.NetConn().RemoteAddr(),
		yields:   len(ctx.Request.Header[YieldHeader]) > 0,
	})
	switch {
	case errors.Is(err, ErrKeyRefused):
		return &base.Response{StatusCode: base.StatusUnauthorized}, liberrors.ErrServerAuth{}
	case errors.Is(err, ErrUnknownBranch):
		return &base.Response{StatusCode: base.StatusNotFound, StatusMessage: err.Error()}, nil
	case err != nil:
		return &base.Response{StatusCode: base.StatusServiceUnavailable, StatusMessage: err.Error()}, nil
	}
	announced := readAnnounce(ctx.Description)
	if err := admitted.check(announced.essences); err != nil {
		return &base.Response{StatusCode: base.StatusUnsupportedMediaType, StatusMessage: err.Error()}, nil
	}
	ctx.Session.SetUserData(&rtspSession{admission: admitted, announced: announced})
	return &base.Response{StatusCode: base.StatusOK}, nil
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
	chosen, err := chooseEssences(session.announced.essences, session.admission.pictures, false)
	if err != nil {
		return &base.Response{StatusCode: base.StatusUnsupportedMediaType, StatusMessage: err.Error()}, nil
	}
	feed := session.announced.feed(chosen.index)
	feed.logger = session.admission.logger
	session.ingest, err = session.admission.open(announcement{
		transport: ctx.Session.SetuppedTransport().String(),
		tracks:    session.announced.essences,
		tie:       feed,
		line:      tcpLine(ctx.Conn.NetConn()),
	})
	if err != nil {
		return &base.Response{StatusCode: base.StatusServiceUnavailable, StatusMessage: err.Error()}, nil
	}
	feed.ingest = session.ingest
	session.conn = ctx.Conn
	ctx.Conn.SetUserData(ctx.Session)
	for _, track := range chosen.index {
		session.receive(ctx.Session, feed, track)
	}
	if conn, ok := pendingOf(ctx.Conn.NetConn()); ok {
		conn.admitted()
	}
	h.ingests.Go(func() {
		_ = session.ingest.run() // has logged it
		ctx.Session.Close()      // if it isn't that which has ended
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// receive leads the packets of a track into the feed. These callbacks run on
// the goroutines that read the sockets.
func (s *rtspSession) receive(session *gortsplib.ServerSession, feed *rtpFeed, track int) {
	media := s.announced.medias[track]
	session.OnPacketRTP(media, s.announced.format(track), func(packet *rtp.Packet) {
		feed.packet(track, packet, time.Now())
	})
	session.OnPacketRTCP(media, func(packet rtcp.Packet) {
		if report, ok := packet.(*rtcp.SenderReport); ok {
			feed.report(track, report, time.Now())
		}
	})
}

// OnSessionClose tells the ingest that nothing comes any more.
func (h *rtspHandler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	session, ok := ctx.Session.UserData().(*rtspSession)
	if !ok || session.ingest == nil {
		return
	}
	session.ingest.end(errDisconnect)
	if conn, ok := pendingOf(session.conn.NetConn()); ok {
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
	if session, ok := ctx.Session.UserData().(*rtspSession); ok && session.ingest != nil {
		session.ingest.reception.refuse(ctx.Error)
	}
}
