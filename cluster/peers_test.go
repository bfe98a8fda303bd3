package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPeersFileReplacesSeeds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peers")
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		p.start(1)
		p.start(2)
		n, stop := p.start(3, func(c *Config) { c.PeersFile = file })
		p.await(n, 5*time.Second, count(3))
		time.Sleep(2 * peersSettle)
		stop()
		text, _ := os.ReadFile(file)
		if want := "10.0.0.1:7946\n10.0.0.2:7946\n"; string(text) != want {
			t.Errorf("peers file holds %q, want %q", text, want)
		}
		again, _ := p.start(3, func(c *Config) { c.PeersFile, c.Seeds = file, nil })
		p.await(again, 5*time.Second, count(3))
		if again.Name() == n.Name() {
			t.Error("the name outlived the process")
		}
	})
}

func TestReadPeersSkipsWhatIsNoAddress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peers")
	os.WriteFile(file, []byte("10.0.0.1:7946\n\nnot an address\n10.0.0.2:0\n [2001:db8::1]:7946\n"), 0o600)
	peers, err := readPeers(file)
	if err != nil || fmt.Sprint(peers) != "[10.0.0.1:7946 [2001:db8::1]:7946]" {
		t.Errorf("read %v, %v", peers, err)
	}
	os.WriteFile(file, []byte(strings.Repeat("10.0.0.1:7946\n", 100)), 0o600)
	if peers, _ = readPeers(file); len(peers) != maxPeers {
		t.Errorf("read %d peers", len(peers))
	}
	if peers, err = readPeers(filepath.Join(t.TempDir(), "none")); peers != nil || err != nil {
		t.Errorf("no file: %v, %v", peers, err)
	}
}
