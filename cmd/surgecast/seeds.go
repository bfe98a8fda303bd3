package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// maxSeedNames bounds the names of one SRV answer that are looked up; the rest
// is left out.
const maxSeedNames = 8

// seedZone finds seeds in DNS, at _gossip below the zone: TXT has their ip:port,
// SRV their names.
type seedZone struct {
	name     string
	resolver *net.Resolver
}

// lookup is what cluster.Config.Lookup wants. One kind of record is enough.
func (z seedZone) lookup(ctx context.Context) ([]netip.AddrPort, error) {
	var (
		asking         sync.WaitGroup
		fromTXT, named []netip.AddrPort
		errTXT, errSRV error
	)
	asking.Go(func() {
		var texts []string
		texts, errTXT = z.resolver.LookupTXT(ctx, z.name)
		fromTXT = parseSeedTexts(texts)
	})
	asking.Go(func() {
		var servers []*net.SRV
		_, servers, errSRV = z.resolver.LookupSRV(ctx, "", "", z.name)
		named = z.addresses(ctx, servers[:min(len(servers), maxSeedNames)])
	})
	asking.Wait()
	found := append(fromTXT, named...)
	if len(found) > 0 {
		return found, nil
	}
	return nil, errors.Join(errTXT, errSRV)
}

// addresses looks up the servers' names, all at once.
func (z seedZone) addresses(ctx context.Context, servers []*net.SRV) (found []netip.AddrPort) {
	each := make([][]netip.Addr, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		asking.Go(func() { each[i], _ = z.resolver.LookupNetIP(ctx, "ip", s.Target) })
	}
	asking.Wait()
	for i, addrs := range each {
		if servers[i].Port == 0 {
			continue
		}
		for _, a := range addrs {
			found = append(found, netip.AddrPortFrom(a.Unmap(), servers[i].Port))
		}
	}
	return found
}

// parseSeedTexts reads ip:port, one or more in a text; what is none is skipped,
// for a TXT record may hold anything.
func parseSeedTexts(texts []string) (found []netip.AddrPort) {
	for _, text := range texts {
		for word := range strings.FieldsSeq(text) {
			a, err := netip.ParseAddrPort(word)
			if err == nil && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast() && a.Addr().Zone() == "" {
				found = append(found, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
			}
		}
	}
	return found
}

// seedLookup is what finds seeds by the configuration's zone; nil where nobody
// is to be asked. The system's resolver is not asked for a node on a loopback
// address, which is a trial on one machine.
func (n *node) seedLookup() func(context.Context) ([]netip.AddrPort, error) {
	server := n.config.Resolver
	if n.config.Zone == "" || n.env.Resolver == nil || server.Off || !server.IsValid() && n.address.IsLoopback() {
		return nil
	}
	return seedZone{"_gossip." + n.config.Zone + ".", n.env.Resolver(server.AddrPort)}.lookup
}

// resolver returns what asks a DNS server; an invalid one: the system's.
func resolver(server netip.AddrPort) *net.Resolver {
	if !server.IsValid() {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.String())
	}}
}
