package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// nodeAddress is the address that a node binds and tells the others: the flag
// outranks the configuration, and that the machine's own view. Nothing of it
// is kept: a clone of this machine finds its own.
func nodeAddress(ctx context.Context, flag netip.Addr, c *NodeConfig) (netip.Addr, error) {
	if flag.IsValid() {
		return flag.Unmap(), nil
	}
	if c.Address.IsValid() {
		return c.Address.Addr, nil
	}
	for _, seed := range c.Seeds {
		if source, err := sourceTowards(ctx, seed.AddrPort); err == nil {
			return source, nil
		}
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the machine's addresses: %w", err)
	}
	return onlyAddress(interfaces)
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
func onlyAddress(interfaces []net.Addr) (netip.Addr, error) {
	var found []string
	for _, a := range interfaces {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() {
			found = append(found, prefix.Addr().String())
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
