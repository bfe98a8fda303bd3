package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	maxPeers      = 64 // in the file; of more members the first by address
	maxPeersBytes = 16 << 10
	// peersSettle lets a burst of joins become one write.
	peersSettle = time.Second
)

// readPeers reads the last-known peers, one ip:port a line. A missing file is
// none; lines that are no address, and what is beyond the bounds, are skipped.
func readPeers(file string) ([]netip.AddrPort, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open peers: %w", err)
	}
	defer f.Close()
	var peers []netip.AddrPort
	lines := bufio.NewScanner(io.LimitReader(f, maxPeersBytes))
	for lines.Scan() && len(peers) < maxPeers {
		if a, err := parseAddress("peer", strings.TrimSpace(lines.Text())); err == nil {
			peers = append(peers, a)
		}
	}
	if err := lines.Err(); err != nil {
		return peers, fmt.Errorf("read peers: %w", err)
	}
	return peers, nil
}

// writePeers replaces the file as a whole.
func writePeers(file string, peers []netip.AddrPort) error {
	var b strings.Builder
	for _, p := range peers {
		fmt.Fprintln(&b, p)
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("create peers: %w", err)
	}
	_, err = temporary.WriteString(b.String())
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		os.Remove(temporary.Name())
		return fmt.Errorf("write peers: %w", err)
	}
	return nil
}

// keepPeers remembers who was there, and writes the file when that changed. A
// node that sees nobody keeps the old ones: it wants to come back to them.
func (n *Node) keepPeers(ctx context.Context) {
	for {
		changed := n.Changed()
		if peers := n.knownPeers(); len(peers) > 0 && !slices.Equal(peers, n.lastPeers()) {
			n.setPeers(peers)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if !sleep(ctx, peersSettle) {
			return
		}
	}
}

func (n *Node) setPeers(peers []netip.AddrPort) {
	n.mu.Lock()
	n.peers = peers
	n.mu.Unlock()
	if n.cfg.PeersFile == "" {
		return
	}
	if err := writePeers(n.cfg.PeersFile, peers); err != nil {
		n.log.Warn("peers file not written", "err", err)
	}
}

// Peers are the gossip addresses of the members that were there last, sorted, at
// most 64: at first those of the file.
func (n *Node) Peers() []netip.AddrPort { return slices.Clone(n.lastPeers()) }

func (n *Node) lastPeers() []netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers
}

// knownPeers returns the addresses of the other members, sorted.
func (n *Node) knownPeers() []netip.AddrPort {
	var peers []netip.AddrPort
	for _, m := range n.Members() {
		if !m.Self {
			peers = append(peers, m.Address)
		}
	}
	slices.SortFunc(peers, netip.AddrPort.Compare)
	return peers[:min(len(peers), maxPeers)]
}
