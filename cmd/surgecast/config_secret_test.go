package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsThatOthersCanRead(t *testing.T) {
	dir := newPoolDir(t, poolSettings{})
	secret := filepath.Join(dir, "pool.secret")
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	err := load("relay", filepath.Join(dir, "relay.yaml"))
	want := "pool_secret_file: " + secret + " can be read by others (mode 0644): run \"chmod 600 " + secret + "\""
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("\n got: %v\nwant: %s", err, want)
	}
}

func TestShortSecret(t *testing.T) {
	dir := newPoolDir(t, poolSettings{})
	writeFile(t, filepath.Join(dir, "pool.secret"), "hunter2\n", 0o600)
	err := load("relay", filepath.Join(dir, "relay.yaml"))
	want := "pool_secret_file: " + dir + `/pool.secret holds 7 letters: a secret has at least 16 ("surgecast init" makes one)`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("\n got: %v\nwant: %s", err, want)
	}
}
