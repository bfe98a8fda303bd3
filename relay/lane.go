package relay

import (
	"context"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// closeBound is how long requests that run at the end may still take.
const closeBound = time.Second

// Serve answers the connections of a node's public listener until ctx ends,
// then closes it. The listener may hand out any net.Conn: sockets, TLS (one of
// tls.NewListener, with h2 and http/1.1 as its protocols) or a test's own.
//
// When the handler of fallback is what NewServer returned, plain requests for
// lists and media are answered by loops of this package, and fallback answers
// the rest; one that is wrapped in another handler is served by fallback alone.
// Both give the same answers; only the cost differs.
func Serve(ctx context.Context, listener net.Listener, fallback *http.Server) error {
	requests, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	fallback.BaseContext = func(net.Listener) context.Context { return requests }
	fallback.RegisterOnShutdown(release)

	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error { return fallback.Serve(listener) })
	group.Go(func() error {
		<-serving.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		if fallback.Shutdown(closing) != nil {
			return fallback.Close()
		}
		return nil
	})
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}
