package cluster

import (
	"log"
	"net/netip"

	"github.com/hashicorp/memberlist"
)

// maxSeconds bounds the second addresses that are kept; at the bound all are
// learnt anew.
const maxSeconds = 1024

// openFamilies opens the gossip at our addresses. Without the second one the node
// goes on with the first.
func (n *Node) openFamilies(logger *log.Logger) (memberlist.Transport, error) {
	first, err := n.openTransport(n.cfg.Bind, logger)
	if err != nil {
		return nil, err
	}
	var second memberlist.NodeAwareTransport
	if n.cfg.Second != "" {
		if second, err = n.openTransport(n.cfg.Second, logger); err != nil {
			n.log.Warn("the gossip is not heard at the second address, going on with the first", "second", n.cfg.Second, "err", err)
			second = nil
		}
	}
	return newFamilies(first, second, n.bind.Addr().Is4(), n.secondOf), nil
}

func (n *Node) openTransport(bind string, logger *log.Logger) (memberlist.NodeAwareTransport, error) {
	if n.cfg.Transport != nil {
		t, err := n.cfg.Transport(bind)
		if err != nil {
			return nil, err
		}
		return t.(memberlist.NodeAwareTransport), nil
	}
	at := netip.MustParseAddrPort(bind)
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{at.Addr().String()}, BindPort: int(at.Port()), Logger: logger,
	})
	if err != nil { // a nil *NetTransport is no nil interface
		return nil, err
	}
	return t, nil
}

// secondOf is where another node's gossip is heard at its second address, by its
// first one.
func (n *Node) secondOf(first netip.AddrPort) netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seconds[first]
}

// learnSecond keeps a member's second address, also beyond its loss: it may be
// found there again.
func (n *Node) learnSecond(m Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	second := m.State.Second
	if !second.IsValid() || second.Is4() == m.Address.Addr().Is4() {
		delete(n.seconds, m.Address)
		return
	}
	if len(n.seconds) >= maxSeconds {
		clear(n.seconds)
	}
	n.seconds[m.Address] = netip.AddrPortFrom(second, m.Address.Port())
}

// SecondOf returns another node's address of the other family, by its first one;
// invalid where none is known.
func (n *Node) SecondOf(first netip.Addr) netip.Addr {
	for _, m := range n.view.list() {
		if !m.Self && m.State.Second.IsValid() && (m.Address.Addr() == first || m.PublicAddr() == first || m.mediaAddr() == first) {
			return m.State.Second
		}
	}
	return netip.Addr{}
}

// reaches tells whether this node and a member have a family of IP in common.
func (n *Node) reaches(m Member) bool {
	ours := map[bool]bool{n.bind.Addr().Is4(): true}
	if n.second.IsValid() {
		ours[n.second.Addr().Is4()] = true
	}
	return ours[m.Address.Addr().Is4()] || m.State.Second.IsValid() && ours[m.State.Second.Is4()]
}
