package main

import (
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"surgecast/cluster"
)

// rollingRelays real relays, each a process with an address of its own, under
// viewers of all kinds. The same on fake time, and so in each test run, are
// TestStoryRollingRestart and TestStoryScaleIn.
const (
	rollingRelays  = 5
	rollingViewers = 200
	rollingDrain   = 5 * time.Second
)

// rollingEvening starts them all, lets them be changed, and holds the evening to
// what was promised.
func rollingEvening(t *testing.T, change func(e *evening, relays []*child)) {
	if !proving() {
		t.Skip("takes a minute: make prove runs it")
	}
	e := newEvening(t)
	e.relayDrain(t, rollingDrain.String())
	var relays []*child
	for n := 1; n <= rollingRelays; n++ {
		relays = append(relays, e.startRelay(t, n))
	}
	for n := 1; n <= rollingRelays; n++ {
		eventually(t, "a relay is ready", func() error { return getOK(t.Context(), e.url(n)+"/readyz") })
	}
	e.awaitSegments(t, 3)

	crowd := e.startCrowd(t, rollingViewers)
	time.Sleep(3 * time.Second) // of undisturbed playing
	change(e, relays)
	time.Sleep(3 * time.Second)
	if sum := crowd.end(); sum.switches+sum.moves == 0 {
		t.Error("nobody was sent elsewhere")
	}
}

// startCrowd lets viewers come within two seconds, as the pool's DNS sends them.
func (e *evening) startCrowd(t *testing.T, n int) *stayers {
	lookup := func() (bases []string) {
		found, _ := askDNS(t.Context(), netip.AddrPortFrom(e.first, demoDNSPort), demoZone) // none: no name server answers
		for _, address := range found {
			bases = append(bases, "http://"+netip.AddrPortFrom(address, defaultViewerPort).String())
		}
		return bases
	}
	return startStayers(t, n, 2*time.Second, func(int) *stayer {
		return &stayer{pool: poolName{lookup: lookup}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}}}
	})
}

// Each of five relays is told to end and started again, in turn.
func TestRollingRestart(t *testing.T) {
	rollingEvening(t, func(e *evening, relays []*child) {
		for i, old := range relays {
			began := time.Now()
			if err := old.process.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			took := awaitEnd(t, old, began)
			e.startRelay(t, i+1)
			back := eventually(t, "it is back", func() error { return getOK(t.Context(), e.url(i+1)+"/readyz") })
			t.Logf("relay %d ended %v after the signal, and was ready %v later", i+1, took.Round(time.Millisecond), back.Round(time.Millisecond))
		}
	})
}

// awaitEnd waits for the end of a relay that drains.
func awaitEnd(t *testing.T, c *child, began time.Time) time.Duration {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(rollingDrain + 10*time.Second):
		t.Fatalf("%s does not end", c.Name())
	}
	if c.err != nil {
		t.Errorf("%s ended: %v", c.Name(), c.err)
	}
	took := time.Since(began)
	if took < rollingDrain || took > rollingDrain+4*time.Second {
		t.Errorf("%s took %v, with a drain of %v", c.Name(), took, rollingDrain)
	}
	return took
}

// Three of five are drained by an operator's order, and end by themselves.
func TestScaleIn(t *testing.T) {
	rollingEvening(t, func(e *evening, relays []*child) {
		flags := apiFlags{Dir: e.dir}
		for i, c := range relays[:3] {
			began := time.Now()
			a, err := flags.order(t.Context(), e.address(i+1).String(), true)
			if err != nil || a.Seconds != rollingDrain.Seconds() || a.Others != rollingRelays-1-i {
				t.Errorf("relay %d: %+v, %v", i+1, a, err)
			}
			took := awaitEnd(t, c, began)
			t.Logf("relay %d ended %v after the order", i+1, took.Round(time.Millisecond))
		}
		for n := 4; n <= rollingRelays; n++ {
			if err := e.stateOf(t, n, cluster.StatusServing); err != nil {
				t.Errorf("relay %d: %v", n, err)
			}
		}
	})
}
