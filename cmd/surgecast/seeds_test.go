package main

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"surgecast/cluster"
)

func TestSeedsAreFoundInTheZone(t *testing.T) {
	var members []cluster.Member
	for address, role := range map[string]cluster.Role{"127.0.0.71:7946": cluster.RoleOrigin, "127.0.0.72:7947": cluster.RoleRelay} {
		at := netip.MustParseAddrPort(address)
		members = append(members, cluster.Member{
			Name: address, Address: at,
			State: cluster.State{Role: role, Status: cluster.StatusServing, Media: at.Addr().String() + ":8080"},
		})
	}
	server, err := cluster.NewDNS(cluster.DNSConfig{Listen: []string{"127.0.0.1:0"}, Zone: "live.surgecast.test", View: func() []cluster.Member { return members }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Run(ctx) }()
	defer func() { stop(); <-ended }()

	at := netip.MustParseAddrPort(server.Addr().String())
	found, err := seedZone{"_gossip.live.surgecast.test.", resolver(at)}.lookup(ctx)
	slices.SortFunc(found, netip.AddrPort.Compare)
	want := []string{"127.0.0.71:7946", "127.0.0.72:7947", "127.0.0.72:7947"} // by TXT, by TXT and SRV
	if got := texts(found); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	bound, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if found, err := (seedZone{"_gossip.nobody.test.", resolver(at)}).lookup(bound); err == nil || len(found) > 0 {
		t.Errorf("of another zone: %v, %v", found, err)
	}
}

func texts(found []netip.AddrPort) (all []string) {
	for _, a := range found {
		all = append(all, a.String())
	}
	return all
}

func FuzzParseSeedTexts(f *testing.F) {
	f.Add("192.0.2.1:7946 [2001:db8::1]:7946")
	f.Add("v=spf1 -all")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range parseSeedTexts([]string{text}) {
			if !a.IsValid() || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().Is4In6() {
				t.Errorf("took %v", a)
			}
		}
	})
}
