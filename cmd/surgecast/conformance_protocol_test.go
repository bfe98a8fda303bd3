package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// protocol is one way in which a viewer asks a node.
type protocol struct {
	name   string
	major  int // version of HTTP
	secure bool
}

var protocols = []protocol{{"h1", 1, false}, {"h2", 2, false}, {"h1 over TLS", 1, true}, {"h2 over TLS", 2, true}}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// seat is a viewer's before the nth node, which has the address.
func (p protocol) seat(t *testing.T, n int, address string, dial dialer) *seat {
	s := &seat{
		t: t, name: nodeNames[n] + ", " + p.name, node: n, major: p.major,
		base: fmt.Sprintf("http://%s:%d", address, defaultViewerPort),
	}
	if p.secure {
		s.base = fmt.Sprintf("https://%s:%d", address, defaultTLSPort)
	}
	s.client = &http.Client{
		Transport:     p.transport(dial),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

// transport speaks exactly one protocol: without TLS, HTTP/2 by prior
// knowledge.
func (p protocol) transport(dial dialer) *http.Transport {
	speaks := new(http.Protocols)
	speaks.SetHTTP1(p.major == 1)
	speaks.SetHTTP2(p.major == 2)
	speaks.SetUnencryptedHTTP2(p.major == 2 && !p.secure)
	return &http.Transport{
		Protocols: speaks, DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 8,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // what the certificate says is another test's
	}
}

// certificateFiles makes a certificate for any time, fake or real.
func certificateFiles(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"live.surgecast.test"}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}
