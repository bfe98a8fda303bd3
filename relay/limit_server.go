package relay

import (
	"log/slog"
	"net/http"
	"time"
)

// Time-outs of HTTP/1.1 connections, and of HTTP/2 ones that nobody uses. There
// is none for a whole answer: lists are held back, and the control channel
// never ends. Handlers bound each write.
const (
	headerBound = 5 * time.Second
	idleBound   = 75 * time.Second // above the 60 s after which browsers give up idle connections themselves
	headerBytes = 16 << 10
)

// NewHTTPServer returns a server with the bounds of a public listener. It speaks
// HTTP/1.1 and HTTP/2, by TLS or without (then HTTP/2 by prior knowledge), and
// tells the gate which connections are idle.
func NewHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
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
		ConnState:         TrackState,
		ConnContext:       noteBirth,
		ErrorLog:          ErrorLog(log),
	}
}

// expectNoBody bounds the time for which net/http waits for a body that nobody
// wants: without this it waits for ever, before and after the answer. So a
// request with a body, which no player makes, is not held for longer either.
func expectNoBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// Without support for deadlines (a test's recorder) there is none.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerBound))
	}
}
