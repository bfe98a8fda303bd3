package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"surgecast/origin"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// A viewer who comes while the source is away is told so, by eye and by ear, and
// waits without asking for the stream again and again; it goes on by itself.
func TestBrowserInAGap(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a pool and a browser")
	}
	beside(t)
	pool := startBrowserPool(t)
	stop, at := pool.feed(), pool.url(pool.origin.Next())
	list := awaitList(t, at+"/theatre/index.m3u8")
	stop()
	eventually(t, "the list ends in a gap", func() error {
		p, err := relay.ParsePlaylist([]byte(body(t, list)))
		if err == nil && (len(p.Segments) == 0 || !p.Segments[len(p.Segments)-1].Gap) {
			err = errors.New("the last segment is none")
		}
		return err
	})

	view := openBrowser(t)
	view.open(at + "/theatre/")
	if view.eval(`String(document.documentElement.dataset.library)`) == "missing" {
		t.Skip("built without hls.js: run make deps where npm can be reached")
	}
	const told = `state === 'waiting' && text === 'The broadcast is interrupted at the moment.' &&
		document.getElementById('detail').textContent === 'This page will go on by itself.'`
	view.await("the page tells of the gap", told)
	view.await("so does the live region", `document.querySelector('[role=status][aria-live=polite]').textContent === text + ' This page will go on by itself.'`)
	view.screenshot("gap-light")
	dark := openBrowser(t, chromedp.Flag("blink-settings", "preferredColorScheme=0"))
	dark.open(at + "/theatre/")
	dark.await("the page tells of the gap in the dark", told+` && matchMedia('(prefers-color-scheme: dark)').matches`)
	dark.screenshot("gap-dark")

	view.eval(`(window.opened = window.other = 0, window.since = performance.now(),
		new PerformanceObserver((seen) => seen.getEntries().forEach((e) => { if (e.name.includes('index.m3u8')) window.opened++; })).observe({type: 'resource'}),
		new MutationObserver(() => { window.other++; }).observe(document.getElementById('headline'), {childList: true, characterData: true, subtree: true}), '')`)
	view.await("it waits, longer than a picture that stands is left alone", `performance.now() - window.since > 15000`)
	if opened, other := view.eval(`String(window.opened)`), view.eval(`String(window.other)`); opened != "0" || other != "0" || view.eval(`String(`+told+`)`) != "true" {
		t.Errorf("meanwhile the stream was opened %s times, and the page said something else %s times", opened, other)
	}
	pool.feed()
	view.await("playing by itself", `state === 'playing' && latency < 15`)
	view.await("the live region says so", `document.getElementById('announcer').textContent === 'The live picture is playing.'`)
	view.playFor(2 * time.Second)
	dark.await("playing by itself in the dark", `state === 'playing'`)
	t.Logf("the stream was opened %s times more", view.eval(`String(window.opened)`))
}

// Who comes while the encoder is away gets a valid list of gaps, also where no
// media are left in it, and sees the encoder when it is back: hls.js in a page of
// somebody else's and our own page, neither of which is loaded again.
func testArrivalInAGap(t *testing.T) {
	for name, away := range map[string]time.Duration{"media are left": 5 * time.Second, "only gaps": 25 * time.Second} {
		t.Run(name, func(t *testing.T) { arriveInAGap(t, away) })
	}
}

func arriveInAGap(t *testing.T, away time.Duration) {
	e := lossEvening(t, origin.GapOnLoss, setting{"window", "12s"})
	list := newListWatch(t, e, "theatre")
	encoder := e.encode(t, 640)
	list.awaitGrowth(t)
	time.Sleep(10 * time.Second)
	encoder()
	time.Sleep(away)

	watcher := storyWatcher{client: http.DefaultClient}
	text, err := watcher.get(t.Context(), e.url(1)+"/theatre/main/live.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range hlscheck.Check("", string(text)) {
		t.Error(problem)
	}
	now, err := relay.ParsePlaylist(text)
	if err != nil {
		t.Fatal(err)
	}
	gaps := 0
	for _, s := range now.Segments {
		if s.Gap {
			gaps++
		}
	}
	last := now.Segments[len(now.Segments)-1]
	if gaps == 0 || !last.Gap || !bytes.Contains(text, []byte("#EXT-X-GAP\n")) || (gaps == len(now.Segments)) != strings.HasSuffix(t.Name(), "only_gaps") {
		t.Errorf("%d of %d segments are gaps:\n%s", gaps, len(now.Segments), text)
	}
	if behind := time.Since(now.End()); behind > 2*time.Second { // the patience of a loss, and what is on its way
		t.Errorf("the list ends %v ago", behind)
	}

	view := openLossPage(t, e.url(1)+"/theatre/index.m3u8")
	page := openBrowser(t)
	page.open(e.url(1) + "/theatre/")
	time.Sleep(5 * time.Second)
	waiting := page.eval(`state + ', ' + text`)
	e.encode(t, 640)
	began := time.Now()
	view.await("hls.js shows the encoder", fmt.Sprintf(`!video.paused && video.readyState > 2 && hls.playingDate > %d`, began.UnixMilli()))
	back := time.Since(began)
	page.await("our page shows the encoder", `state === 'playing' && video.currentTime > 0 && latency < 15`)
	ours := time.Since(began)
	time.Sleep(8 * time.Second)
	after := view.look(t)
	t.Logf("away %v, %d of %d segments are gaps; our page says %q meanwhile; the encoder's picture after %.1f s in hls.js and %.1f s in our page; hls.js then %.1f s behind live, frozen %.1f s, errors %v; our page %s s behind live, %s stalls",
		away, gaps, len(now.Segments), waiting, back.Seconds(), ours.Seconds(), after.Latency, after.Frozen, after.Errors, page.eval(`latency.toFixed(1)`), page.eval(`stalls`))
	if after.Fatal != "" || after.Loads != 1 || after.Latency > 8 {
		t.Errorf("hls.js: %+v", after)
	}
	list.check(t)
}
