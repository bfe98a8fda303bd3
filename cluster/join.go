package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// joinInterval is how often seeds that are not members are tried again. It
	// also mends a pool that a long partition has split in two.
	joinInterval = 15 * time.Second
	// firstRetry is the wait after the first try of a node that is alone; it
	// doubles up to joinInterval, so that nodes that start together meet soon.
	firstRetry = 500 * time.Millisecond
	// settle is how long after its join a node exchanges states once more. Of
	// nodes that join together some would otherwise miss each other: gossip
	// about the first comers is sent a few times to the few who are there, and
	// then no more until the next full exchange.
	settle      = time.Second
	settlePeers = 3
	// maxTargets bounds the tries at once; seeds come first, then peers.
	maxTargets = 64
)

// keepJoined tries seeds and last-known peers, all at once, for as long as a
// seed is not a member.
func (n *Node) keepJoined(ctx context.Context, list *memberlist.Memberlist, d *delegate) {
	retry, alone := firstRetry, true
	for {
		failed := n.join(list, n.missing(d))
		pause := joinInterval
		switch {
		case len(d.known()) == 0 && len(n.Targets()) > 0:
			if retry == firstRetry {
				n.log.Warn("alone: no known node lets us join, trying on", "err", whys(failed))
			}
			pause, alone = retry, true
			retry = min(2*retry, joinInterval)
		case alone:
			if sleep(ctx, settle) {
				n.join(list, n.someMembers())
			}
			retry, alone = firstRetry, false
		}
		select {
		case <-ctx.Done():
			return
		case <-n.retry:
		case <-time.After(pause):
		}
	}
}

// Retry joins at once, with the keys of what Config.Now then says: a clock that
// kept us out may have been corrected.
func (n *Node) Retry() {
	_ = n.keys.turn(n.cfg.Now()) // no step of it can fail, see rotate
	select {
	case n.retry <- struct{}{}:
	default: // one is due already
	}
}

// join exchanges states with each target at once, and returns those that failed. A
// black hole costs its own time-out and delays no other.
func (n *Node) join(list *memberlist.Memberlist, targets []netip.AddrPort) (failed []failedJoin) {
	var tries sync.WaitGroup
	var mu sync.Mutex
	for _, target := range targets {
		tries.Go(func() {
			n.tried.Add(1)
			_, err := list.Join([]string{target.String()})
			if err == nil {
				return
			}
			n.failed.Add(1)
			n.log.Debug("join failed", "target", target, "err", err)
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, failedJoin{target, n.why(target, err)})
		})
	}
	tries.Wait()
	slices.SortFunc(failed, func(a, b failedJoin) int { return a.target.Compare(b.target) })
	return failed
}

// Joins counts the tries to join since the start.
type Joins struct{ Tried, Failed int64 }

// Joins returns how often the node tried to join, each target by itself.
func (n *Node) Joins() Joins { return Joins{n.tried.Load(), n.failed.Load()} }

// someMembers draws the members to settle with.
func (n *Node) someMembers() []netip.AddrPort {
	peers := n.knownPeers()
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers[:min(len(peers), settlePeers)]
}

// missing returns the targets to try: none while every seed is a member, or,
// without seeds, while anybody is. It asks the gossip and not the view, which
// outlasts a change of our name.
func (n *Node) missing(d *delegate) []netip.AddrPort {
	known := d.known()
	there := map[netip.AddrPort]bool{n.advertise: true, n.second: true}
	for _, a := range known {
		there[a], there[n.secondOf(a)] = true, true
	}
	absent := func(a netip.AddrPort) bool { return !there[a] }
	if !slices.ContainsFunc(n.allSeeds(), absent) && len(known) > 0 {
		return nil
	}
	return slices.DeleteFunc(n.Targets(), func(a netip.AddrPort) bool { return there[a] })
}

// Targets returns where else the pool may be found: seeds, and the members last
// seen, without ourselves.
func (n *Node) Targets() []netip.AddrPort {
	var all []netip.AddrPort
	for _, a := range slices.Concat(n.allSeeds(), n.lastPeers(), n.knownPeers()) {
		if a != n.advertise && a != n.second && !slices.Contains(all, a) && len(all) < maxTargets {
			all = append(all, a)
		}
	}
	return all
}

func parseSeeds(seeds []string) ([]netip.AddrPort, error) {
	parsed := make([]netip.AddrPort, 0, len(seeds))
	for _, s := range seeds {
		a, err := parseAddress("seed", s)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, a)
	}
	return parsed, nil
}

// parseAddress reads an ip:port; what names the setting in the error.
func parseAddress(what, s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%s: %q is no ip:port, such as 192.0.2.7:7946", what, s)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// sleep waits and says whether ctx is still on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
