package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surgecast/configs"
)

func TestInitSaysWhatGoesWhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evening")
	var out bytes.Buffer
	c := initCmd{Dir: dir, Stream: "theatre", Zone: "live.example.org", Origin: netip.MustParseAddr("192.0.2.10")}
	if err := c.Run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := `Wrote to DIR:

  origin.yaml      the origin's configuration
  relay.yaml       the relays' configuration, the same on every clone
  nameserver.yaml  that of name servers, for hosts that stay
  pool.secret      lets a node join the pool
  authority.key    signs what is on the programme
  theatre.key      lets an encoder publish the stream theatre

On the relays' image:      relay.yaml, pool.secret
On name servers:           nameserver.yaml, pool.secret
Never on a relay's image:  authority.key, theatre.key, origin.yaml

Next:
  1. On the origin       surgecast origin --config DIR/origin.yaml
  2. On each relay       surgecast relay --config DIR/relay.yaml
  3. Push to             rtsp://publish:KEY@192.0.2.10:8554/theatre   (KEY: DIR/theatre.key)
  4. Look                surgecast status --dir DIR
  5. Be found by name    surgecast nameserver --config DIR/nameserver.yaml   (on two hosts or more)
`
	if got := strings.ReplaceAll(out.String(), dir, "DIR"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	for _, name := range []string{"origin.yaml", "relay.yaml", "nameserver.yaml", "pool.secret", "authority.key", "theatre.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestInitOverwritesNothing holds that one file that is there already keeps
// all the others from being written: half a new pool would be worse than none.
func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "pool.secret")
	writeFile(t, secret, "precious", 0o600)
	c := initCmd{Dir: dir, Stream: "theatre", Origin: netip.MustParseAddr("127.0.0.1")}
	err := c.Run(t.Context(), &bytes.Buffer{})
	want := dir + " already holds pool.secret: nothing was written; choose another folder, or move them away"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(secret); string(text) != "precious" {
		t.Errorf("the secret is now %q", text)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("the folder now holds %v", left)
	}
}

func TestFillKeepsCommentsAndAllElse(t *testing.T) {
	got, err := fill(configs.Origin, []setting{{"dns.port", "5300"}, {"window", "30s"}, {"streams.name", "hall-2"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("port: 0          #", "port: 5300          #", "window: 60s", "window: 30s", "- name: theatre ", "- name: hall-2 ").Replace(configs.Origin)
	if got != want {
		t.Errorf("got:\n%s", got)
	}
	if _, err := fill(configs.Relay, []setting{{"dns.port", "1"}}); err == nil {
		t.Error("filled in a key that is not there")
	}
}
