package cluster

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// flood asks from a network for a second of fake time and counts what comes.
type flood struct {
	whole, slips, dropped int
}

func (f *flood) ask(t *testing.T, d *DNS, from string, query []byte) {
	t.Helper()
	answer := d.respond(nil, query, netip.MustParseAddr(from), true)
	if answer == nil {
		f.dropped++
		return
	}
	var m dns.Msg
	if err := m.Unpack(answer); err != nil {
		t.Fatal(err)
	}
	switch {
	case !m.Truncated:
		f.whole++
	case len(m.Answer)+len(m.Ns)+len(m.Extra) > 0:
		t.Fatalf("a slip that is not empty:\n%v", &m)
	default:
		f.slips++
	}
}

// A flood of 50,000 a second from one network gets no more than the bound in
// whole answers; of the rest half are told to come by TCP; a resolver in
// another network gets all that it asks for.
func TestDNSRateLimit(t *testing.T) {
	another := func(i int) string {
		return RelayName(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})) + "." + testZone
	}
	pool := func(int) []byte { return packed(question(testZone, dns.TypeA)) }
	for _, tt := range []struct {
		what, network, other string
		queries              int // in a second
		query                func(i int) []byte
	}{
		{"the pool's name", "192.0.2.", "192.0.3.1", 50_000, pool},
		{"IPv6", "2001:db8::", "2001:db8:0:100::1", 5000, pool},
		{"relays' names, another each time", "192.0.2.", "192.0.3.1", 5000, func(i int) []byte { return packed(question(another(i), dns.TypeA)) }},
		{"names that are not there", "192.0.2.", "192.0.3.1", 5000, func(i int) []byte { return packed(question("x"+another(i), dns.TypeA)) }},
		{"no DNS", "192.0.2.", "192.0.3.1", 5000, func(int) []byte { return make([]byte, dnsHeaderBytes) }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 100
				d, _ := silentDNS(t, threeRelays, func(c *DNSConfig) { c.RateLimit = limit })
				var bad, good flood
				for i := range tt.queries {
					bad.ask(t, d, tt.network+string(rune('1'+i%9)), tt.query(i))
					if i%(tt.queries/50) == 0 {
						good.ask(t, d, tt.other, pool(i))
					}
					time.Sleep(time.Second / time.Duration(tt.queries))
				}
				if bad.whole < limit || bad.whole > 2*limit+1 { // what was saved up, and a second's
					t.Errorf("the flood got %d whole answers, the bound is %d", bad.whole, limit)
				}
				if rest := tt.queries - bad.whole; bad.slips < rest*4/10 || bad.slips > rest*6/10 {
					t.Errorf("of %d answers beyond the bound %d said TC", rest, bad.slips)
				}
				if good.whole != 50 {
					t.Errorf("another network: %+v of 50", good)
				}
			})
		})
	}
}

// What counts as one, and what apart.
func TestDNSLimitCountsByNetworkAndKind(t *testing.T) {
	pool, relays := kind{data, dns.TypeA, apexNumber}, kind{data, dns.TypeA, relaysNumber}
	for _, tt := range []struct {
		a, b netip.Addr
		k, l kind
		same bool
	}{
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.254"), pool, pool, true},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.9"), pool, pool, true},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.3.1"), pool, pool, false},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.1"), pool, relays, false},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.1"), pool, kind{data, dns.TypeAAAA, apexNumber}, false},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.1"), pool, kind{sort: noName}, false},
		{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:ff::1"), pool, pool, true},
		{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:100::1"), pool, pool, false},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("c000:200::"), pool, pool, false}, // the same bytes
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(1)
			if got := l.admit(tt.a, tt.k); got != admitted {
				t.Fatalf("the first answer: %v", got)
			}
			l.admit(tt.a, tt.k)
			if got := l.admit(tt.b, tt.l) != admitted; got != tt.same {
				t.Errorf("%v %+v and %v %+v count as one: %t", tt.a, tt.k, tt.b, tt.l, got)
			}
		})
	}
}

// A flood from more networks than there are accounts limits nobody who comes
// later; when it is over all are free again.
func TestDNSLimitWithAFullTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		const networks = 4 * limitSets * limitWays
		network := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}) }
		for i := range networks {
			if got := l.admit(network(i), kind{}); got != admitted {
				t.Fatalf("network %d: %v", i, got)
			}
		}
		time.Sleep(limitDebt + 2*limitCredit)
		for i := range 100 {
			first, second := l.admit(network(i), kind{}), l.admit(network(i), kind{})
			if first != admitted || second != dropped {
				t.Fatalf("network %d after the flood: %v, %v", i, first, second)
			}
		}
	})
}

func packed(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// Who is limited is told TC, and gets by TCP what it asked for, however often.
func TestDNSLimitedResolverComesByTCP(t *testing.T) {
	d, _ := serveDNS(t, threeRelays, func(c *DNSConfig) { c.RateLimit = 5 })
	conn, err := net.Dial("udp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const queries = 40
	for range queries {
		if _, err := conn.Write(packed(question(testZone, dns.TypeA))); err != nil {
			t.Fatal(err)
		}
	}
	truncated := 0
	buf := make([]byte, 512)
	for truncated == 0 {
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("no answer says TC: %v", err)
		}
		var m dns.Msg
		if err := m.Unpack(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if m.Truncated {
			truncated++
		}
	}
	for range queries {
		if r := exchange(t, d, "tcp", question(testZone, dns.TypeA)); r.Truncated || len(r.Answer) != 3 {
			t.Fatalf("by TCP:\n%v", r)
		}
	}
}
