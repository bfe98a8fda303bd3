package relay

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/simnet"
)

const testName = "live.surgecast.test"

// certified is a folder with a certificate and its key.
type certified struct {
	t          testing.TB
	dir        string
	cert, key  string
	serial     int64
	begin, end time.Time
}

func newCertified(t testing.TB) *certified {
	c := &certified{t: t, dir: t.TempDir(), begin: time.Now().Add(-time.Hour), end: time.Now().AddDate(0, 3, 0)}
	c.cert, c.key = filepath.Join(c.dir, "live.crt"), filepath.Join(c.dir, "live.key")
	c.renew()
	return c
}

// renew writes another certificate with another key.
func (c *certified) renew() {
	cert, key := c.pair()
	c.write(c.cert, cert)
	c.write(c.key, key)
}

func (c *certified) pair() (cert, key []byte) {
	c.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	c.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(c.serial), Subject: pkix.Name{CommonName: testName},
		DNSNames: []string{testName}, NotBefore: c.begin, NotAfter: c.end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		c.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (c *certified) write(name string, text []byte) {
	c.t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *certified) open(secret string, log *slog.Logger) *TLS {
	c.t.Helper()
	s, err := NewTLS(TLSConfig{CertFile: c.cert, KeyFile: c.key, Secret: []byte(secret), Logger: log})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// viewer is how a test's viewer connects: whoever answers is trusted, since
// who it is is looked at by the test.
func viewer() *tls.Config {
	return &tls.Config{ServerName: testName, InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
}

// connect makes one connection in memory, passes a byte over it, and returns
// what the viewer knows of it.
func connect(t testing.TB, server *TLS, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	conn, err := handshake(t, server, client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	passByte(t, conn)
	return conn.ConnectionState(), nil
}

// handshake connects to a server that sends each byte back, until Close.
func handshake(t testing.TB, server *TLS, client *tls.Config) (*tls.Conn, error) {
	t.Helper()
	network := simnet.New(simnet.Config{})
	listener, err := network.Host("10.0.0.1").Listen("10.0.0.1:8443")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // ends with the connection
		b, err := listener.Accept()
		if err != nil {
			return
		}
		far := tls.Server(b, server.Config())
		defer far.Close()
		for one := make([]byte, 1); ; {
			if _, err := far.Read(one); err != nil {
				return
			}
			if _, err := far.Write(one); err != nil {
				return
			}
		}
	}()
	a, err := network.Host("10.0.0.2").DialContext(t.Context(), "tcp", "10.0.0.1:8443")
	if err != nil {
		t.Fatal(err)
	}
	near := tls.Client(a, client)
	if err := near.Handshake(); err != nil {
		a.Close()
		return nil, err
	}
	return near, nil
}

// passByte asks for a byte; the session's ticket comes before it.
func passByte(t testing.TB, conn *tls.Conn) {
	t.Helper()
	_, err := conn.Write([]byte("x"))
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		t.Error(err)
	}
}

// TestSessionGoesOnAtAnotherRelay: two relays have nothing in common but the
// pool's secret and their files.
func TestSessionGoesOnAtAnotherRelay(t *testing.T) {
	files := newCertified(t)
	a, b := files.open("one secret", slog.Default()), files.open("one secret", slog.Default())
	stranger := files.open("another secret", slog.Default())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := viewer()
		client.MaxVersion = version
		for i, step := range []struct {
			at      *TLS
			resumes bool
		}{{a, false}, {b, true}, {a, true}, {stranger, false}} {
			got, err := connect(t, step.at, client)
			if err != nil {
				t.Fatal(err)
			}
			if got.Version != version || got.DidResume != step.resumes {
				t.Errorf("%s, connection %d: %s, resumed: %v", tls.VersionName(version), i, tls.VersionName(got.Version), got.DidResume)
			}
		}
	}
}

// TestTicketsOverMidnight runs a relay over two days: a ticket is good until
// the end of the day after its own, at a relay whose clock is a day off too.
func TestTicketsOverMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newCertified(t)
		s := files.open("secret", slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(ctx, nil) })
		defer running.Wait()
		defer stop()

		time.Sleep(23*time.Hour + 59*time.Minute) // the bubble begins at a midnight
		yesterday := viewer()
		if _, err := connect(t, s, yesterday); err != nil {
			t.Fatal(err)
		}
		ahead := files.open("secret", slog.New(slog.DiscardHandler))
		ahead.tickets.turn(ahead.server, time.Now().Add(24*time.Hour))
		fast := viewer()
		if _, err := connect(t, ahead, fast); err != nil {
			t.Fatal(err)
		}
		if got, _ := connect(t, s, fast); !got.DidResume {
			t.Error("a ticket of a relay whose clock is a day ahead is not taken")
		}
		old := &heldSession{}
		held := viewer()
		held.ClientSessionCache = old
		if _, err := connect(t, s, held); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			after   time.Duration
			resumes bool
		}{{2 * time.Minute, true}, {23 * time.Hour, true}, {time.Hour, false}} {
			time.Sleep(step.after)
			if got, err := connect(t, s, held); err != nil || got.DidResume != step.resumes {
				t.Errorf("%v later: resumed %v, %v", step.after, got.DidResume, err)
			}
		}
	})
}

// heldSession keeps the first session that it is given.
type heldSession struct{ session *tls.ClientSessionState }

func (h *heldSession) Get(string) (*tls.ClientSessionState, bool) {
	return h.session, h.session != nil
}

func (h *heldSession) Put(_ string, session *tls.ClientSessionState) {
	if h.session == nil {
		h.session = session
	}
}

func TestTLSOffersOnlyWhatIsSafe(t *testing.T) {
	s := newCertified(t).open("secret", slog.Default())
	for name, test := range map[string]struct {
		change func(*tls.Config)
		good   bool
	}{
		"1.3":       {func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true},
		"1.2, GCM":  {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"1.1":       {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		"1.2, CBC":  {only12(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), false},
		"h2":        {func(c *tls.Config) { c.NextProtos = []string{"http/1.1", "h2"} }, true},
		"no h3":     {func(c *tls.Config) { c.NextProtos = []string{"h3"} }, false},
		"1.2, poly": {only12(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), true},
	} {
		client := viewer()
		test.change(client)
		got, err := connect(t, s, client)
		if (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
		if name == "h2" && got.NegotiatedProtocol != "h2" {
			t.Errorf("%s: agreed on %q", name, got.NegotiatedProtocol)
		}
	}
}

func only12(suite uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite} }
}

// TestCertificateIsReloaded changes the files under a running relay, and keeps
// a connection through all of it.
func TestCertificateIsReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newCertified(t)
		log := &logged{}
		s := files.open("secret", log.logger())
		reload := make(chan os.Signal)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(ctx, reload) })
		defer running.Wait()
		defer stop()
		conn, err := handshake(t, s, viewer())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		expect := func(what string, serial int64, line string) {
			t.Helper()
			synctest.Wait()
			got, err := connect(t, s, viewer())
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if is := got.PeerCertificates[0].SerialNumber.Int64(); is != serial {
				t.Errorf("%s: certificate %d is in use, want %d", what, is, serial)
			}
			if text := log.take(); strings.Count(text, "\n") > 1 || !strings.Contains(text, line) || line == "" && text != "" {
				t.Errorf("%s: logged %q, want %q", what, text, line)
			}
			passByte(t, conn)
		}
		expect("at the start", 1, "")

		files.renew()
		time.Sleep(fileCheck)
		expect("renewed", 2, "new certificate in use")

		cert, key := files.pair()
		files.write(files.cert, cert)
		time.Sleep(fileCheck)
		expect("one file of two", 2, "")
		files.write(files.key, key)
		time.Sleep(fileCheck)
		expect("the other one", 3, "new certificate in use")

		files.write(files.key, []byte("garbage"))
		time.Sleep(2 * fileCheck)
		expect("garbage", 3, "is refused, the old one stays")
		time.Sleep(time.Hour)
		expect("garbage for an hour", 3, "")
		reload <- os.Interrupt
		expect("asked with garbage", 3, "is refused")
		if err := os.Remove(files.key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * fileCheck)
		expect("no file", 3, "no such file")

		files.write(files.cert, cert)
		files.write(files.key, key)
		time.Sleep(2 * fileCheck)
		expect("as before", 3, "")
		reload <- os.Interrupt
		expect("asked for nothing", 3, "as they were")

		end := files.end
		files.end = time.Now().Add(-time.Minute)
		files.renew()
		time.Sleep(2 * fileCheck)
		expect("expired", 3, "expired on")
		files.end = end
		files.renew()
		reload <- os.Interrupt
		expect("asked", 5, "new certificate in use")
	})
}

func TestEndOfCertificateIsToldDaily(t *testing.T) {
	files := newCertified(t)
	files.begin, files.end = time.Now(), time.Now().AddDate(0, 0, 90)
	files.renew()
	log := &logged{}
	s := files.open("secret", log.logger())
	told := func(fromDay, toDay int) string {
		for hour := range (toDay - fromDay) * 24 {
			s.warnOfEnd(files.begin.Add(time.Duration(24*fromDay+hour) * time.Hour))
		}
		return log.take()
	}
	if text := told(0, 60); text != "" {
		t.Errorf("in the first 60 of 90 days: %s", text)
	}
	if text := told(61, 64); strings.Count(text, "ends soon") != 3 || !strings.Contains(text, "days=27") {
		t.Errorf("in the next three days: %s", text)
	}
	if text := told(91, 92); strings.Count(text, "level=ERROR") != 1 {
		t.Errorf("after the end: %s", text)
	}
}

func TestBadPairs(t *testing.T) {
	files := newCertified(t)
	_, other := files.pair()
	files.write(files.key, other)
	if _, err := ReadCertificate(files.cert, files.key); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), files.cert) {
		t.Errorf("a foreign key: %v", err)
	}
	files.write(files.key, bytes.Repeat([]byte("x"), maxPEMBytes+1))
	if _, err := ReadCertificate(files.cert, files.key); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := NewTLS(TLSConfig{CertFile: files.dir, KeyFile: files.key}); err == nil {
		t.Error("a folder was taken for a certificate")
	}
}

func TestErrorLogHasNoAddresses(t *testing.T) {
	log := &logged{}
	to := ErrorLog(log.logger())
	to.Print("http: TLS handshake error from 198.51.100.7:4711: EOF")
	to.Printf("http: TLS handshake error from [2001:db8::7]:4711: read tcp [::1]:8443->%s: i/o timeout", "[2001:db8::7%eth0]:4711")
	to.Print("http: panic serving 198.51.100.7:4711: oh dear")
	text := log.take()
	if strings.Contains(text, "198.51") || strings.Contains(text, "2001:db8") || strings.Contains(text, "4711") {
		t.Errorf("an address is in the log: %s", text)
	}
	if strings.Count(text, "level=DEBUG") != 2 || strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "EOF") {
		t.Errorf("got %s", text)
	}
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// take returns the lines since the last call.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}
