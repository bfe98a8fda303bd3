package main

import (
	"context"
	"errors"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// depart returns when the node is to end: told so by ctx (a signal), it has
// drained; drained by an operator's order, it has had its time.
func (n *node) depart(ctx, inner context.Context) {
	seal := context.AfterFunc(ctx, n.orders.seal)
	defer seal()
	for {
		changed := n.orders.Changed() // before the look: an order between the two is not missed
		if n.orders.leaves() {
			if n.drain(inner, n.orders.stays) {
				return
			}
			continue
		}
		select {
		case <-inner.Done():
			return
		case <-ctx.Done():
			n.notify("STOPPING=1")
			n.drain(inner, func() bool { return false })
			return
		case <-changed:
			if n.orders.stays() {
				n.departure.Enter(relay.Staying) // from what an earlier process was told
			}
		}
	}
}

// The last stage of a drain is a tenth of it, within these bounds: enough for
// players to ask for a list and be told to go, short for those who come just
// then by an old DNS answer.
const (
	leastParting = time.Second
	mostParting  = 5 * time.Second
)

// handover is the drain of a node that is alone and whose socket outlives it.
const handover = time.Second

// drain asks the pool to send viewers elsewhere, and serves them until they had
// the time to go. It returns false when that was taken back. A node that was
// not listed, and serves nobody, has nobody to wait for.
//
// The first half is as long as DNS answers live: whoever connects anew after it
// finds another relay.
func (n *node) drain(ctx context.Context, takenBack func() bool) (done bool) {
	was := n.status()
	n.setStatus(cluster.StatusDraining)
	if was != cluster.StatusServing && was != cluster.StatusFull && n.load.Snapshot().Viewers == 0 {
		return true
	}
	whole := time.Duration(n.config.Drain)
	parting := min(max(whole/10, leastParting), mostParting, whole/2)
	if n.inherited && n.elsewhere() == "" {
		// The next process takes over whoever comes; there is nobody else to go to.
		whole, parting = min(whole, handover), 0
	}
	for _, step := range []struct {
		wait time.Duration
		then relay.Stage
	}{{0, relay.Draining}, {whole / 2, relay.Retiring}, {whole - whole/2 - parting, relay.Parting}, {parting, relay.Parting}} {
		if !n.await(ctx, step.wait, takenBack) {
			n.departure.Enter(relay.Staying)
			return false
		}
		n.departure.Enter(step.then)
	}
	return true
}

// await waits, and returns false when the drain was taken back.
func (n *node) await(ctx context.Context, d time.Duration, takenBack func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed := n.orders.Changed()
		if takenBack() {
			return false
		}
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return true
		case <-changed:
		}
	}
}

// errNotDrained says that there is nothing to drain.
var errNotDrained = errors.New("only relays drain: an origin or a name server has no viewers to send elsewhere; end it with SIGTERM")

// order takes an operator's order, and tells how the node stands then.
func (n *node) order(drain bool) (drainAnswer, error) {
	if n.role != cluster.RoleRelay {
		return drainAnswer{}, errNotDrained
	}
	before := n.status()
	if err := n.orders.take(drain); err != nil {
		return drainAnswer{}, err
	}
	a := drainAnswer{Name: n.cluster.Name(), Address: n.viewers.Addr().String(), Drains: drain}
	for _, m := range cluster.Serving(n.cluster.Members()) {
		if !m.Self {
			a.Others++
		}
	}
	if drain && (before == cluster.StatusServing || before == cluster.StatusFull) {
		a.Seconds = time.Duration(n.config.Drain).Seconds()
	}
	n.log.Info("an operator's order", "drain", drain)
	return a, nil
}

// firstStatus is that of a node that starts: drained ones stay out of service.
func (n *node) firstStatus() cluster.Status {
	if n.role != cluster.RoleRelay || n.orders.stays() {
		return cluster.StatusJoining
	}
	n.departure.Enter(relay.Draining)
	n.log.Warn("this node was drained by an operator's order and stays out of service: \"surgecast undrain\" takes it back")
	return cluster.StatusDraining
}
