package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// HandshakeBound is how long a TLS handshake may take. It is the bound of a
// request's header: both are what a connection owes before it gets anything.
const HandshakeBound = 5 * time.Second

// TLSConfig says with what a node proves who it is.
type TLSConfig struct {
	CertFile string // PEM, the node's certificate first, then those between it and the root
	KeyFile  string // PEM
	// Secret is the pool's: what a session's ticket is sealed with is derived
	// from it, so that each relay takes up what another one began.
	Secret []byte
	Logger *slog.Logger
}

// TLS holds the certificate and the ticket keys of a node's secure listener,
// and keeps both up to date while connections go on.
type TLS struct {
	TLSConfig
	server  *tls.Config
	current atomic.Pointer[Certificate]

	// Touched by NewTLS, then by Run alone.
	tickets ticketKeys
	used    digest    // of the files in use
	tried   digest    // of the files that were looked at last
	told    digest    // of the files that were last told to be no good
	warned  time.Time // when the expiry was last told
}

// NewTLS reads the files. TLS 1.2 is for players in television sets; of its
// cipher suites those remain that are forward secret and authenticate what
// they encrypt. TLS 1.3 has no others.
func NewTLS(c TLSConfig) (*TLS, error) {
	t := &TLS{TLSConfig: c, tickets: ticketKeys{secret: c.Secret}}
	files := readPair(c.CertFile, c.KeyFile)
	first, err := files.parse()
	if err != nil {
		return nil, err
	}
	t.used = files.digest()
	t.tried = t.used
	t.current.Store(first)
	t.server = &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: t.certificate,
	}
	t.tickets.turn(t.server, time.Now())
	return t, nil
}

// Config is what all secure connections of the node share. It must not be
// cloned, as http.Server.ServeTLS does: a clone keeps the ticket keys of today.
func (t *TLS) Config() *tls.Config { return t.server }

// Certificate is the one that new connections get.
func (t *TLS) Certificate() *Certificate { return t.current.Load() }

func (t *TLS) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &t.current.Load().pair, nil
}

// fileCheck is how often the files are looked at. Their content is compared,
// not their dates: it is some kilobytes, and says whatever way they were put
// there.
const fileCheck = 5 * time.Second

// Run takes up changed files, turns the ticket keys at midnight UTC and warns
// of the certificate's end, until ctx ends. What comes on reload makes it look
// at the files at once.
func (t *TLS) Run(ctx context.Context, reload <-chan os.Signal) error {
	tick := time.NewTicker(fileCheck)
	defer tick.Stop()
	t.warnOfEnd(time.Now())
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-reload:
			t.reload(time.Now(), true)
		case <-tick.C:
			t.reload(time.Now(), false)
			t.warnOfEnd(time.Now())
			t.tickets.turn(t.server, time.Now())
		}
	}
}

// reload takes up a changed pair if it is good, else keeps the old one. Between
// the writing of one file and that of the other a pair is no good for a moment:
// it is complained about when it is so at the next look too, or when somebody
// asked for this look.
func (t *TLS) reload(now time.Time, asked bool) {
	files := readPair(t.CertFile, t.KeyFile)
	found := files.digest()
	settled := found == t.tried
	t.tried = found
	if found == t.used {
		t.told = digest{}
		if asked {
			t.Logger.Info("the certificate's files are as they were", "expires", t.Certificate().Expires())
		}
		return
	}
	next, err := files.parse()
	if err == nil && now.After(next.Expires()) {
		err = fmt.Errorf("%w: %s expired on %s", ErrCertificate, t.CertFile, next.Expires().Format(time.DateOnly))
	}
	switch {
	case err == nil:
		t.current.Store(next)
		t.used, t.told, t.warned = found, digest{}, time.Time{}
		t.Logger.Info("new certificate in use", "names", next.Names(), "expires", next.Expires())
	case asked || settled && found != t.told:
		t.told = found
		t.Logger.Error("the new certificate is refused, the old one stays in use", "err", err, "expires", t.Certificate().Expires())
	}
}

// warnOfEnd tells each day that the certificate's last third has begun:
// whatever renews certificates has failed for weeks by then.
func (t *TLS) warnOfEnd(now time.Time) {
	c := t.Certificate()
	left := c.Expires().Sub(now)
	if left >= c.life()/3 || now.Sub(t.warned) < 24*time.Hour {
		return
	}
	t.warned = now
	if left <= 0 {
		t.Logger.Error("the certificate has expired: viewers can't connect by TLS", "file", t.CertFile, "expired", c.Expires())
		return
	}
	t.Logger.Warn("the certificate ends soon and was not renewed", "file", t.CertFile, "expires", c.Expires(), "days", int(left.Hours()/24))
}
