package origin

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
)

// Who knocks most gives way first, of these the oldest; who was admitted never.
func TestPlacesGiveWay(t *testing.T) {
	p := &places{maxTotal: 6, maxPerAddress: 4, logger: slog.New(slog.DiscardHandler)}
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var evicted []string
	take := func(address netip.Addr, name string) (*place, bool) {
		return p.take(address, func() { evicted = append(evicted, name) })
	}
	want := func(names ...string) {
		t.Helper()
		if fmt.Sprint(evicted) != fmt.Sprint(names) {
			t.Fatalf("%v gave way instead of %v", evicted, names)
		}
		evicted = nil
	}
	var last *place
	for i := range 3 {
		last, _ = take(one, fmt.Sprint("one ", i))
		_, _ = take(other, fmt.Sprint("other ", i))
	}
	last.admit(true) // now other knocks most
	want()
	_, ok := take(one, "one 3")
	want("other 0")
	if !ok || len(p.taken) != 6 {
		t.Fatalf("%v, %d places are taken", ok, len(p.taken))
	}
	_, _ = take(one, "one 4") // its fifth
	want("one 0")
	for _, taken := range p.taken {
		taken.admit(true)
	}
	for _, address := range []netip.Addr{one, netip.MustParseAddr("192.0.2.3")} {
		if _, ok := take(address, "late"); ok {
			t.Errorf("%v got a place of those who publish", address)
		}
	}
	last.leave()
	last.leave()
	if _, ok := take(one, "late"); !ok || len(p.taken) != 6 {
		t.Errorf("%v, %d places are taken after one was left", ok, len(p.taken))
	}
	want()
}
