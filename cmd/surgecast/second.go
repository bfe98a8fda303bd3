package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"

	"surgecast/cluster"
	"surgecast/relay"
)

// second chooses the address of the other family of IP at which viewers reach the
// node as well: the configuration's, else the only public one that the interface
// with the node's own address has, or that of several which the cloud names. Whether it leads anywhere the probers find out.
func (l locator) second(r reach) netip.Addr {
	first := r.Address
	if r.Public.IsValid() {
		first = r.Public
	}
	configured := l.config.SecondAddress
	switch {
	case configured.Off:
		return netip.Addr{}
	case configured.IsValid() && configured.Is4() == first.Is4():
		l.log.Warn("second_address is of the same family as the first, and not used", "first", first, "second", configured.Addr)
		return netip.Addr{}
	case configured.IsValid() && !isHere(l.links, configured.Addr):
		l.log.Warn("the configuration's second_address is not this machine's and told to nobody: remove it, the file may be a copy", "configured", configured.Addr)
		return netip.Addr{}
	case configured.IsValid():
		return configured.Addr
	}
	var found []netip.Addr
	for _, link := range l.links {
		if !link.has(r.Address) {
			continue
		}
		for _, p := range link.Prefixes {
			if a := p.Addr().Unmap(); isPublic(a) && a.Is4() != first.Is4() {
				found = append(found, a)
			}
		}
	}
	told := l.cloud.Wait().IPv6
	switch {
	case len(found) == 0:
		return netip.Addr{}
	case len(found) == 1:
		return found[0]
	case slices.Contains(found, told):
		return told
	}
	l.log.Warn("this machine has several addresses of the other family, and viewers are told none of them: write one as \"second_address:\"", "addresses", found)
	return netip.Addr{}
}

// openSecond opens at the second address what viewers connect to. Where that can't
// be done the node goes on with the first one alone.
func (n *node) openSecond(ctx context.Context) {
	for _, one := range []struct {
		port   Port
		secure bool
		to     *net.Listener
	}{{n.config.Ports.Viewers, false, &n.secondViewers}, {n.config.TLS.Port, true, &n.secondSecure}} {
		if one.secure && n.tls == nil || !n.second.IsValid() {
			continue
		}
		listener, err := n.env.listenHere(ctx, netip.AddrPortFrom(n.second, uint16(one.port)).String())
		switch {
		case err == nil && one.secure:
			*one.to = relay.NewTLSListener(n.gate.Guard(listener, true), n.tls.Config())
		case err == nil:
			*one.to = n.gate.Guard(listener, false)
		case n.inherited && errors.Is(err, syscall.EADDRINUSE): // by the socket for all addresses, which serves this one too
		default:
			n.log.Warn("nothing is served at the second address", "err", err)
			n.second = netip.Addr{}
		}
	}
}

// secondMedia is the host:port at which a member's viewers reach it over the other
// family, "" while nobody has seen it there.
func (n *node) secondMedia(m cluster.Member) string {
	if m.Self || n.cluster.Verdicts().Second(m.Name) == cluster.OpinionUp {
		return m.SecondMedia()
	}
	return ""
}

// secondAnswers is what is found of second addresses, for DNS.
func (n *node) secondAnswers(m cluster.Member) cluster.Opinion {
	return n.cluster.Verdicts().Second(m.Name)
}

// mediaFor is the host:port at which viewers of a family of IP reach a member, ""
// where they don't.
func (n *node) mediaFor(m cluster.Member, v6 bool) string {
	if first := m.PublicAddr(); !first.IsValid() || first.Is6() == v6 {
		return m.PublicMedia()
	}
	return n.secondMedia(m)
}

// isV6 is the family of those who come to the node's first address, or to its
// second.
func (n *node) isV6(second bool) bool {
	first := n.address
	if n.public.IsValid() {
		first = n.public
	}
	return first.Is6() != second
}

// byFamily leaves the relays that viewers at one of this node's two addresses reach,
// as they reach them; all, when there is none: one that is not reached is better
// than nothing.
func (n *node) byFamily(relays []cluster.Member, second bool) []cluster.Member {
	var those []cluster.Member
	for _, m := range relays {
		if media := n.mediaFor(m, n.isV6(second)); media != "" {
			m.State.Public = media
			those = append(those, m)
		}
	}
	if len(those) == 0 {
		return relays
	}
	return those
}

// dial connects to another node: at its second address where the first one fails,
// or takes long.
func (n *node) dial(ctx context.Context, network, address string) (net.Conn, error) {
	first, err := netip.ParseAddrPort(address)
	if err != nil || n.cluster == nil {
		return n.env.Dial(ctx, network, address)
	}
	var second netip.AddrPort
	if other := n.cluster.SecondOf(first.Addr().Unmap()); other.IsValid() {
		second = netip.AddrPortFrom(other, first.Port())
	}
	c, _, err := cluster.DialEither(ctx, first, second, func(ctx context.Context, at netip.AddrPort) (net.Conn, error) {
		return n.env.Dial(ctx, network, at.String())
	})
	return c, err
}

// fronts answer those who come to each of a node's listeners for viewers.
type fronts struct {
	Plain, TLS             http.Handler
	SecondPlain, SecondTLS http.Handler // at the second address
}

// secondSurface is what a node's first line in the log says of its second address.
func (n *node) secondSurface() []any {
	if !n.second.IsValid() {
		return nil
	}
	return []any{slog.String("second", netip.AddrPortFrom(n.second, uint16(n.config.Ports.Viewers)).String())}
}
