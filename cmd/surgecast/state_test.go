package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func TestStateFolderHasOneUser(t *testing.T) {
	dir := t.TempDir()
	first, err := openStateDir(dir, loopback)
	if err != nil {
		t.Fatal(err)
	}
	_, err = openStateDir(dir, loopback)
	want := fmt.Sprintf("%s/127.0.0.1 is in use by process %d: end that one, or start this one with another --address", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("the second user is told: %v", err)
	}
	other, err := openStateDir(dir, netip.MustParseAddr("fe80::1"))
	if err != nil {
		t.Fatalf("another address can't be used beside it: %v", err)
	}
	if want := filepath.Join(dir, "fe80--1"); other.Path != want {
		t.Errorf("the folder is %s", other.Path)
	}
	if err := errors.Join(first.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := openStateDir(dir, loopback)
	if err != nil {
		t.Fatalf("not free after Close: %v", err)
	}
	again.Close()
}

func TestAPIFileIsPrivateAndGoesWithTheNode(t *testing.T) {
	s, err := openStateDir(t.TempDir(), loopback)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.Path, apiFileName)
	writeFile(t, name, "left over from a process that was killed", 0o644)
	if err := s.WriteAPI(apiFile{URL: "http://127.0.0.1:9090", Token: "abc", PID: 7}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if api, err := readAPIFile(name); err != nil || api.Token != "abc" || api.PID != 7 {
		t.Errorf("read back %+v, %v", api, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there after Close: %v", err)
	}
}
