package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// What the browser test waits for at most; each takes a second or two.
const browserBound = 40 * time.Second

// TestBrowser is a viewer with a real browser, from before the operation begins to the loss of the relay that served.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a pool and a browser")
	}
	beside(t)
	// Beside the other tests, with the race detector on, a machine is too busy for a promise about stalls.
	watch := sized(4*time.Second, 20*time.Second)
	pool := startBrowserPool(t)
	view := openBrowser(t)
	view.open(pool.url(pool.origin) + "/theatre/")
	if view.eval(`String(document.documentElement.dataset.library)`) == "missing" {
		t.Skip("built without hls.js: run make deps where npm can be reached")
	}

	view.await("state is waiting", `state === 'waiting' && text.includes('has not started yet')`)
	view.screenshot("waiting")

	pool.feed()
	view.await("playing by itself", `state === 'playing'`)
	view.await("latency is shown", `latency > 0 && document.getElementById('latency').textContent !== ''`)
	view.playFor(watch)
	view.screenshot("playing")
	stalls, latency := view.eval(`stalls`), view.eval(`latency.toFixed(1)`)
	t.Logf("%s stalls in %v, %s s behind live", stalls, watch, latency)
	if proving() && (stalls != "0" || view.eval(`String(latency < 3)`) != "true") {
		t.Errorf("%s stalls in %v and %s s behind live; want none, and less than 3 s", stalls, watch, latency)
	}
	view.await("the page offers sound", `!document.getElementById('unmute').hidden && video.muted`)
	view.click("#unmute")
	view.await("sound is on", `!video.muted`)

	serving := view.servedBy()
	t.Logf("served by %s", serving)
	began := time.Now()
	pool.kill(serving)
	view.await("another relay serves", fmt.Sprintf(`served() !== %q && state === 'playing'`, serving))
	t.Logf("served by %s, %v after the loss", view.servedBy(), time.Since(began).Round(time.Millisecond))
	view.playFor(3 * time.Second)
	view.screenshot("after-loss")
}

// browserPool is an origin and two relays in this process, on loopback addresses of their own.
type browserPool struct {
	t      *testing.T
	dir    string
	origin netip.Addr
	stops  map[string]func() // by host:port of viewers
}

// startBrowserPool starts it with the configuration that init writes, changed as
// told.
func startBrowserPool(t *testing.T, change ...func(*OriginConfig)) *browserPool {
	t.Helper()
	p := &browserPool{t: t, dir: t.TempDir(), origin: someLoopback(), stops: map[string]func(){}}
	if !bindable(t.Context(), p.origin) {
		t.Skip("this machine has one loopback address only")
	}
	files := initCmd{Dir: p.dir, Stream: "theatre", Zone: "live.surgecast.test", Origin: p.origin}
	if err := files.Run(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	config, err := loadOriginConfig(filepath.Join(p.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config.Drain = 0
	for _, c := range change {
		c(config)
	}
	node, err := newOriginNode(t.Context(), config, p.options(p.origin))
	if err != nil {
		t.Fatal(err)
	}
	p.run(p.origin, node.Run)
	address := p.origin
	for range 2 {
		address = address.Next()
		p.startRelay(address)
	}
	return p
}

func (p *browserPool) startRelay(address netip.Addr) {
	p.t.Helper()
	config, err := loadRelayConfig(filepath.Join(p.dir, "relay.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	config.Drain = 0
	node, err := newRelayNode(p.t.Context(), config, p.options(address))
	if err != nil {
		p.t.Fatal(err)
	}
	p.run(address, node.Run)
	for getOK(p.t.Context(), p.url(address)+"/readyz") != nil {
		if pause(p.t.Context(), 50*time.Millisecond) != nil {
			p.t.Fatal("the relay did not become ready")
		}
	}
}

func (p *browserPool) options(address netip.Addr) nodeOptions {
	return nodeOptions{Address: address, Env: realEnvironment(), Logger: slog.New(slog.NewTextHandler(p.t.Output(), nil))}
}

// run runs a node until it is killed or the test ends.
func (p *browserPool) run(address netip.Addr, node func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := node(ctx); err != nil {
			p.t.Errorf("node %v: %v", address, err)
		}
	})
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	p.stops[p.host(address)] = stop
	p.t.Cleanup(stop)
}

// feed pushes the built-in clip until it is stopped, or the test ends.
func (p *browserPool) feed() (stop func()) {
	key, err := os.ReadFile(filepath.Join(p.dir, "theatre.key"))
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		target := fmt.Sprintf("rtsp://publish:%s@%v:%d/theatre", strings.TrimSpace(string(key)), p.origin, defaultRTSPPort)
		if err := feed(ctx, target, feedOptions{}); err != nil {
			p.t.Errorf("feed: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	p.t.Cleanup(stop)
	return stop
}

func (p *browserPool) host(address netip.Addr) string {
	return netip.AddrPortFrom(address, defaultViewerPort).String()
}

func (p *browserPool) url(address netip.Addr) string { return "http://" + p.host(address) }

func (p *browserPool) kill(host string) {
	p.t.Helper()
	if p.stops[host] == nil || host == p.host(p.origin) {
		p.t.Fatalf("%q is no relay", host)
	}
	p.stops[host]()
}

// browserView is a page in a headless Chromium.
type browserView struct {
	t   *testing.T
	ctx context.Context
}

func openBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browserView {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
	}
	for _, name := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(name, true))
	}
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(append(options, more...)...))
	t.Cleanup(cancel)
	view := &browserView{t: t, ctx: ctx}
	view.do(chromedp.EmulateViewport(1280, 800))
	return view
}

func (v *browserView) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	if err := chromedp.Do(v.ctx, steps...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *browserView) open(url string) { v.t.Helper(); v.do(chromedp.Navigate(url)) }
func (v *browserView) click(selector string) {
	v.t.Helper()
	v.do(chromedp.Click(chromedp.CSS(selector)))
}

// what every expression below may use
const browserNames = `(() => {
	const {state, stalls, wakes} = document.documentElement.dataset;
	const latency = Number(document.documentElement.dataset.latency ?? 0);
	const video = document.querySelector('video');
	const text = document.getElementById('headline').textContent;
	const served = () => {
		const media = performance.getEntriesByType('resource').filter((r) => r.name.includes('.m4s') && r.responseStatus === 200);
		return media.length ? new URL(media.at(-1).name).host : '';
	};
	if (performance.getEntriesByType('resource').length > 200) performance.clearResourceTimings();
	return %s;
})()`

func (v *browserView) eval(expression string) string {
	v.t.Helper()
	return v.evalAnywhere(fmt.Sprintf(browserNames, expression))
}

// evalAnywhere needs no page of ours.
func (v *browserView) evalAnywhere(expression string) string {
	v.t.Helper()
	got, err := chromedp.Run(v.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		v.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// await waits until an expression is true.
func (v *browserView) await(what, expression string) {
	v.t.Helper()
	began := time.Now()
	_, err := chromedp.Run(v.ctx, chromedp.Poll[bool](fmt.Sprintf(browserNames, expression),
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(browserBound)))
	if err != nil {
		v.screenshot("failed")
		v.t.Fatalf("%s: %v; the page: %s", what, err,
			v.eval("JSON.stringify({...document.documentElement.dataset, text, time: video.currentTime, served: served()})"))
	}
	v.t.Logf("%s: after %v", what, time.Since(began).Round(10*time.Millisecond))
}

// playFor waits until that much more has played.
func (v *browserView) playFor(d time.Duration) {
	v.t.Helper()
	until := fmt.Sprintf(`state === 'playing' && video.currentTime >= %s + %v`, v.eval(`String(video.currentTime)`), d.Seconds())
	v.await(fmt.Sprintf("%v have played", d), until)
}

// servedBy is the host:port that the newest media came from.
func (v *browserView) servedBy() string {
	v.t.Helper()
	v.await("media are fetched", `served() !== ''`)
	host := v.eval(`served()`)
	if _, err := url.Parse("http://" + host); err != nil {
		v.t.Fatal(err)
	}
	return host
}

// screenshot keeps what the viewer sees, where SURGECAST_SCREENSHOTS names a folder.
func (v *browserView) screenshot(name string) {
	v.t.Helper()
	dir := os.Getenv("SURGECAST_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(v.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "browser-"+name+".png"), picture, 0o644)
	}
	if err != nil {
		v.t.Errorf("screenshot: %v", err)
	}
}
