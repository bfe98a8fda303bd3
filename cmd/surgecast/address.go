package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// reach is where others find a node.
type reach struct {
	Address netip.Addr // all listeners bind it
	Public  netip.Addr // where viewers come, where that is another; else invalid
	Second  netip.Addr // of the other family, where viewers come as well; else invalid
}

// locator finds out where a node is. Nothing of it is kept: a clone of this
// machine finds its own.
type locator struct {
	config *NodeConfig
	links  []link
	cloud  *cloudQuery // nil: no metadata service
	// seen asks the seeds from which address they see this machine; invalid:
	// none of them answers.
	seen func(ctx context.Context) netip.Addr
	log  *slog.Logger
}

// locate chooses the address: the flag outranks the configuration, that the
// metadata service, and that the machine's own view.
func (l locator) locate(ctx context.Context, flag netip.Addr) (reach, error) {
	address, refused, err := l.address(ctx, flag)
	if err != nil {
		return reach{}, err
	}
	r := reach{Address: address, Public: l.public(ctx, address, refused)}
	if refused.IsValid() && refused != r.Public {
		l.log.Warn("the configuration's address is neither this machine's nor the one that others see, it is told to nobody: remove it, the file may be a copy",
			"configured", refused, "used", r.Address, "public", r.Public)
	}
	if r.Public == r.Address {
		r.Public = netip.Addr{}
	}
	r.Second = l.second(r)
	return r, nil
}

// address returns what to bind, and an address of the configuration that this
// machine does not have: to tell it would send viewers to another machine, as
// when the configuration was copied.
func (l locator) address(ctx context.Context, flag netip.Addr) (bind, refused netip.Addr, err error) {
	if flag.IsValid() {
		return flag.Unmap(), refused, nil
	}
	if configured := l.config.Address.Addr; configured.IsValid() {
		if isHere(l.links, configured) {
			return configured, refused, nil
		}
		refused = configured
	}
	// A public address that the machine has itself is reached from everywhere.
	told := l.cloud.Wait()
	for _, a := range []netip.Addr{told.Public, told.Private, told.IPv6} {
		if a.IsValid() && isHere(l.links, a) {
			return a, refused, nil
		}
	}
	for _, seed := range l.config.Seeds {
		if source, err := sourceTowards(ctx, seed.AddrPort); err == nil {
			return source, refused, nil
		}
	}
	bind, err = onlyAddress(l.links)
	return bind, refused, err
}

// public returns where viewers come when a translator of addresses stands
// between: what the operator or the cloud says or, for a machine without a
// public address, what a seed on the Internet sees.
func (l locator) public(ctx context.Context, address, refused netip.Addr) netip.Addr {
	if pinned := l.config.PublicAddress.Addr; pinned.IsValid() {
		return pinned
	}
	if told := l.cloud.Wait().Public; told.IsValid() {
		return told
	}
	if !refused.IsValid() && (!address.IsPrivate() || !l.seedsPublic()) {
		return netip.Addr{}
	}
	if seen := l.seen(ctx); seen.IsGlobalUnicast() && (!seen.IsPrivate() || seen == refused) {
		return seen
	}
	return netip.Addr{}
}

// seedsPublic tells whether the pool is found over the Internet.
func (l locator) seedsPublic() bool {
	return slices.ContainsFunc(l.config.Seeds, func(s HostPort) bool { return isPublic(s.Addr()) })
}

func isPublic(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() }

// locate finds out where a node with this configuration is, on the machine's
// own network.
func (e environment) locate(ctx context.Context, flag netip.Addr, c *NodeConfig, q *cloudQuery, log *slog.Logger) (reach, error) {
	links, err := e.links()
	if err != nil {
		return reach{}, err
	}
	asking := greeter{newHelloKey(c.PoolSecret), e.client(), e.now}
	defer asking.client.CloseIdleConnections()
	return locator{config: c, links: links, cloud: q, log: log, seen: func(ctx context.Context) netip.Addr {
		var at []string
		for _, s := range c.Seeds[:min(len(c.Seeds), maxGreeted)] {
			at = append(at, netip.AddrPortFrom(s.Addr(), uint16(c.Ports.Viewers)).String())
		}
		for _, answer := range asking.all(ctx, at) {
			return answer.Address
		}
		return netip.Addr{}
	}}.locate(ctx, flag)
}

// sourceTowards returns the address that this machine would use to reach a
// seed. A connected UDP socket knows it without a packet being sent.
func sourceTowards(ctx context.Context, seed netip.AddrPort) (netip.Addr, error) {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "udp", seed.String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer connection.Close()
	local, err := netip.ParseAddrPort(connection.LocalAddr().String())
	return local.Addr().Unmap(), err
}

// onlyAddress chooses where there is nothing to choose, and asks otherwise:
// a wrong guess would be told to the whole pool.
func onlyAddress(links []link) (netip.Addr, error) {
	var found []string
	for _, l := range links {
		for _, p := range l.Prefixes {
			if p.Addr().IsGlobalUnicast() {
				found = append(found, p.Addr().String())
			}
		}
	}
	slices.Sort(found)
	switch len(found) {
	case 0:
		return netip.Addr{}, errors.New("this machine has no address that others reach: give one with --address (127.0.0.1 for a trial on this machine alone)")
	case 1:
		return netip.ParseAddr(found[0])
	}
	return netip.Addr{}, fmt.Errorf("this machine has several addresses (%s): write the one that the relays reach as \"address:\" into the configuration, or give it with --address",
		strings.Join(found, ", "))
}
