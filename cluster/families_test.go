package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

func address6(i int) string { return fmt.Sprintf("2001:db8::%x", i) }

// oneFamily is a socket of one family of IP, which reaches no other one.
type oneFamily struct {
	memberlist.NodeAwareTransport
	is4  bool
	sent *atomic.Int64 // packets
}

func (o oneFamily) reaches(address string) error {
	if netip.MustParseAddrPort(address).Addr().Is4() != o.is4 {
		return fmt.Errorf("dial %s: %w", address, syscall.ENETUNREACH)
	}
	return nil
}

func (o oneFamily) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if err := o.reaches(a.Addr); err != nil {
		return time.Time{}, err
	}
	o.sent.Add(1)
	return o.NodeAwareTransport.WriteToAddress(b, a)
}

func (o oneFamily) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if err := o.reaches(a.Addr); err != nil {
		return nil, err
	}
	return o.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

// village is a pool of two families of IP: node i has 10.0.0.i, 2001:db8::i, or
// both.
type village struct {
	*pool
	sent map[int]*[2]atomic.Int64 // packets of a node over IPv4 and IPv6
}

func newVillage(t *testing.T) *village { return &village{newPool(t), map[int]*[2]atomic.Int64{}} }

// families are those of a node, the first one first: "4", "6", "46", "64".
func (v *village) start(i int, families string, change ...func(*Config)) *Node {
	counts := new([2]atomic.Int64)
	v.sent[i] = counts
	at := map[byte]string{'4': address(i) + ":7946", '6': "[" + address6(i) + "]:7946"}
	n, _ := v.pool.start(i, append([]func(*Config){func(c *Config) {
		c.Bind = at[families[0]]
		c.State.Status, c.State.Media = StatusServing, strings.Replace(c.Bind, ":7946", ":8080", 1)
		c.Seeds = []string{address(1) + ":7946", "[" + address6(1) + "]:7946"}
		if len(families) > 1 {
			c.Second = at[families[1]]
			c.State.Second = netip.MustParseAddrPort(c.Second).Addr()
		}
		c.Transport = func(bind string) (memberlist.Transport, error) {
			at := netip.MustParseAddrPort(bind).Addr()
			sent := &counts[0]
			if at.Is6() {
				sent = &counts[1]
			}
			return oneFamily{v.net.Host(at.String()).Transport(7946).(memberlist.NodeAwareTransport), at.Is4(), sent}, nil
		}
	}}, change...)...)
	return n
}

// cut4 cuts a node from others over IPv4.
func (v *village) cut4(i int, others ...int) {
	for _, o := range others {
		v.net.Cut(address(i), address(o))
	}
}

// keeps fails when a node sees fewer members at any time until the end.
func (v *village) keeps(n *Node, least int, during time.Duration) {
	v.t.Helper()
	for range during / (100 * time.Millisecond) {
		time.Sleep(100 * time.Millisecond)
		if got := len(n.Members()); got < least {
			v.t.Fatalf("%s sees %d members", n.advertise, got)
		}
	}
}

// Nodes of IPv4 alone, of IPv6 alone and of both are one pool, and stay so.
func TestPoolOfTwoFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		nodes := []*Node{v.start(1, "46"), v.start(2, "46"), v.start(3, "64"), v.start(4, "4"), v.start(5, "6"), v.start(6, "6")}
		start := time.Now()
		for _, n := range nodes {
			v.await(n, 5*time.Second, count(6))
		}
		t.Logf("one pool after %d ms", time.Since(start).Milliseconds())
		v.keeps(nodes[4], 6, 3*time.Minute)
		nodes[3].SetState(State{Role: RoleRelay, Status: StatusDraining})
		for _, n := range nodes {
			v.await(n, 3*time.Second, func(members []Member) bool { return len(members) == 6 && len(Serving(members)) == 5 })
		}
	})
}

// A relay of IPv6 alone and an origin that is known by IPv4 first, and nobody else.
func TestTwoNodesOfTwoFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		origin, relay := v.start(1, "46"), v.start(2, "6")
		v.await(relay, 3*time.Second, count(2))
		v.await(origin, 3*time.Second, count(2))
		v.keeps(origin, 2, time.Minute)
		v.keeps(relay, 2, time.Minute)
		if tries := relay.Joins(); tries.Failed > 4 {
			t.Errorf("it goes on joining whom it has: %+v", tries)
		}
	})
}

// IPv4 of a node is cut from all others while IPv6 works: nobody misses it, and
// who starts just then finds the pool.
func TestCutOfOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		nodes := []*Node{v.start(1, "46"), v.start(2, "46"), v.start(3, "46")}
		for _, n := range nodes {
			v.await(n, 5*time.Second, count(3))
		}
		time.Sleep(20 * time.Second)
		before := v.sent[1][1].Load()
		v.cut4(1, 2, 3, 4)
		v.keeps(nodes[0], 3, time.Minute)
		v.keeps(nodes[1], 3, time.Minute)
		if sent := v.sent[1][1].Load() - before; sent < 100 {
			t.Errorf("%d packets took the other way", sent)
		}
		late := v.start(4, "46", func(c *Config) { c.Seeds = c.Seeds[:1] }) // that it knows by IPv4 alone
		v.start(5, "6", func(c *Config) { c.Seeds = c.Seeds[1:] })
		time.Sleep(10 * time.Second)
		if got := len(late.Members()); got != 1 {
			t.Errorf("who knows the seed by IPv4 alone sees %d members", got)
		}
		v.await(nodes[0], 3*time.Second, count(4))
		start := time.Now()
		late6 := v.start(6, "46")
		v.await(late6, 3*time.Second, count(5))
		t.Logf("joined after %d ms", time.Since(start).Milliseconds())
	})
}

// While both families work a packet takes one way.
func TestFirstAddressIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		a, b := v.start(1, "46"), v.start(2, "46")
		v.await(a, 5*time.Second, count(2))
		v.await(b, 5*time.Second, count(2))
		time.Sleep(5 * time.Second)
		before4, before6 := v.sent[1][0].Load(), v.sent[1][1].Load()
		time.Sleep(time.Minute)
		if by4, by6 := v.sent[1][0].Load()-before4, v.sent[1][1].Load()-before6; by4 < 60 || by6 > 0 {
			t.Errorf("%d packets by IPv4, %d by IPv6", by4, by6)
		}
	})
}

// Two nodes without a family in common see each other through one that has both,
// and are told what to do.
func TestNoFamilyInCommon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		text := &lockedWriter{to: new(strings.Builder)}
		log := slog.New(slog.NewTextHandler(text, nil))
		v.start(1, "46")
		v.start(2, "4", func(c *Config) { c.Logger = log })
		alone := v.start(3, "6")
		v.await(alone, 5*time.Second, count(3))
		v.keeps(alone, 3, time.Minute)
		if got := strings.Count(text.String(), "no family of IP in common"); got != 1 {
			t.Errorf("it is said %d times:\n%s", got, text.String())
		}
	})
}

func TestDialEither(t *testing.T) {
	first, second := netip.MustParseAddrPort("10.0.0.1:8080"), netip.MustParseAddrPort("[2001:db8::1]:8080")
	refused := errors.New("refused")
	type way struct {
		after time.Duration
		err   error
	}
	for name, test := range map[string]struct {
		first, second way
		none          bool // there is no second address
		want          netip.AddrPort
		took          time.Duration
	}{
		"the first":                  {first: way{10 * time.Millisecond, nil}, want: first, took: 10 * time.Millisecond},
		"the first, late":            {first: way{300 * time.Millisecond, nil}, second: way{time.Second, nil}, want: first, took: 300 * time.Millisecond},
		"the first is refused":       {first: way{10 * time.Millisecond, refused}, second: way{10 * time.Millisecond, nil}, want: second, took: 20 * time.Millisecond},
		"the first hangs":            {first: way{time.Hour, nil}, second: way{10 * time.Millisecond, nil}, want: second, took: dialSecond + 10*time.Millisecond},
		"both are refused":           {first: way{10 * time.Millisecond, refused}, second: way{10 * time.Millisecond, refused}, took: 20 * time.Millisecond},
		"one hangs, one is refused":  {first: way{time.Hour, nil}, second: way{10 * time.Millisecond, refused}, took: 2 * time.Second},
		"there is one, and it hangs": {first: way{time.Hour, nil}, none: true, took: 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			var open atomic.Int64
			dial := func(ctx context.Context, at netip.AddrPort) (net.Conn, error) {
				w := test.first
				if at == second {
					w = test.second
				}
				if !sleep(ctx, w.after) {
					return nil, ctx.Err()
				}
				if w.err != nil {
					return nil, w.err
				}
				open.Add(1)
				ours, _ := net.Pipe()
				return closing{ours, &open}, nil
			}
			other := second
			if test.none {
				other = netip.AddrPort{}
			}
			start := time.Now()
			c, at, err := DialEither(ctx, first, other, dial)
			took := time.Since(start)
			if (err == nil) != test.want.IsValid() || err == nil && at != test.want || took != test.took {
				t.Errorf("%s: %v after %v, %v", name, at, took, err)
			}
			if c != nil {
				c.Close()
			}
			time.Sleep(2 * time.Hour)
			if open.Load() != 0 {
				t.Errorf("%s: a connection is left", name)
			}
		})
	}
}

// closing counts itself as closed.
type closing struct {
	net.Conn
	open *atomic.Int64
}

func (c closing) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}

// lockedWriter is written to by many and read when they are done.
type lockedWriter struct {
	mu sync.Mutex
	to *strings.Builder
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

func (w *lockedWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.String()
}
