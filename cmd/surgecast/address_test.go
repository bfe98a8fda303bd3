package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestNodeAddress(t *testing.T) {
	flag := netip.MustParseAddr("127.0.0.9")
	configured := Address{netip.MustParseAddr("127.0.0.8")}
	seeds := []HostPort{{netip.MustParseAddrPort("127.0.0.1:7946")}}
	for _, test := range []struct {
		name   string
		flag   netip.Addr
		config NodeConfig
		want   string
	}{
		{"the flag outranks all", flag, NodeConfig{Address: configured, Seeds: seeds}, "127.0.0.9"},
		{"then the configuration", netip.Addr{}, NodeConfig{Address: configured, Seeds: seeds}, "127.0.0.8"},
		{"then the way to the seed", netip.Addr{}, NodeConfig{Seeds: seeds}, "127.0.0.1"},
	} {
		got, err := nodeAddress(t.Context(), test.flag, &test.config)
		if err != nil || got.String() != test.want {
			t.Errorf("%s: got %v, %v", test.name, got, err)
		}
	}
}

func TestOnlyAddress(t *testing.T) {
	network := func(cidr string) net.Addr {
		ip, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: ip, Mask: n.Mask}
	}
	lo, link, one, two := network("127.0.0.1/8"), network("fe80::1/64"), network("192.0.2.1/24"), network("198.51.100.1/24")
	if got, err := onlyAddress([]net.Addr{lo, link, one}); err != nil || got.String() != "192.0.2.1" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := onlyAddress([]net.Addr{lo}); err == nil || !strings.Contains(err.Error(), "no address that others reach") {
		t.Errorf("got %v", err)
	}
	if _, err := onlyAddress([]net.Addr{two, one}); err == nil || !strings.Contains(err.Error(), "several addresses (192.0.2.1, 198.51.100.1)") {
		t.Errorf("got %v", err)
	}
}
