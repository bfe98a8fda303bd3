package cluster

import (
	"github.com/hashicorp/memberlist"
)

// newQueue holds the verdicts that go along with gossip.
func (n *Node) newQueue() *memberlist.TransmitLimitedQueue {
	return &memberlist.TransmitLimitedQueue{
		NumNodes:       func() int { return len(n.view.list()) },
		RetransmitMult: retransmits,
	}
}

// tellVerdict queues a verdict for gossip. Our own goes straight to those who
// wait for it as well, the name servers and the relay itself: gossip's rounds
// would cost some tenths of a second.
func (n *Node) tellVerdict(v Verdict) {
	message := encodeVerdict(v)
	n.queue.QueueBroadcast(&verdictBroadcast{name: v.Prober + v.Target, message: message})
	n.queue.Prune(maxVerdicts) // the oldest go first
	list := n.list.Load()
	if list == nil || v.Prober != n.Name() {
		return
	}
	waiting := n.waitingFor(v)
	for _, member := range list.Members() {
		if waiting[member.Name] {
			_ = list.SendBestEffort(member, message) // gossip brings it again
		}
	}
}

// waitingFor are the names of those who are told of a verdict of ours at once.
func (n *Node) waitingFor(v Verdict) map[string]bool {
	waiting := map[string]bool{v.Target: true}
	for _, m := range n.Members() {
		if m.overlooksAll() && m.Name != v.Prober {
			waiting[m.Name] = true
		}
	}
	return waiting
}

// verdictBroadcast is a verdict on its way; a later one takes its place.
type verdictBroadcast struct {
	name    string
	message []byte
}

var _ memberlist.NamedBroadcast = (*verdictBroadcast)(nil)

// Name implements memberlist.NamedBroadcast.
func (b *verdictBroadcast) Name() string { return b.name }

// Invalidates implements memberlist.Broadcast.
func (b *verdictBroadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*verdictBroadcast)
	return ok && o.name == b.name
}

// Message implements memberlist.Broadcast.
func (b *verdictBroadcast) Message() []byte { return b.message }

// Finished implements memberlist.Broadcast.
func (b *verdictBroadcast) Finished() {}
