package origin

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestFailuresAreDelayed(t *testing.T) {
	f := newFailures()
	now := time.Now()
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var delays []time.Duration
	for range 12 {
		delays = append(delays, f.add(one, now))
	}
	want := []time.Duration{0, 0, 0, 250e6, 500e6, 1e9, 2e9, 4e9, 5e9, 5e9, 5e9, 5e9}
	if fmt.Sprint(delays) != fmt.Sprint(want) {
		t.Errorf("delays %v", delays)
	}
	if d := f.add(other, now); d != 0 {
		t.Errorf("another address waits %v", d)
	}
	if d := f.add(one, now.Add(failureMemory+time.Second)); d != 0 {
		t.Errorf("still waits %v after %v", d, failureMemory)
	}
	for i := range 3 * maxFailureAddresses {
		f.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(f.byAddress) > maxFailureAddresses {
		t.Errorf("%d addresses in memory", len(f.byAddress))
	}
}
