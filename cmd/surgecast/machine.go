package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// machine is what tells one machine from a copy of its disk. What is not known
// is empty, and then differs from nothing.
type machine struct {
	// Instance is the cloud's name for it, with the cloud's: "ec2/i-0abc".
	Instance string `json:"instance,omitempty"`

	// MACs are of the interface that bears the node's address; where none does,
	// as for a loopback address, of all interfaces.
	MACs []string `json:"macs,omitempty"`

	// Boot is the kernel's id of this boot.
	Boot string `json:"boot,omitempty"`
}

// link is a network interface.
type link struct {
	MAC      string // "" on loopback
	Prefixes []netip.Prefix
}

// machineLinks lists the interfaces of this machine.
func machineLinks() ([]link, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var links []link
	for _, i := range interfaces {
		l := link{MAC: i.HardwareAddr.String()}
		addresses, _ := i.Addrs() // an interface that has just gone has none
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				l.Prefixes = append(l.Prefixes, prefix)
			}
		}
		links = append(links, l)
	}
	return links, nil
}

func (l link) has(address netip.Addr) bool {
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == address.WithZone("") })
}

// isHere tells whether the machine has an address. Linux has all of 127.0.0.0/8
// without their being listed.
func isHere(links []link, address netip.Addr) bool {
	return address.IsLoopback() || slices.ContainsFunc(links, func(l link) bool { return l.has(address) })
}

// macs are the hardware addresses of the interfaces that are wanted.
func macs(links []link, wanted func(link) bool) []string {
	var found []string
	for _, l := range links {
		if l.MAC != "" && wanted(l) {
			found = append(found, l.MAC)
		}
	}
	slices.Sort(found)
	return found
}

func allMACs(links []link) []string { return macs(links, func(link) bool { return true }) }

// bootID is the kernel's; "" where it does not tell.
func bootID(kernel fs.FS) string {
	if kernel == nil {
		return ""
	}
	text, err := fs.ReadFile(kernel, "kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// differs says in what a machine that was remembered is another one than this,
// of which all MACs are given; "" when in nothing.
func (m machine) differs(now machine) string {
	cloud := func(instance string) string { provider, _, _ := strings.Cut(instance, "/"); return provider }
	switch {
	case m.Instance != "" && m.Instance != now.Instance && cloud(m.Instance) == cloud(now.Instance):
		return "instance"
	case len(m.MACs) > 0 && len(now.MACs) > 0 && !slices.ContainsFunc(m.MACs, func(mac string) bool { return slices.Contains(now.MACs, mac) }):
		return "mac"
	}
	return ""
}
