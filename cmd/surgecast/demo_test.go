package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemoPlanGivesEachNodeAnAddress(t *testing.T) {
	p := newDemoPlan(t.Context(), "dir", false)
	if p.Crowded {
		t.Skip("this machine has only one loopback address")
	}
	var got []string
	for _, place := range append([]demoPlace{p.Origin}, append(p.Relays, p.Clone)...) {
		got = append(got, fmt.Sprintf("%s:%d %s", place.Address, place.Viewers, place.Config))
	}
	want := "127.0.0.1:8080 dir/origin.yaml, 127.0.0.2:8080 dir/relay.yaml, 127.0.0.3:8080 dir/relay.yaml, 127.0.0.4:8080 dir/relay.yaml, 127.0.0.9:8080 dir/relay.yaml"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
}

// TestCrowdedDemo holds what is done where 127.0.0.2 can't be bound: ports and
// state apart, one configuration for each relay, all of them good.
func TestCrowdedDemo(t *testing.T) {
	p := newDemoPlan(t.Context(), t.TempDir(), true)
	p.Crowded = true
	p.crowd(loopback)
	if err := p.writeFiles(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, place := range append(p.Relays, p.Clone) {
		c, err := loadRelayConfig(place.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, own := range []string{c.Dir, fmt.Sprint(c.Ports.Viewers), fmt.Sprint(c.Ports.Gossip), fmt.Sprint(c.Ports.API), fmt.Sprint(c.TLS.Port)} {
			if seen[own] {
				t.Errorf("%s is used twice", own)
			}
			seen[own] = true
		}
		if place.Address != loopback || uint16(c.Ports.Viewers) != place.Viewers || c.Seeds[0].String() != "127.0.0.1:7946" {
			t.Errorf("place %+v, ports %+v, seeds %v", place, c.Ports, c.Seeds)
		}
	}
	if err := p.writeFiles(); err != nil {
		t.Errorf("the folder can't be used again: %v", err)
	}
	if err := newDemoPlan(t.Context(), p.Dir, false).writeFiles(); err != nil {
		t.Errorf("the folder can't be used again without --tls: %v", err)
	}
	if key, err := p.publishKey(); err != nil || len(key) != 24 {
		t.Errorf("publish key %q, %v", key, err)
	}
}

func TestDemoFolderOfAnotherKind(t *testing.T) {
	dir := t.TempDir()
	if err := newDemoPlan(t.Context(), dir, false).writeFiles(); err != nil {
		t.Fatal(err)
	}
	want := "the demo in " + dir + " was made without --tls: choose another --dir"
	if err := newDemoPlan(t.Context(), dir, true).writeFiles(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestDemoNamesPortsInUse(t *testing.T) {
	home := netip.MustParseAddr("127.1.2.3")
	if !bindable(t.Context(), home) {
		t.Skip("this machine has only one loopback address")
	}
	tcp, err := net.Listen("tcp", "127.1.2.3:8554")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.1.2.3:7946")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	place := demoPlace{Address: home, Viewers: defaultViewerPort, Gossip: defaultGossipPort, API: defaultAPIPort}
	p := demoPlan{Origin: place, DNS: netip.AddrPortFrom(home, demoDNSPort), RTSP: netip.AddrPortFrom(home, defaultRTSPPort), RTSPS: netip.AddrPortFrom(home, defaultRTSPSPort)}
	err = p.busyPorts(t.Context())
	want := `ports that the demo needs are in use:
  127.1.2.3  udp 7946 (gossip), tcp 8554 (RTSP)
Is another demo running? End what holds them ("ss -lptun" shows what it is) and start again`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out)
	_ = s.Step("relay", "127.0.0.2:8080", "starting", func() (string, error) { return "ready, process 4711", nil })
	bad := errors.New("was ended by a signal")
	if err := s.Step("relay", "127.0.0.3:8080", "starting", func() (string, error) { return "", bad }); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
	want := "  ✓ relay    127.0.0.2:8080         ready, process 4711            0.0 s\n" +
		"  ✗ relay    127.0.0.3:8080         was ended by a signal\n"
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}

	out.Reset()
	s.terminal = true
	_ = s.Step("dns", "here", "waiting", func() (string, error) {
		s.Event(green, "+", "something")
		return "done", nil
	})
	if got := out.String(); strings.Count(got, "\r\x1b[2K") != 2 || !strings.Contains(got, "waiting") {
		t.Errorf("on a terminal: %q", got)
	}
}

// TestDemo runs the demo as a person does. It needs the demo's own ports, so
// it is left to `make prove`.
func TestDemo(t *testing.T) {
	if !proving() {
		t.Skip("runs in make prove")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	var out bytes.Buffer
	if err := (&demoCmd{Dir: dir, For: 3e9, TLS: true}).Run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Log(out.String())
	if got := strings.Count(out.String(), "✓"); got != 6 {
		t.Errorf("%d steps went well", got)
	}
	if strings.Contains(out.String(), "✗") || strings.Contains(out.String(), "  ! ") {
		t.Error("something went wrong")
	}
}
