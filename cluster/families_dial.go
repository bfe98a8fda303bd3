package cluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// dialSecond is how long a connection to a node's first address may take before
// its second one is tried beside it.
const dialSecond = 200 * time.Millisecond

// DialEither connects to a node at one of its two addresses: to the second, which
// may be invalid, when the first one fails or takes long. It says which it was.
func DialEither(ctx context.Context, first, second netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, netip.AddrPort, error) {
	if !second.IsValid() {
		c, err := dial(ctx, first)
		return c, first, err
	}
	type result struct {
		c   net.Conn
		at  netip.AddrPort
		err error
	}
	results := make(chan result)
	begin := func(at netip.AddrPort) {
		go func() {
			c, err := dial(ctx, at)
			select {
			case results <- result{c, at, err}:
			case <-ctx.Done(): // the other one was sooner, or nobody waits any more
				if err == nil {
					c.Close()
				}
			}
		}()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin(first)
	begun := time.After(dialSecond)
	var errs []error
	for tries := 1; ; {
		select {
		case <-begun:
			begun = nil
			begin(second)
			tries++
		case r := <-results:
			if r.err == nil {
				return r.c, r.at, nil
			}
			errs = append(errs, r.err)
			if begun != nil {
				begun = nil
				begin(second)
				tries++
			}
			if len(errs) == tries {
				return nil, first, errors.Join(errs...)
			}
		case <-ctx.Done():
			return nil, first, errors.Join(append(errs, ctx.Err())...)
		}
	}
}
