package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"surgecast/configs"
	"surgecast/relay"
)

// initCmd writes a pool's configurations and secrets.
type initCmd struct {
	Dir    string     `arg:"" help:"Folder for the files; it is made if it is not there."`
	Stream string     `help:"Name of the stream." default:"theatre"`
	Zone   string     `help:"DNS name that viewers will ask for." default:"live.surgecast.test"`
	Origin netip.Addr `help:"IP address of the origin, where relays ask for the pool; 127.0.0.1 for a trial on this machine." default:"127.0.0.1" placeholder:"IP"`
}

// Help is shown by --help.
func (*initCmd) Help() string {
	return `Writes origin.yaml, relay.yaml, nameserver.yaml, pool.secret, authority.key and
the stream's publish key, readable by you alone. Nothing is overwritten.

	surgecast init ~/evening --origin 192.0.2.10 --zone live.example.org`
}

// Run writes the files and says what to do with them.
func (c *initCmd) Run(_ context.Context, out io.Writer) error {
	files, err := newPoolFiles(poolSettings{Stream: c.Stream, Zone: c.Zone, Origin: c.Origin.Unmap()})
	if err != nil {
		return err
	}
	if err := files.write(c.Dir); err != nil {
		return err
	}
	c.explain(out)
	return nil
}

func (c *initCmd) explain(out io.Writer) {
	relayFlag := ""
	if c.Origin.IsLoopback() {
		relayFlag = " --address 127.0.0.2" // all on one machine: an address for each
	}
	fmt.Fprintf(out, `Wrote to %[1]s:

  origin.yaml      the origin's configuration
  relay.yaml       the relays' configuration, the same on every clone
  nameserver.yaml  that of name servers, for hosts that stay
  pool.secret      lets a node join the pool
  authority.key    signs what is on the programme
  %-16[2]s lets an encoder publish the stream %[3]s

On the relays' image:      relay.yaml, pool.secret
On name servers:           nameserver.yaml, pool.secret
Never on a relay's image:  authority.key, %[2]s, origin.yaml

Next:
  1. On the origin       surgecast origin --config %[4]s
  2. On each relay       surgecast relay --config %[5]s%[8]s
  3. Push to             rtsp://publish:KEY@%[6]s/%[3]s   (KEY: %[7]s)
  4. Look                surgecast status --dir %[1]s
  5. Be found by name    surgecast nameserver --config %[9]s   (on two hosts or more)
`, c.Dir, c.Stream+".key", c.Stream, filepath.Join(c.Dir, "origin.yaml"), filepath.Join(c.Dir, "relay.yaml"),
		netip.AddrPortFrom(c.Origin.Unmap(), defaultRTSPPort), filepath.Join(c.Dir, c.Stream+".key"), relayFlag, filepath.Join(c.Dir, "nameserver.yaml"))
	if c.Origin.IsLoopback() {
		fmt.Fprintf(out, `
The origin is at %[1]s, which suits a trial on this machine alone. For relays on
other machines, write its address into origin.yaml (address) and relay.yaml (seeds).
`, c.Origin)
	}
}

// poolSettings is what differs from pool to pool.
type poolSettings struct {
	Stream string
	Zone   string
	Origin netip.Addr

	// OriginMore and RelayMore set further keys of the samples.
	OriginMore, RelayMore []setting
}

// poolFiles are the files of a new pool, in the order of their writing.
type poolFiles []poolFile

type poolFile struct {
	name string
	text []byte
}

// newPoolFiles makes fresh secrets and fills the samples with them.
func newPoolFiles(s poolSettings) (poolFiles, error) {
	if err := relay.ValidStream(s.Stream); err != nil {
		return nil, err
	}
	if err := validZone(s.Zone); err != nil {
		return nil, fmt.Errorf("--zone: %w", err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make authority key: %w", err)
	}
	authority, err := authorityPEM(private)
	if err != nil {
		return nil, err
	}
	publishKeyFile := s.Stream + ".key"
	originText, err := fill(configs.Origin, append([]setting{
		{"address", s.Origin.String()},
		{"zone", s.Zone},
		{"streams.name", s.Stream},
		{"streams.publish_key_file", publishKeyFile},
	}, s.OriginMore...))
	if err != nil {
		return nil, err
	}
	relayText, err := fill(configs.Relay, append([]setting{
		{"zone", s.Zone},
		{"authority_public_key", PublicKey(public).String()},
		{"seeds", fmt.Sprintf("[%q]", netip.AddrPortFrom(s.Origin, defaultGossipPort))},
	}, s.RelayMore...))
	if err != nil {
		return nil, err
	}
	nameserverText, err := fill(configs.Nameserver, []setting{
		{"zone", s.Zone},
		{"seeds", fmt.Sprintf("[%q]", netip.AddrPortFrom(s.Origin, defaultGossipPort))},
	})
	if err != nil {
		return nil, err
	}
	return poolFiles{
		{"origin.yaml", []byte(originText)},
		{"relay.yaml", []byte(relayText)},
		{"nameserver.yaml", []byte(nameserverText)},
		{"pool.secret", []byte(newSecret(base64.StdEncoding.EncodeToString, 32))},
		{"authority.key", authority},
		{publishKeyFile, []byte(newSecret(hex.EncodeToString, 12))}, // stands in URLs: hex
	}, nil
}

func newSecret(encode func([]byte) string, bytes int) string {
	secret := make([]byte, bytes)
	rand.Read(secret) // never fails: see crypto/rand
	return encode(secret) + "\n"
}

// write makes the folder and the files. If one of them is there already, none
// is written.
func (files poolFiles) write(dir string) error {
	var there []string
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil {
			there = append(there, f.name)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("%s already holds %s: nothing was written; choose another folder, or move them away",
			dir, strings.Join(there, ", "))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for _, f := range files {
		if err := writeNew(filepath.Join(dir, f.name), f.text); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a file that only its owner can read and that was not there.
func writeNew(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// setting is a key of a sample, such as "dns.port", and the value to put there.
type setting struct{ key, value string }

// fill puts values into a sample and leaves all else as it is, its comments
// included: the file that a person gets is the documented one.
func fill(sample string, settings []setting) (string, error) {
	lines := strings.SplitAfter(sample, "\n")
	for _, s := range settings {
		i := lineOf(lines, s.key)
		if i < 0 {
			return "", fmt.Errorf("fill sample: it has no key %s", s.key)
		}
		m := keyLine.FindStringSubmatch(lines[i])
		lines[i] = m[1] + s.value + m[3] + m[4]
	}
	return strings.Join(lines, ""), nil
}

// keyLine splits a line of a sample: key with its colon, value, comment, rest.
var keyLine = regexp.MustCompile(`^(\s*(?:- )?[a-z_]+: )(.*?)(\s+#.*)?(\n?)$`)

// lineOf finds the line of a key, or of a key under a group: "group.key".
func lineOf(lines []string, key string) int {
	group, key, nested := strings.Cut(key, ".")
	if !nested {
		key = group
	}
	inside := !nested
	for i, line := range lines {
		switch text := strings.TrimPrefix(strings.TrimLeft(line, " "), "- "); {
		case nested && strings.HasPrefix(line, group+":"):
			inside = true
		case inside && strings.HasPrefix(text, key+":") && nested == strings.HasPrefix(line, " "):
			return i
		}
	}
	return -1
}
