package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// portals are pages of another site that show the stream: as the manual says,
// and with no right but to run scripts.
var portals = map[string]string{
	"/strict": `<iframe src="%s" sandbox="allow-scripts" width="640" height="360"></iframe>`,
	"/manual": `<iframe src="%s" allow="autoplay; fullscreen" width="640" height="360"></iframe>`,
}

// TestBrowserEmbedded is a viewer of a portal that is served by HTTPS from
// another site. The browser lets a picture begin by itself only without sound,
// and gives no cookies to frames.
func TestBrowserEmbedded(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a pool and a browser")
	}
	beside(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, certFileName), filepath.Join(dir, keyFileName)
	certify := func(relays ...netip.Addr) {
		_ = os.RemoveAll(dir) // written files are never written over
		if err := writeCertificate(dir, []string{demoZone}, relays); err != nil {
			t.Fatal(err)
		}
	}
	certify()
	e := newEvening(t, setting{"tls.cert_file", cert}, setting{"tls.key_file", key})
	certify(e.address(1), e.address(2)) // without a zone that is delegated it must stand for each
	relays := map[string]*child{}
	for n := 1; n <= 2; n++ {
		relays[e.secureHost(n)] = e.startRelay(t, n)
	}
	for n := 1; n <= 2; n++ {
		e.addReady(t, n, &roster{})
	}
	e.awaitSegments(t, 4)
	page := "https://" + e.secureHost(1) + "/theatre/"
	noCookies(t, page, page+"index.m3u8", page+"main/live.m3u8", page[:len(page)-len("theatre/")]+"steering/theatre")

	portal := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>portal</title>"+portals[r.URL.Path], page)
	}))
	t.Cleanup(portal.Close)
	view := openBrowser(t, chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("autoplay-policy", "document-user-activation-required"),
		chromedp.Flag("test-third-party-cookie-phaseout", true))

	view.open(portal.URL + "/strict")
	frame := view.frame(page)
	if frame.eval(`String(document.documentElement.dataset.library)`) == "missing" {
		t.Skip("built without hls.js: run make deps where npm can be reached")
	}
	frame.await("playing in a sandbox", `state === 'playing'`)
	frame.playFor(time.Second)
	if got := frame.eval(`String(window.origin)`); got != "null" {
		t.Errorf("the sandbox is of %s", got)
	}

	view.open(portal.URL + "/manual")
	frame = view.frame(page)
	frame.await("playing in a portal", `state === 'playing'`)
	frame.playFor(time.Second)
	if got := frame.eval(`[document.documentElement.dataset.layout, document.fullscreenEnabled, !document.getElementById('full').hidden, document.cookie].join()`); got != "overlay,true,true," {
		t.Errorf("layout, full screen allowed, its button, cookies: %s", got)
	}
	view.screenshot("embedded")
	serving := frame.servedBy()
	if relays[serving] == nil {
		t.Fatalf("served by %s, which is no relay", serving)
	}
	killChild(t, relays[serving])
	frame.await("another relay serves", fmt.Sprintf(`served() !== %q && state === 'playing'`, serving))
	frame.playFor(2 * time.Second)
}

func (e *evening) secureHost(n int) string {
	return netip.AddrPortFrom(e.address(n), defaultTLSPort).String()
}

// frame is the frame from another site that shows a page.
func (v *browserView) frame(page string) *browserView {
	v.t.Helper()
	inner := &browserView{t: v.t}
	eventually(v.t, "the portal has its frame", func() error {
		targets, err := chromedp.Targets(v.ctx)
		if err != nil {
			return err
		}
		for _, target := range targets {
			if target.Type == "iframe" && strings.HasPrefix(target.URL, page) {
				ctx, cancel := chromedp.NewContext(v.ctx, chromedp.WithTargetID(target.TargetID))
				v.t.Cleanup(cancel)
				inner.ctx = ctx
				return nil
			}
		}
		return fmt.Errorf("there are %d targets", len(targets))
	})
	return inner
}

// noCookies asks as a browser does, and looks at what only an answer's head tells.
func noCookies(t *testing.T, urls ...string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // what the certificate says is another test's
	}}
	defer client.CloseIdleConnections()
	for _, url := range urls {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", "https://portal.example")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		cancel()
		h := response.Header
		if response.StatusCode != http.StatusOK || h.Get("Set-Cookie") != "" || h.Get("X-Frame-Options") != "" {
			t.Errorf("%s: %s, cookie %q, frame options %q", url, response.Status, h.Get("Set-Cookie"), h.Get("X-Frame-Options"))
		}
		if !strings.HasSuffix(url, "/theatre/") && h.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: only for %q", url, h.Get("Access-Control-Allow-Origin"))
		}
	}
}
