package main

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// linkWith is an interface with addresses such as 192.0.2.1/24.
func linkWith(mac string, prefixes ...string) link {
	l := link{MAC: mac}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

// answered is a metadata service's answer that is there.
func answered(c cloud) *cloudQuery {
	q := &cloudQuery{done: make(chan struct{}), answer: c}
	close(q.done)
	return q
}

func TestLocate(t *testing.T) {
	addr := netip.MustParseAddr
	flag, none := addr("127.0.0.9"), netip.Addr{}
	here := Address{addr("127.0.0.8")}
	near := []HostPort{{netip.MustParseAddrPort("127.0.0.1:7946")}}
	far := append([]HostPort{{netip.MustParseAddrPort("203.0.113.1:7946")}}, near...)
	nat := cloud{Private: addr("10.0.0.5"), Public: addr("203.0.113.5")}
	for _, test := range []struct {
		name   string
		flag   netip.Addr
		config NodeConfig
		cloud  cloud
		seen   netip.Addr
		want   string // address, and the public one
		warns  bool
	}{
		{"the flag outranks all", flag, NodeConfig{Address: here, Seeds: near}, cloud{}, none, "127.0.0.9", false},
		{"then the configuration", none, NodeConfig{Address: here, Seeds: near}, nat, none, "127.0.0.8 203.0.113.5", false},
		{"then the metadata service", none, NodeConfig{Seeds: near}, nat, none, "10.0.0.5 203.0.113.5", false},
		{"a public address on an interface", none, NodeConfig{}, cloud{Private: addr("10.0.0.5"), Public: addr("198.51.100.5")}, none, "198.51.100.5", false},
		{"a service that speaks of another machine", none, NodeConfig{Seeds: near}, cloud{Private: addr("10.7.7.7")}, none, "127.0.0.1", false},
		{"IPv6 alone, as the service says", none, NodeConfig{}, cloud{IPv6: addr("2001:db8::5")}, none, "2001:db8::5", false},
		{"IPv6 beside a private one", none, NodeConfig{}, cloud{Private: addr("10.0.0.5"), IPv6: addr("2001:db8::5")}, none, "10.0.0.5", false},
		{"then the way to the seed", none, NodeConfig{Seeds: near}, cloud{}, none, "127.0.0.1", false},
		{"what a seed on the Internet sees", none, NodeConfig{Address: Address{addr("10.0.0.5")}, Seeds: far}, cloud{}, addr("203.0.113.9"), "10.0.0.5 203.0.113.9", false},
		{"but not what one nearby sees", none, NodeConfig{Address: Address{addr("10.0.0.5")}, Seeds: near}, cloud{}, addr("203.0.113.9"), "10.0.0.5", false},
		{"an operator's NAT address", none, NodeConfig{Address: here, PublicAddress: Address{addr("203.0.113.7")}}, nat, none, "127.0.0.8 203.0.113.7", false},
		{"its own address as the public one", none, NodeConfig{Address: here, PublicAddress: here}, nat, none, "127.0.0.8", false},
		{"a copied configuration", none, NodeConfig{Address: Address{addr("10.0.0.99")}, Seeds: near}, cloud{}, addr("10.0.0.5"), "127.0.0.1", true},
		{"a copied configuration, no seed answers", none, NodeConfig{Address: Address{addr("10.0.0.99")}, Seeds: near}, cloud{}, none, "127.0.0.1", true},
		{"a NAT address that the seed confirms", none, NodeConfig{Address: Address{addr("203.0.113.9")}, Seeds: near}, cloud{}, addr("203.0.113.9"), "127.0.0.1 203.0.113.9", false},
	} {
		var log strings.Builder
		l := locator{
			config: &test.config,
			links:  []link{linkWith("", "127.0.0.1/8"), linkWith("02:00:00:00:00:05", "10.0.0.5/24", "198.51.100.5/24", "2001:db8::5/64")},
			cloud:  answered(test.cloud),
			seen:   func(context.Context) netip.Addr { return test.seen },
			log:    slog.New(slog.NewTextHandler(&log, nil)),
		}
		r, err := l.locate(t.Context(), test.flag)
		got := r.Address.String()
		if r.Public.IsValid() {
			got += " " + r.Public.String()
		}
		if err != nil || got != test.want || strings.Contains(log.String(), "it is told to nobody") != test.warns {
			t.Errorf("%s: got %s, want %s, %v\n%s", test.name, got, test.want, err, log.String())
		}
	}
}

func TestOnlyAddress(t *testing.T) {
	lo, local, one, two := linkWith("", "127.0.0.1/8"), linkWith("a", "fe80::1/64"), linkWith("b", "192.0.2.1/24"), linkWith("c", "198.51.100.1/24")
	if got, err := onlyAddress([]link{lo, local, one}); err != nil || got.String() != "192.0.2.1" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := onlyAddress([]link{lo}); err == nil || !strings.Contains(err.Error(), "no address that others reach") {
		t.Errorf("got %v", err)
	}
	if _, err := onlyAddress([]link{two, one}); err == nil || !strings.Contains(err.Error(), "several addresses (192.0.2.1, 198.51.100.1)") {
		t.Errorf("got %v", err)
	}
}
