package cluster

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// What is looked up is joined, at once, and joins what was split.
func TestLookedUpSeedsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		first, _ := p.start(1)
		looks := 0
		n, _ := p.start(2, func(c *Config) {
			c.Seeds = nil
			c.Lookup = func(ctx context.Context) ([]netip.AddrPort, error) {
				if looks++; looks == 1 {
					return nil, errors.New("the resolver is down")
				}
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > lookupBound {
					t.Error("a look has no bound")
				}
				return []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7946"), netip.MustParseAddrPort("10.9.9.9:7946")}, nil
			}
		})
		p.await(n, joinInterval+2*time.Second, count(2))
		p.await(first, time.Second, count(2))
		p.net.Cut(address(1), address(2))
		p.await(n, time.Minute, count(1))
		time.Sleep(2 * time.Minute)
		p.net.Heal(address(1), address(2))
		start := time.Now()
		p.await(n, 20*time.Second, count(2))
		t.Logf("one pool again after %d ms", time.Since(start).Milliseconds())
	})
}

// A resolver that hangs delays no join.
func TestLookupThatHangsDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		p.start(1)
		n, _ := p.start(2, func(c *Config) {
			c.Lookup = func(ctx context.Context) ([]netip.AddrPort, error) { <-ctx.Done(); return nil, ctx.Err() }
		})
		if took := p.await(n, 3*time.Second, count(2)); took > 200*time.Millisecond {
			t.Errorf("joined after %v", took)
		}
	})
}
