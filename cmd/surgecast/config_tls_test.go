package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newSecurePoolDir is a pool with a certificate for all its nodes.
func newSecurePoolDir(t testing.TB) string {
	t.Helper()
	more := []setting{{"tls.cert_file", certFileName}, {"tls.key_file", keyFileName}}
	dir := newPoolDir(t, poolSettings{OriginMore: more, RelayMore: more})
	if err := writeCertificate(dir, []string{"live.surgecast.test"}, []netip.Addr{loopback}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTLSConfig(t *testing.T) {
	dir := newSecurePoolDir(t)
	c, err := loadOriginConfig(filepath.Join(dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !c.TLS.On() || c.TLS.Port != 8443 || c.TLS.CertFile != filepath.Join(dir, certFileName) {
		t.Errorf("got %+v", c.TLS)
	}
	if plain, err := loadRelayConfig(filepath.Join(newPoolDir(t, poolSettings{}), "relay.yaml")); err != nil || plain.TLS.On() {
		t.Errorf("without files: %+v, %v", plain.TLS, err)
	}
}

// TestBadTLSConfigs holds the exact sentences, as TestBadConfigs does.
func TestBadTLSConfigs(t *testing.T) {
	for _, test := range []struct {
		name     string
		old, new string
		spoil    func(dir string) error
		at       string // a text in the line that is to be named
		want     string
	}{
		{
			"no certificate", "cert_file: live.crt", `cert_file: ""`, nil, "key_file: live.key",
			`tls.cert_file is missing beside tls.key_file: it names the file with the certificate`,
		},
		{
			"no key", "key_file: live.key", `key_file: ""`, nil, "cert_file: live.crt",
			`tls.key_file is missing beside tls.cert_file: it names the file with the certificate's key`,
		},
		{
			"no such file", "cert_file: live.crt", "cert_file: love.crt", nil, "cert_file: love.crt",
			`tls.cert_file: there is no DIR/love.crt: put the certificate there, or write the path where it is`,
		},
		{
			"a folder", "key_file: live.key", "key_file: .", nil, "key_file: .",
			`tls.key_file: DIR is no file: write the path of the file with the certificate's key`,
		},
		{
			"key for everyone", "port: 8443", "port: 8443", func(dir string) error { return os.Chmod(filepath.Join(dir, keyFileName), 0o644) }, "key_file: live.key",
			`tls.key_file: DIR/live.key can be read by everyone (mode 0644): run "chmod o-rwx DIR/live.key"`,
		},
		{
			"not its key", "key_file: live.key", "key_file: authority.key", nil, "cert_file: live.crt",
			`tls.cert_file: no certificate with its key: DIR/live.crt and DIR/authority.key: tls: private key type does not match public key type: take the certificate in PEM, and the key that it was made with`,
		},
		{
			"a port that is taken", "port: 8443", "port: 9090", nil, "port: 9090",
			`tls.port: 9090 is ports.api already: choose another`,
		},
		{
			"no count", "connections: 50000", "connections: many", nil, "connections: many",
			`limits.connections: "many" is no count: write a number from 1 to 10000000`,
		},
		{
			"nobody let in", "per_address: 4096", "per_address: 0", nil, "per_address: 0",
			`limits.per_address: "0" is no count: write a number from 1 to 10000000`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := newSecurePoolDir(t)
			if test.spoil != nil {
				if err := test.spoil(dir); err != nil {
					t.Fatal(err)
				}
			}
			for _, role := range []string{"origin", "relay"} {
				file := filepath.Join(dir, role+".yaml")
				text := replaceIn(t, file, test.old, test.new)
				before, _, found := strings.Cut(text, test.at)
				if !found {
					t.Fatal("the line that is to be named is not in the file")
				}
				want := fmt.Sprintf("%s:%d: %s", file, 1+strings.Count(before, "\n"), strings.ReplaceAll(test.want, "DIR", dir))
				if err := load(role, file); err == nil || err.Error() != want {
					t.Errorf("\n got: %v\nwant: %s", err, want)
				}
			}
		})
	}
}
