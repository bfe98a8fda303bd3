package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
)

// TestTLSStory is a pool whose nodes have a certificate: viewers come by HTTPS
// and HTTP/2, are sent on as such, and take their session from relay to relay.
func TestTLSStory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := writeCertificate(dir, []string{"live.surgecast.test"}, []netip.Addr{netip.MustParseAddr(storyRelay(0))}); err != nil {
			t.Fatal(err)
		}
		secure := TLSConfig{Port: 8443, CertFile: filepath.Join(dir, certFileName), KeyFile: filepath.Join(dir, keyFileName)}
		s := newStory(t)
		s.every = func(c *NodeConfig) { c.TLS, c.Zone = secure, "live.surgecast.test" }
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		s.startRelay(nodes, 0)
		s.startRelay(nodes, 1)
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(15 * time.Second)

		roots := x509.NewCertPool()
		pem, err := os.ReadFile(secure.CertFile)
		if err != nil || !roots.AppendCertsFromPEM(pem) {
			t.Fatal(err)
		}
		// One cache of sessions, and each connection closed after its request.
		transport := &http.Transport{
			DialContext: s.net.Host(storyViewer(0)).DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "live.surgecast.test", ClientSessionCache: tls.NewLRUClientSessionCache(4)},
		}
		client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		get := func(url string) *http.Response {
			t.Helper()
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			return response
		}
		sent := map[string]bool{}
		for range 20 {
			sent[get("https://"+storyOrigin()+":8443/theatre/index.m3u8").Header.Get("Location")] = true
		}
		const rest = ":8443/theatre/index.m3u8?_sc_sent=1"
		if len(sent) != 2 || !sent["https://"+storyRelay(0)+rest] || !sent["https://live.surgecast.test"+rest] {
			t.Errorf("sent on to %v: want the address that the certificate has, and the zone for the one that it has not", sent)
		}
		for i := range 4 {
			response := get("https://" + storyRelay(i%2) + ":8443/theatre/main/live.m3u8")
			if response.StatusCode != 200 || response.ProtoMajor != 2 || !response.TLS.DidResume {
				t.Errorf("request %d: %s by %s, session taken up: %v", i, response.Status, response.Proto, response.TLS.DidResume)
			}
		}
		transport.CloseIdleConnections()
		stopFeed()
		stop()
		s.end()
	})
}

// TestFullRelayNamesAnother has two relays with a seat or two each.
func TestFullRelayNamesAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		nodes, stop := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		s.every = func(c *NodeConfig) { c.Limits = LimitsConfig{Connections: 16, PerAddress: 2} }
		full := s.startRelay(nodes, 0)
		s.startRelay(nodes, 1)
		feed, stopFeed := context.WithCancel(t.Context())
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
		time.Sleep(15 * time.Second)

		viewer := s.net.Host(storyViewer(0))
		for range 2 {
			conn, err := viewer.DialContext(t.Context(), "tcp", storyRelay(0)+":8080")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		time.Sleep(time.Second)
		client := &http.Client{
			Transport:     &http.Transport{DialContext: viewer.DialContext, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		ask := func(path string) (int, string, string) {
			t.Helper()
			response, err := client.Get(storyBase(storyRelay(0)) + path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode, response.Header.Get("Location"), string(text)
		}
		other := storyBase(storyRelay(1))
		if status, location, _ := ask("/theatre/index.m3u8"); status != 307 || location != other+"/theatre/index.m3u8?_sc_sent=1" {
			t.Errorf("a new session gets %d to %q", status, location)
		}
		if status, _, text := ask("/theatre/main/live.m3u8"); status != 503 || !strings.Contains(text, other) {
			t.Errorf("a list: %d, %q", status, text)
		}
		if err := full.prove(t.Context(), proofBound, answerable); err != nil {
			t.Errorf("the relay itself finds no seat: %v", err)
		}
		if got := full.gate.Snapshot(); got.Refused < 2 || got.Seats != 16 {
			t.Errorf("%+v", got)
		}
		stopFeed()
		stop()
		s.end()
	})
}
