package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// webLine is a viewer's way to a server over TLS, by Go's own client: it costs
// several times what a line costs, but TLS is not to be written twice.
type webLine struct {
	loop   *loop
	client *http.Client
	base   string
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // the life of the connection
}

func newWebLine(l *loop, from netip.Addr, to netip.AddrPort, over protocol) *webLine {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(over == secured)
	protocols.SetHTTP2(over == h2)
	w := &webLine{loop: l, base: "https://" + to.String(), client: &http.Client{Transport: &http.Transport{
		DialContext:        dialer.DialContext,
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // it is the bench's own
		Protocols:          protocols,
		DisableCompression: true, // asked for by hand
		MaxConnsPerHost:    2,
		ReadBufferSize:     16 << 10,
	}}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// get is of requester.
func (w *webLine) get(path string, want func(etag string) bool, done func(*answer)) {
	ctx := w.ctx
	go func() { // ends with the answer, or at close
		a := w.ask(ctx, path)
		w.loop.post(ctx, func() {
			if ctx.Err() != nil {
				return // closed: nobody waits any more
			}
			_ = want // the body was read in any case
			done(a)
		})
	}()
}

func (w *webLine) ask(ctx context.Context, path string) *answer {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return &answer{err: err}
	}
	request.Header.Set("Accept-Encoding", "gzip, deflate, br")
	response, err := w.client.Do(request)
	if err != nil {
		return &answer{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &answer{
		err: err, status: response.StatusCode, etag: response.Header.Get("ETag"),
		gzip: response.Header.Get("Content-Encoding") == "gzip", size: len(body), body: body, last: time.Now(),
	}
}

// close is of requester.
func (w *webLine) close() {
	w.cancel()
	w.client.CloseIdleConnections()
}

var _ requester = (*webLine)(nil)
