package main

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"surgecast/cluster"
)

// box is a machine in a test: its disk, and what tells it from others.
type box struct {
	t        *testing.T
	dir      string
	links    []link
	boot     string
	instance string
	log      strings.Builder
}

// recall starts a node as far as its memory, gives it something to cache, and
// ends it.
func (b *box) recall(role cluster.Role, address string) kinship {
	b.t.Helper()
	n := b.node(role, address)
	if err := n.recall(); err != nil {
		b.t.Fatal(err)
	}
	for _, name := range []string{"dvr/theatre/1.m4s", "drain", "capacity"} {
		name = filepath.Join(n.folder.Path, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			b.t.Fatal(err)
		}
		writeFile(b.t, name, "learned at "+address, 0o600)
	}
	writeFile(b.t, filepath.Join(n.folder.Path, peersFileName), "10.0.0.1:7946\n", 0o600)
	if err := n.folder.Close(); err != nil {
		b.t.Fatal(err)
	}
	return n.kin
}

func (b *box) node(role cluster.Role, address string) *node {
	b.t.Helper()
	at := netip.MustParseAddr(address)
	folder, err := openStateDir(b.dir, at)
	if err != nil {
		b.t.Fatal(err)
	}
	return &node{
		config: &NodeConfig{Dir: b.dir}, role: role, address: at, folder: folder,
		cloud: answered(cloud{Instance: b.instance}),
		log:   slog.New(slog.NewTextHandler(&b.log, nil)),
		env: environment{
			Interfaces: func() ([]link, error) { return b.links, nil },
			Kernel:     fstest.MapFS{"kernel/random/boot_id": {Data: []byte(b.boot + "\n")}},
		},
	}
}

// has tells whether something is in a node's folder.
func (b *box) has(address, name string) bool {
	_, err := os.Stat(filepath.Join(b.dir, address, name))
	return err == nil
}

// copyOf is another machine with a copy of the disk.
func (b *box) copyOf(links ...link) *box {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
		b.t.Fatal(err)
	}
	return &box{t: b.t, dir: dir, links: links, boot: "another boot"}
}

const relayAddress, cloneAddress = "10.0.0.5", "10.0.0.6"

func newBox(t *testing.T) *box {
	return &box{t: t, dir: t.TempDir(), boot: "boot", links: []link{linkWith("", "127.0.0.1/8"), linkWith("02:00:00:00:00:05", "10.0.0.5/24")}}
}

func TestRestartKeepsWhatWasLearned(t *testing.T) {
	b := newBox(t)
	if kin := b.recall(cluster.RoleRelay, relayAddress); kin.Restart || kin.CloneOf.IsValid() {
		t.Errorf("the first start: %+v", kin)
	}
	for _, boot := range []string{"boot", "the next boot"} {
		b.boot = boot
		if kin := b.recall(cluster.RoleRelay, relayAddress); !kin.Restart || kin.CloneOf.IsValid() {
			t.Errorf("%s: %+v", boot, kin)
		}
		if !b.has(relayAddress, "dvr/theatre/1.m4s") || !b.has(relayAddress, "drain") {
			t.Errorf("%s: what was learned is gone", boot)
		}
	}
	if log := b.log.String(); !strings.Contains(log, "reboot=false") || !strings.Contains(log, "reboot=true") {
		t.Errorf("the log does not tell a restart from a reboot:\n%s", log)
	}
}

func TestCloneDropsWhatWasLearned(t *testing.T) {
	for name, test := range map[string]struct {
		address  string
		links    []link
		instance string
		differs  string
	}{
		"another address":                    {cloneAddress, []link{linkWith("02:00:00:00:00:06", "10.0.0.6/24")}, "ec2/i-1", "mac"},
		"another address, the same MAC":      {cloneAddress, []link{linkWith("02:00:00:00:00:05", "10.0.0.6/24")}, "ec2/i-1", "address"},
		"the same address, another MAC":      {relayAddress, []link{linkWith("02:00:00:00:00:06", "10.0.0.5/24")}, "ec2/i-1", "mac"},
		"the same address, another instance": {relayAddress, []link{linkWith("02:00:00:00:00:05", "10.0.0.5/24")}, "ec2/i-2", "instance"},
	} {
		t.Run(name, func(t *testing.T) {
			original := newBox(t)
			original.instance = "ec2/i-1"
			original.recall(cluster.RoleRelay, relayAddress)
			clone := original.copyOf(test.links...)
			clone.t, clone.instance = t, test.instance
			n := clone.node(cluster.RoleRelay, test.address)
			defer n.folder.Close()
			if err := n.recall(); err != nil {
				t.Fatal(err)
			}
			if n.kin.CloneOf.String() != relayAddress || n.kin.Restart {
				t.Errorf("it takes itself for %+v", n.kin)
			}
			for _, learned := range []string{"dvr", "drain", "capacity"} {
				if clone.has(relayAddress, learned) || clone.has(test.address, learned) {
					t.Errorf("%s is still there", learned)
				}
			}
			if !clone.has(test.address, peersFileName) {
				t.Error("the last-known peers are gone")
			}
			if log := clone.log.String(); !strings.Contains(log, "clone of") || !strings.Contains(log, "of="+relayAddress) || !strings.Contains(log, "differs="+test.differs) {
				t.Errorf("the log says\n%s", log)
			}
			if !original.has(relayAddress, "dvr/theatre/1.m4s") {
				t.Error("the original lost its cache")
			}
		})
	}
}

// Several nodes on one machine, as in the demo, are no clones of one another.
func TestNeighboursAreNoClones(t *testing.T) {
	b := newBox(t)
	b.links = append(b.links, linkWith("02:00:00:00:00:07", "10.0.1.5/24"))
	addresses := []string{"127.0.0.11", "127.0.0.12", relayAddress, "10.0.1.5"}
	for range 2 {
		for _, address := range addresses {
			if kin := b.recall(cluster.RoleRelay, address); kin.CloneOf.IsValid() {
				t.Errorf("%s takes itself for a clone of %s", address, kin.CloneOf)
			}
		}
	}
	for _, address := range addresses {
		if !b.has(address, "dvr/theatre/1.m4s") {
			t.Errorf("%s lost its cache", address)
		}
	}
}

// A folder in which somebody runs is left alone, whatever it remembers.
func TestFolderInUseIsNotDropped(t *testing.T) {
	b := newBox(t)
	b.recall(cluster.RoleRelay, relayAddress)
	holder := b.node(cluster.RoleRelay, relayAddress)
	defer holder.folder.Close()
	b.links = []link{linkWith("02:00:00:00:00:06", "10.0.0.6/24")}
	if kin := b.recall(cluster.RoleRelay, cloneAddress); kin.CloneOf.IsValid() {
		t.Errorf("it takes itself for a clone of %s, who runs", kin.CloneOf)
	}
	if !b.has(relayAddress, "dvr/theatre/1.m4s") {
		t.Error("the cache of one that runs is gone")
	}
}

// What an origin keeps is the only copy.
func TestOriginKeepsItsJournal(t *testing.T) {
	b := newBox(t)
	b.recall(cluster.RoleOrigin, relayAddress)
	clone := b.copyOf(linkWith("02:00:00:00:00:06", "10.0.0.5/24", "10.0.0.6/24"))
	for _, address := range []string{cloneAddress, relayAddress} {
		if kin := clone.recall(cluster.RoleOrigin, address); kin.CloneOf.String() != relayAddress {
			t.Errorf("at %s it takes itself for %+v", address, kin)
		}
		if !clone.has(relayAddress, "dvr/theatre/1.m4s") {
			t.Errorf("at %s: what the origin kept is gone", address)
		}
	}
	if !strings.Contains(clone.log.String(), "what it keeps as origin is left as it is") {
		t.Error("nothing is said of it")
	}
}

// A service that is late at one start, or another one that answers, makes no
// clone.
func TestInstanceThatIsNotKnownDiffersFromNone(t *testing.T) {
	b := newBox(t)
	for _, instance := range []string{"ec2/i-1", "", "openstack/9f1c", "ec2/i-1"} {
		b.instance = instance
		if kin := b.recall(cluster.RoleRelay, relayAddress); kin.CloneOf.IsValid() {
			t.Errorf("%q after another: %+v", instance, kin)
		}
	}
}

func TestMemoryThatCanNotBeReadIsTheFirstStart(t *testing.T) {
	b := newBox(t)
	b.recall(cluster.RoleRelay, relayAddress)
	writeFile(t, filepath.Join(b.dir, relayAddress, memoryFileName), "{", 0o600)
	if kin := b.recall(cluster.RoleRelay, relayAddress); kin.Restart || kin.CloneOf.IsValid() {
		t.Errorf("got %+v", kin)
	}
	if !strings.Contains(b.log.String(), "can't be read") {
		t.Error("nothing is said of it")
	}
	if kin := b.recall(cluster.RoleRelay, relayAddress); !kin.Restart {
		t.Errorf("it was not written anew: %+v", kin)
	}
}

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte(`{"role":"relay","address":"10.0.0.5","instance":"ec2/i-1","macs":["02:00:00:00:00:05"],"boot":"b"}`))
	f.Add([]byte(`{"role":"relay"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMemory(text)
		if err == nil && (!m.Address.IsValid() || !fs.ValidPath(stateName(m.Address.WithZone("")))) {
			t.Errorf("took %+v", m)
		}
	})
}
