package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// credentials are a certificate and its key, the same for both servers.
type credentials struct{ certificate, key string }

// newCredentials makes a certificate of the kind that is usual today, ECDSA on
// P-256, signed by itself.
func newCredentials(dir string) (*credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "bench"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.ParseIP(relayHost), net.ParseIP(nginxHost)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &credentials{filepath.Join(dir, "bench.crt"), filepath.Join(dir, "bench.pem")}
	if err := writePEM(c.certificate, "CERTIFICATE", certificate); err != nil {
		return nil, err
	}
	return c, writePEM(c.key, "PRIVATE KEY", secret)
}

func writePEM(file, kind string, content []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}

// secure turns TLS on in a relay's configuration. It returns nil when this
// relay has no TLS: what needs it is then left out.
func secure(dir, file string) (*credentials, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(text), "\ntls:") {
		return nil, nil
	}
	c, err := newCredentials(dir)
	if err != nil {
		return nil, err
	}
	return c, rewrite(file, []setting{{"tls.port", securePort}, {"tls.cert_file", c.certificate}, {"tls.key_file", c.key}}, "")
}
