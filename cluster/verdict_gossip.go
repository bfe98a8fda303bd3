package cluster

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
