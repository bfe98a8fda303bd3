package origin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"surgecast/origin"
)

func TestRTSPBitEqual(t *testing.T) {
	for name, c := range map[string]struct {
		scheme    string
		transport string
	}{
		"tcp": {"rtsp", "tcp"},
		"udp": {"rtsp", "udp"},
		"tls": {"rtsps", "tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bitEqual(t, func(ctx context.Context, t *testing.T, gate *origin.Gate) []string {
				config := origin.RTSPConfig{Listen: "127.0.0.1:0", Gate: gate}
				if c.scheme == "rtsps" {
					config.TLS = selfMade(t)
				} else {
					config.UDPRTP = "127.0.0.1:0"
				}
				r, err := origin.NewRTSP(config)
				if err != nil {
					t.Fatal(err)
				}
				runBeside(ctx, t, r.Run)
				options := []string{"-f", "rtsp", "-rtsp_transport", c.transport}
				if c.scheme == "rtsps" {
					options = append(options, "-tls_verify", "0")
				}
				return append(options, c.scheme+"://publish:curtain@"+r.Addr().String()+"/theatre")
			})
		})
	}
}

// runBeside runs a server until the test ends.
func runBeside(ctx context.Context, t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// selfMade is a certificate that nobody trusts.
func selfMade(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}
}
