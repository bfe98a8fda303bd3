package main

import (
	"net/netip"

	"surgecast/cluster"
)

// advertised is the ip:port that gossip tells: the public one where the pool is
// found over the Internet, for there nobody reaches the other.
func (n *node) advertised() string {
	l := locator{config: n.config}
	if n.public.IsValid() && !isPublic(n.address) && l.seedsPublic() {
		return netip.AddrPortFrom(n.public, uint16(n.config.Ports.Gossip)).String()
	}
	return n.at(n.config.Ports.Gossip)
}

// mediaOf is the host:port at which this node reaches a member: its private
// one where gossip goes there too, or where both are in one network, else the
// public one.
func (n *node) mediaOf(m cluster.Member) string {
	media, err := netip.ParseAddrPort(m.State.Media)
	if err != nil || m.State.Public == "" || media.Addr() == m.Address.Addr() || n.network.Contains(media.Addr()) {
		return m.State.Media
	}
	return m.State.Public
}

// networkOf is the network of an interface's address; none: invalid.
func networkOf(links []link, address netip.Addr) netip.Prefix {
	for _, l := range links {
		for _, p := range l.Prefixes {
			if p.Addr() == address {
				return p
			}
		}
	}
	return netip.Prefix{}
}

// publicMedia is the host:port that viewers are told; "" where it is the same
// as other nodes use.
func (n *node) publicMedia() string {
	if !n.public.IsValid() {
		return ""
	}
	return netip.AddrPortFrom(n.public, uint16(n.config.Ports.Viewers)).String()
}
