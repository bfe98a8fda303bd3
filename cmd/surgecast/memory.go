package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"surgecast/cluster"
)

// memory is what a node's folder remembers of the node that wrote it. On a disk
// that was copied it tells the copy from the original.
type memory struct {
	Role    cluster.Role `json:"role"`
	Address netip.Addr   `json:"address"`
	machine
}

const (
	memoryFileName = "machine.json"
	peersFileName  = "peers"

	// maxMemoryBytes bounds the file; a longer one is none of ours.
	maxMemoryBytes = 64 << 10
	// maxFolders bounds how many folders beside our own are looked at.
	maxFolders = 256
)

// kinship is what a node found itself to be at its start.
type kinship struct {
	CloneOf netip.Addr // whose disk this is a copy of; invalid: nobody's
	Restart bool       // this node ran here before
}

// recall compares what the disk remembers with the machine that this is. A
// clone drops what the other learned; a restart keeps it.
func (n *node) recall() error {
	links, err := n.env.links()
	if err != nil {
		return err
	}
	n.network = networkOf(links, n.address)
	now := machine{Instance: n.cloud.Wait().Instance, MACs: allMACs(links), Boot: bootID(n.env.Kernel)}
	own := memory{Role: n.role, Address: n.address, machine: now}
	if at := macs(links, func(l link) bool { return l.has(n.address) }); len(at) > 0 {
		own.MACs = at
	}
	was, err := readMemory(n.folder.Path)
	switch why := was.differs(now); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		n.log.Warn("what the state folder remembers can't be read, taken as the first start", "err", err)
	case why != "":
		n.cloneOf(was, why, n.folder)
	default:
		n.kin.Restart = true
		n.log.Info("restart", "reboot", was.Boot != now.Boot)
		if own.Instance == "" {
			own.Instance = was.Instance // the service may just be late
		}
	}
	n.lookBeside(links, now)
	return writeMemory(n.folder.Path, own)
}

// lookBeside finds folders that came here with a copied disk: those of another
// machine, or of an address that this one does not have. A folder whose lock is
// held, or whose address is here too, is another node's on this machine.
func (n *node) lookBeside(links []link, now machine) {
	entries, err := os.ReadDir(n.config.Dir)
	if err != nil {
		n.log.Warn("folders beside our own not looked at", "err", err)
		return
	}
	for _, entry := range entries[:min(len(entries), maxFolders)] {
		was, err := readMemory(filepath.Join(n.config.Dir, entry.Name()))
		if err != nil || was.Address == n.address || entry.Name() != stateName(was.Address) {
			continue
		}
		why := was.differs(now)
		if why == "" && !isHere(links, was.Address) {
			why = "address"
		}
		if why == "" {
			continue
		}
		other, err := openStateDir(n.config.Dir, was.Address)
		if err != nil {
			continue // somebody runs in it
		}
		n.cloneOf(was, why, other)
		if err := other.Close(); err != nil {
			n.log.Warn("folder of the original not closed", "err", err)
		}
	}
}

// cloneOf drops what a relay learned on the machine that this is a copy of,
// in its folder: cache, drain flag, capacity. Of its peers this one makes its
// own. What an origin keeps is no cache but the only copy, and stays.
func (n *node) cloneOf(was memory, why string, folder *stateDir) {
	n.kin.CloneOf = was.Address
	attributes := []any{"of", was.Address, "differs", why, "was", was.machine}
	if was.Role != cluster.RoleRelay {
		n.log.Warn("clone of another machine, what it keeps as "+string(was.Role)+" is left as it is", attributes...)
		return
	}
	err := folder.drop()
	if folder != n.folder {
		err = errors.Join(err, adoptPeers(folder.Path, n.folder.Path), os.RemoveAll(folder.Path))
	}
	if err != nil {
		attributes = append(attributes, "err", err)
	}
	n.log.Info("clone of another machine, what that one learned is dropped", attributes...)
}

// drop empties the folder of all but its lock and the last-known peers.
func (s *stateDir) drop() error {
	entries, err := os.ReadDir(s.Path)
	errs := []error{err}
	for _, entry := range entries {
		if name := entry.Name(); name != lockFileName && name != peersFileName {
			errs = append(errs, os.RemoveAll(filepath.Join(s.Path, name)))
		}
	}
	return errors.Join(errs...)
}

// adoptPeers gives a folder the last-known peers of another, if it has none.
func adoptPeers(from, to string) error {
	peers, err := os.ReadFile(filepath.Join(from, peersFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read peers: %w", err)
	}
	if err := writeNew(filepath.Join(to, peersFileName), peers); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// readMemory reads what a folder remembers; fs.ErrNotExist: nothing.
func readMemory(folder string) (memory, error) {
	f, err := os.Open(filepath.Join(folder, memoryFileName))
	if err != nil {
		return memory{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMemoryBytes))
	if err != nil {
		return memory{}, fmt.Errorf("read %s: %w", memoryFileName, err)
	}
	return parseMemory(text)
}

func parseMemory(text []byte) (memory, error) {
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return memory{}, fmt.Errorf("read %s: %w", memoryFileName, err)
	}
	if !m.Address.IsValid() || !slices.Contains([]cluster.Role{cluster.RoleOrigin, cluster.RoleRelay, cluster.RoleNameServer}, m.Role) {
		return memory{}, fmt.Errorf("read %s: it has no address or role", memoryFileName)
	}
	return m, nil
}

// writeMemory replaces the file as a whole.
func writeMemory(folder string, m memory) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", memoryFileName, err)
	}
	name := filepath.Join(folder, memoryFileName)
	if err := os.Remove(name + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", memoryFileName, err)
	}
	if err := writeNew(name+".new", append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("replace %s: %w", memoryFileName, err)
	}
	return nil
}
