package relay

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Certificate is what a pair of files holds.
type Certificate struct{ pair tls.Certificate }

// digest tells the contents of a pair of files from others.
type digest [sha256.Size]byte

// ErrCertificate is that two files are no certificate and key that belong
// together.
var ErrCertificate = errors.New("no certificate with its key")

// ReadCertificate reads a pair of files.
func ReadCertificate(certFile, keyFile string) (*Certificate, error) {
	return readPair(certFile, keyFile).parse()
}

// pairFiles are two files as they were found.
type pairFiles struct {
	names     [2]string
	cert, key []byte
	err       error
}

func readPair(certFile, keyFile string) *pairFiles {
	p := &pairFiles{names: [2]string{certFile, keyFile}}
	var certErr, keyErr error
	p.cert, certErr = readPEM(certFile)
	p.key, keyErr = readPEM(keyFile)
	p.err = errors.Join(certErr, keyErr)
	return p
}

func (p *pairFiles) digest() digest {
	h := sha256.New()
	fmt.Fprintf(h, "%d %v ", len(p.cert), p.err)
	h.Write(p.cert)
	h.Write(p.key)
	return digest(h.Sum(nil))
}

func (p *pairFiles) parse() (*Certificate, error) {
	if p.err != nil {
		return nil, p.err
	}
	pair, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s and %s: %w", ErrCertificate, p.names[0], p.names[1], err)
	}
	return &Certificate{pair}, nil
}

// maxPEMBytes bounds a file; a chain has some kilobytes.
const maxPEMBytes = 1 << 20

func readPEM(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPEMBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPEMBytes {
		return nil, fmt.Errorf("%w: %s is larger than 1 MiB", ErrCertificate, name)
	}
	return text, nil
}

// Expires is when the certificate's time is over.
func (c *Certificate) Expires() time.Time { return c.pair.Leaf.NotAfter }

// Names are those that the certificate stands for: DNS names, then addresses.
func (c *Certificate) Names() []string {
	names := append([]string(nil), c.pair.Leaf.DNSNames...)
	for _, ip := range c.pair.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Covers tells whether the certificate stands for a name or an address.
func (c *Certificate) Covers(host string) bool { return c.pair.Leaf.VerifyHostname(host) == nil }

func (c *Certificate) life() time.Duration {
	return c.pair.Leaf.NotAfter.Sub(c.pair.Leaf.NotBefore)
}
