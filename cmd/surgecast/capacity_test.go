package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func TestCardSpeed(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	cards := fstest.MapFS{
		"eth0/speed": file("1000\n"), "eth0/device/vendor": file("0x8086\n"),
		"ens5/speed": file("-1\n"), "ens5/device/vendor": file("0x1af4\n"), // virtio
		"veth1/speed": file("10000\n"), // says what it can't know
		"bond0/speed": file("20000\n"), "bond0/bonding/mode": file("802.3ad 4\n"),
		"eth1/speed": file("fast\n"), "eth1/device/vendor": file(""),
		"eth2/speed": file("99999999999\n"), "eth2/device/vendor": file(""),
		"eth3/device/vendor": file(""),
	}
	for name, want := range map[string]BitRate{
		"eth0": 1e9, "bond0": 20e9, "ens5": 0, "veth1": 0, "eth1": 0, "eth2": 0, "eth3": 0, "eth9": 0, "": 0,
	} {
		if got := cardSpeed(cards, name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

func TestCapacityPrefersWhatIsConfigured(t *testing.T) {
	cards := fstest.MapFS{}
	for _, c := range []struct {
		configured BitRate
		address    string
		want       BitRate
	}{{5e8, "192.0.2.1", 5e8}, {0, "192.0.2.1", 0}, {0, "127.0.0.1", 0}, {1e8, "127.0.0.1", 1e8}} {
		got, err := newCapacity(c.configured, cloud{}, cards, netip.MustParseAddr(c.address), t.TempDir())
		if err != nil || got.known != c.want || got.Told(0) != c.want {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	if name := interfaceOf(netip.MustParseAddr("127.0.0.1")); name != "lo" {
		t.Errorf("127.0.0.1 is on %q", name)
	}
	if name := interfaceOf(netip.MustParseAddr("192.0.2.1")); name != "" {
		t.Errorf("an address of nobody is on %q", name)
	}
}

// What a link carried is remembered over a restart, rises only, counts twice,
// and is told only where it is more than what the pool takes the node for.
func TestCapacityIsLearned(t *testing.T) {
	dir := t.TempDir()
	open := func() *capacity {
		t.Helper()
		c, err := newCapacity(0, cloud{}, nil, netip.MustParseAddr("192.0.2.1"), dir)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	for _, step := range []struct {
		sent float64
		want BitRate
	}{{1e6, 0}, {100e6, 100e6}, {109e6, 100e6}, {120e6, 120e6}, {50e6, 120e6}, {1e18, 120e6}} {
		if err := c.carry(step.sent); err != nil || c.Carried() != step.want {
			t.Errorf("after %g: %d, %v", step.sent, c.Carried(), err)
		}
	}
	c = open()
	for usual, want := range map[int64]BitRate{0: 240e6, 200e6: 240e6, 240e6: 0, 1e9: 0} {
		if got := c.Told(usual); c.Carried() != 120e6 || got != want {
			t.Errorf("among others of %d: %d", usual, got)
		}
	}
	if c.known != 0 {
		t.Error("what was learned refuses viewers")
	}
	for text, good := range map[string]bool{"": false, "-1\n": false, "1e9\n": false, "9999999999999999\n": false, "1\n2\n": false, "7\n": true} {
		writeFile(t, filepath.Join(dir, capacityFile), text, 0o600)
		c, err := newCapacity(0, cloud{}, nil, netip.MustParseAddr("192.0.2.1"), dir)
		if (err == nil) != good || c == nil || !good && c.Carried() != 0 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Where it is of no use nothing is kept.
func TestCapacityThatIsKnownIsNotLearned(t *testing.T) {
	dir := t.TempDir()
	for address, configured := range map[string]BitRate{"127.0.0.1": 0, "192.0.2.1": 1e9} {
		c, err := newCapacity(configured, cloud{}, nil, netip.MustParseAddr(address), dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.carry(5e8); err != nil || c.Carried() != 0 {
			t.Errorf("%s: %d, %v", address, c.Carried(), err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}
