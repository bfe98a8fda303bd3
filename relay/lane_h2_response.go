package relay

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// h2Response is an answer that a handler writes on a stream. As net/http does,
// it keeps the first bytes back, so that a short answer has its length.
type h2Response struct {
	stream  *h2Stream
	request *http.Request
	end     context.CancelCauseFunc
	ready   chan struct{} // a token when what was written has left
	header  http.Header

	status int    // 0: not written yet
	kept   []byte // written and not yet sent, at most keptBytes
	begun  bool   // the head is out

	mu    sync.Mutex
	timer *time.Timer // of the write deadline
}

// keptBytes of an answer are kept back until it is flushed or ends.
const keptBytes = 4 << 10

// errStreamEnded is what a handler gets that writes for nobody.
var errStreamEnded = errors.New("the stream has ended")

// serve runs the handler.
func (w *h2Response) serve() {
	c := w.stream.conn
	defer func() {
		// A handler panics to abort its answer; any other panic is a fault,
		// and ends the process as everywhere.
		cause := recover()
		if cause != nil && cause != http.ErrAbortHandler {
			panic(cause)
		}
		err := c.locked(func() error {
			c.handlers--
			if cause != nil {
				return c.reset(w.stream.id, http2.ErrCodeInternal)
			}
			return w.finish()
		})
		w.setDeadline(time.Time{})
		w.end(nil)
		if err != nil {
			c.cutOff()
		}
	}()
	c.lane.server.ServeHTTP(w, w.request)
}

// Header implements http.ResponseWriter.
func (w *h2Response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *h2Response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

// Write implements http.ResponseWriter. It blocks until the client takes what
// does not fit into what is kept back.
func (w *h2Response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.bodied() {
		return len(b), nil
	}
	if len(w.kept)+len(b) <= keptBytes {
		w.kept = append(w.kept, b...)
		return len(b), nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return len(b), w.send(b)
}

// FlushError implements what http.ResponseController asks for.
func (w *h2Response) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.flush()
}

// Flush implements http.Flusher.
func (w *h2Response) Flush() { _ = w.FlushError() }

// SetWriteDeadline implements what http.ResponseController asks for: at that
// time the stream ends, unless the answer is out.
func (w *h2Response) SetWriteDeadline(at time.Time) error {
	w.setDeadline(at)
	return nil
}

func (w *h2Response) setDeadline(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if !at.IsZero() {
		w.timer = time.AfterFunc(time.Until(at), func() { w.end(os.ErrDeadlineExceeded) })
	}
}

// bodied tells whether the answer has a body.
func (w *h2Response) bodied() bool {
	return w.request.Method != http.MethodHead && w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// flush sends the head and what was kept back.
func (w *h2Response) flush() error {
	err := w.stream.conn.locked(func() error {
		if !w.alive() {
			return nil
		}
		w.open(false)
		return nil
	})
	if err != nil {
		return err
	}
	kept := w.kept
	w.kept = nil
	return w.send(kept)
}

// send sends a piece of the body and waits until it has left.
func (w *h2Response) send(b []byte) error {
	if len(b) == 0 {
		return context.Cause(w.request.Context())
	}
	st := w.stream
	err := st.conn.locked(func() error {
		if !w.alive() {
			return nil
		}
		st.conn.pump.send(st, b)
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-w.ready:
		return nil
	case <-w.request.Context().Done():
		st.conn.mu.Lock()
		defer st.conn.mu.Unlock()
		st.conn.pump.drop(st) // b is the handler's again
		return errors.Join(errStreamEnded, context.Cause(w.request.Context()))
	}
}

// wrote tells the handler that its bytes have left.
func (w *h2Response) wrote() { w.ready <- struct{}{} }

// alive tells whether the stream is still there. It needs the connection's
// lock, as what follows.
func (w *h2Response) alive() bool {
	return w.stream.conn.streams[w.stream.id] == w.stream && w.request.Context().Err() == nil
}

// open puts out the head; whole means that the kept bytes are all there is.
func (w *h2Response) open(whole bool) {
	if w.begun {
		return
	}
	w.begun = true
	h := w.header
	if w.bodied() && len(w.kept) > 0 && h.Get("Content-Type") == "" && h.Get("Content-Encoding") == "" {
		h.Set("Content-Type", http.DetectContentType(w.kept))
	}
	if whole && w.bodied() && h.Get("Content-Length") == "" {
		h.Set("Content-Length", strconv.Itoa(len(w.kept)))
	}
	fields := appendHeader(appendStatus(nil, w.status), h)
	w.stream.conn.pump.headers(w.stream, fields, whole && len(w.kept) == 0)
}

// finish ends the answer.
func (w *h2Response) finish() error {
	st, c := w.stream, w.stream.conn
	if c.streams[st.id] != st {
		return nil
	}
	if w.request.Context().Err() != nil {
		return c.reset(st.id, http2.ErrCodeCancel)
	}
	w.WriteHeader(http.StatusOK)
	begun := w.begun
	w.open(true)
	switch {
	case len(w.kept) > 0:
		st.last, st.handler = true, nil
		c.pump.send(st, w.kept)
		c.paced()
	case begun:
		c.pump.frame(0, http2.FrameData, http2.FlagDataEndStream, st.id)
		fallthrough
	default:
		st.handler = nil
		c.done(st)
	}
	return nil
}
