package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// stateDir is the folder of one running node: it is locked while the node
// lives, so that two processes can't write one journal.
type stateDir struct {
	Path string
	lock *os.File
}

// apiFile tells operators on the same machine how to reach a node's private
// API. It is readable by the node's user only.
type apiFile struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

const (
	lockFileName = "lock"
	apiFileName  = "api.json"
)

// openStateDir makes and locks the folder of the node at address under dir.
func openStateDir(dir string, address netip.Addr) (*stateDir, error) {
	s := &stateDir{Path: filepath.Join(dir, stateName(address))}
	if err := os.MkdirAll(s.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.Path, lockFileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state lock: %w", err)
	}
	s.lock = lock
	if err := s.acquire(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// stateName is the address as a file name: colons are no good in one.
func stateName(address netip.Addr) string {
	return strings.ReplaceAll(address.String(), ":", "-")
}

func (s *stateDir) acquire() error {
	err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s is in use by %s: end that one, or start this one with another --address", s.Path, s.holder())
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.Path, err)
	}
	if err := s.lock.Truncate(0); err != nil {
		return fmt.Errorf("lock %s: %w", s.Path, err)
	}
	if _, err := s.lock.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		return fmt.Errorf("lock %s: %w", s.Path, err)
	}
	return nil
}

// holder says who has the lock, as well as the file tells.
func (s *stateDir) holder() string {
	text, _ := io.ReadAll(io.LimitReader(s.lock, 32))
	if pid := strings.TrimSpace(string(text)); pid != "" {
		return "process " + pid
	}
	return "another process"
}

// WriteAPI tells operators how to reach the node.
func (s *stateDir) WriteAPI(api apiFile) error {
	text, err := json.MarshalIndent(api, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", apiFileName, err)
	}
	name := filepath.Join(s.Path, apiFileName)
	// A new file each time: an old one might have been given other rights.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", apiFileName, err)
	}
	return writeNew(name, append(text, '\n'))
}

// Close removes what tells of a running node and gives the folder free.
func (s *stateDir) Close() error {
	err := os.Remove(filepath.Join(s.Path, apiFileName))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.lock.Close())
}
