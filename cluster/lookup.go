package cluster

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

const (
	// lookupBound is how long one look for more seeds may take.
	lookupBound = 2 * time.Second
	// lookupInterval is the pause between two looks of a node that is not
	// alone: what they find joins the halves of a pool that was split.
	lookupInterval = time.Minute
	// maxFound bounds the seeds that one look may bring; more are left out.
	maxFound = 16
)

// keepLookup asks Config.Lookup for seeds, at once and from then on; a node
// that is alone asks as often as it tries to join.
func (n *Node) keepLookup(ctx context.Context) {
	if n.cfg.Lookup == nil {
		return
	}
	for {
		n.lookup(ctx)
		pause := lookupInterval
		if len(n.Members()) <= 1 {
			pause = joinInterval
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// lookup keeps what it found before when it finds nothing: the DNS that
// answers may be the part that is down.
func (n *Node) lookup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookupBound)
	defer cancel()
	found, err := n.cfg.Lookup(ctx)
	if err != nil {
		n.log.Debug("seeds not looked up", "err", err)
		return
	}
	found = found[:min(len(found), maxFound)]
	n.mu.Lock()
	news := slices.ContainsFunc(found, func(a netip.AddrPort) bool { return !slices.Contains(n.found, a) })
	if len(found) > 0 {
		n.found = found
	}
	n.mu.Unlock()
	if news {
		n.Retry()
	}
}

// allSeeds are those that were configured, and those that were looked up.
func (n *Node) allSeeds() []netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Concat(n.seeds, n.found)
}
