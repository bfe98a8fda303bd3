package cluster

import "github.com/hashicorp/memberlist"

// tellVerdict queues a verdict for gossip. Our own goes straight to those who
// wait for it as well, the name servers and the relay itself: gossip's rounds
// would cost some tenths of a second.
func (n *Node) tellVerdict(v Verdict) {
	n.queue.add(v)
	list := n.list.Load()
	if list == nil || v.Prober != n.Name() {
		return
	}
	waiting, message := n.waitingFor(v), encodeVerdicts(v)[0]
	for _, to := range waiting {
		_ = list.SendToAddress(to, message) // gossip brings it again
	}
}

// waitingFor are those who are told of a verdict of ours at once. They are called
// by address: memberlist changes the nodes that it names.
func (n *Node) waitingFor(v Verdict) (waiting []memberlist.Address) {
	for _, m := range n.Members() {
		if m.Name == v.Target || m.overlooksAll() && m.Name != v.Prober {
			waiting = append(waiting, memberlist.Address{Addr: m.Address.String(), Name: m.Name})
		}
	}
	return waiting
}
