package cluster

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls in one life of the node. The events come
// while it holds its lock on the nodes: they must not wait for anything, nor
// ask memberlist.
type delegate struct {
	node *Node
	name string // of this life

	contested chan struct{} // one element: another node has our name

	// ended means that events are not true any more: memberlist's timers go on
	// after its Shutdown, and take for dead whom they can't hear.
	ended atomic.Bool

	// others are the other nodes of the gossip, with a message that can be read
	// or not. memberlist's own list can't be read while it changes.
	mu     sync.Mutex
	others map[string]netip.AddrPort
}

func newDelegate(n *Node) *delegate {
	return &delegate{node: n, name: n.Name(), contested: make(chan struct{}, 1), others: make(map[string]netip.AddrPort)}
}

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
)

// NodeMeta gives our message. It is never longer than limit: memberlist would
// panic.
func (d *delegate) NodeMeta(limit int) []byte {
	self := d.node.self()
	b, err := encodeMessage(self.State, self.born, limit)
	if err != nil {
		// Can't be, since the state is clamped; a node without metadata is
		// ignored by the others, which is better than a panic.
		d.node.log.Error("own state not published", "err", err)
		return nil
	}
	return b
}

// NotifyJoin puts a new member into the view.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.update(n, true) }

// NotifyUpdate puts a member's new state into the view.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.update(n, false) }

// update leaves a member whose message can't be read out of the view; for the
// gossip itself it stays a node as any other.
func (d *delegate) update(n *memberlist.Node, joined bool) {
	if n.Name == d.name || d.ended.Load() {
		return // our own state is put there by SetState
	}
	d.note(n, true)
	m, err := memberOf(n)
	if err != nil {
		d.node.view.remove(n.Name)
		d.node.log.Warn("member ignored", "member", n.Name, "address", n.Address(), "err", err)
		return
	}
	d.node.learnSecond(m)
	d.node.view.put(m)
	d.node.lost.found(m)
	if joined && !d.node.reaches(m) {
		d.node.log.Warn("a member has no family of IP in common with this node, which sees it through others alone: give one of the two an address of the other family too, see second_address",
			"member", m.Name, "address", m.Address)
	}
	if joined {
		d.node.log.Info("member joined", "member", m.Name, "address", m.Address, "role", m.State.Role)
	}
}

// NotifyLeave takes a member that left or died out of the view.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	if n.Name == d.name || d.ended.Load() {
		return
	}
	d.note(n, false)
	d.node.lose(n.Name)
}

// NotifyConflict hears that two addresses use one name.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name != d.name || d.ended.Load() {
		return // theirs to solve
	}
	select {
	case d.contested <- struct{}{}:
		d.node.log.Error("another node has our name: one of the two was copied while it ran", "other", other.Address())
	default: // known
	}
}

// NotifyMsg hears a message of ours that went along with gossip: verdicts.
// What can't be read is ignored; a later version may send it.
func (d *delegate) NotifyMsg(b []byte) {
	verdicts, err := decodeVerdicts(b)
	if err != nil {
		d.node.log.Debug("message ignored", "err", err)
	}
	for _, v := range verdicts {
		d.node.verdicts.hear(v)
	}
}

// GetBroadcasts gives the verdicts that fit into a packet.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.node.queue.packet(overhead, limit)
}

// LocalState gives all verdicts to a node that exchanges its knowledge with us.
func (d *delegate) LocalState(bool) []byte { return encodeKnown(d.node.verdicts.snapshot()) }

// MergeRemoteState takes those that it has.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if len(b) == 0 {
		return // a release without verdicts
	}
	verdicts, err := decodeKnown(b)
	if err != nil {
		d.node.log.Debug("knowledge ignored", "err", err)
	}
	for _, v := range verdicts {
		d.node.verdicts.hear(v)
	}
}

func memberOf(n *memberlist.Node) (Member, error) {
	state, born, err := decodeMessage(n.Meta)
	if err != nil {
		return Member{}, err
	}
	return Member{Name: n.Name, Address: addressOf(n), State: state, born: born}, nil
}

func addressOf(n *memberlist.Node) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(addr.Unmap(), n.Port)
}

func (d *delegate) note(n *memberlist.Node, there bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if there {
		d.others[n.Name] = addressOf(n)
	} else {
		delete(d.others, n.Name)
	}
}

// known are the other nodes of the gossip, by name.
func (d *delegate) known() map[string]netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.others)
}
