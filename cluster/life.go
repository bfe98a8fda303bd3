package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// renamePause bounds how often a node takes a new name. Names are random,
	// so more than once is somebody's doing.
	renamePause = time.Second
	// forgetAfter is how long after a rename those are kept in the view whom
	// the new life has not heard of. The pool exchanges full states within it.
	forgetAfter = 15 * time.Second
)

// Run takes part in the pool until ctx ends, then leaves it, which takes at
// most a few seconds. It may be called once.
func (n *Node) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // where the gossip does not even start
	tasks.Go(func() { n.keys.rotate(ctx) })
	tasks.Go(func() { n.keepPeers(ctx) })
	tasks.Go(func() { n.keepLookup(ctx) })
	for {
		contested, err := n.live(ctx)
		if !contested || err != nil {
			return err
		}
		n.rename()
	}
}

// live is one life under one name: until ctx ends, or until the name turns out
// to be another node's. Who hears of that yields, whichever of the two is the
// first holder: of a second one nobody but itself may hear. Nothing is said in
// parting: a Leave names only the name, and would take its healthy holder out
// of the pool.
func (n *Node) live(ctx context.Context) (contested bool, err error) {
	d := newDelegate(n)
	defer d.ended.Store(true)
	config := n.gossipConfig(d)
	if config.Transport, err = n.openFamilies(config.Logger); err != nil {
		return false, fmt.Errorf("start gossip on %s: %w", n.cfg.Bind, err)
	}
	list, err := memberlist.Create(config)
	if err != nil {
		_ = config.Transport.Shutdown()
		return false, fmt.Errorf("start gossip on %s: %w", n.cfg.Bind, err)
	}
	n.list.Store(list)
	life, end := context.WithCancel(ctx)
	defer end()
	var tasks sync.WaitGroup
	tasks.Go(func() { n.keepJoined(life, list, d) })
	published := make(chan struct{})
	tasks.Go(func() {
		defer close(published)
		n.publishChanges(life, list)
	})
	if n.Renames() > 0 {
		tasks.Go(func() { n.forget(life, d) })
	}
	select {
	case <-ctx.Done():
		<-published // within publishTimeout
		n.sayLeft(list)
		if err := list.Leave(leaveTimeout); err != nil {
			n.log.Warn("left without an answer from the pool", "err", err)
		}
	case <-d.contested:
		contested = true
	}
	// Before Shutdown: what the list still finds out about others, deaf as it
	// is then, is not true.
	d.ended.Store(true)
	end()
	err = list.Shutdown()
	tasks.Wait()
	if contested && n.Renames() > 0 && !sleep(ctx, renamePause) {
		contested = false
	}
	return contested, err
}

// sayLeft tells that a relay goes which has not drained. Who hears only
// memberlist's Leave can't tell it from a death, and would remember the relay.
func (n *Node) sayLeft(list *memberlist.Memberlist) {
	n.mu.Lock()
	said := n.selfLocked().hasViewers()
	if said {
		n.state.Status = StatusLeft
	}
	n.mu.Unlock()
	if !said {
		return
	}
	if err := list.UpdateNode(publishTimeout); err != nil {
		n.log.Debug("not all have heard that this node leaves", "err", err)
	}
}

// forget takes those out of the view who went while we changed our name.
func (n *Node) forget(ctx context.Context, d *delegate) {
	if sleep(ctx, forgetAfter) {
		n.forgetGone(d)
	}
}

func (n *Node) forgetGone(d *delegate) {
	there := d.known()
	for _, m := range n.view.list() {
		if !m.Self && !there[m.Name].IsValid() {
			n.lose(m.Name)
		}
	}
}

// lose takes a member out of the view that the gossip has no more. A relay that
// was fit, and did not say that it leaves, is remembered, unless another life
// is there in its place. It is remembered first: DNS must not find it neither here
// nor there, or it would be in no answer for a moment, and begin anew after it.
func (n *Node) lose(name string) {
	m, ok := n.view.get(name)
	if !ok {
		return
	}
	another := func(o Member) bool { return o.Name != name && m.isAt(o) }
	if n.verdicts.Healthy(name) && !slices.ContainsFunc(n.view.list(), another) {
		n.lost.add(m)
	}
	n.view.remove(name)
	n.log.Info("member gone", "member", m.Name, "address", m.Address, "status", m.State.Status)
}
