package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBrowserLeavesALostRelay is a viewer whose page, lists and media come from
// one relay, which is lost: killed, its address then refuses; stopped, it
// accepts and stays silent.
func TestBrowserLeavesALostRelay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a pool and a browser")
	}
	t.Setenv(asMain, "1")
	for _, lost := range []struct {
		how    string
		signal syscall.Signal
		stall  time.Duration // at most
	}{
		{"killed", syscall.SIGKILL, time.Second},
		{"stopped", syscall.SIGSTOP, 3 * time.Second},
	} {
		t.Run(lost.how, func(t *testing.T) {
			e := newEvening(t)
			known := &roster{}
			relays := map[string]*child{}
			for n := 1; n <= 3; n++ {
				relays[strings.TrimPrefix(e.url(n), "http://")] = e.startRelay(t, n)
			}
			for n := 1; n <= 3; n++ {
				e.addReady(t, n, known)
			}
			e.awaitSegments(t, 4)
			view := openBrowser(t)
			view.open(e.url(1) + "/theatre/")
			if view.eval(`String(document.documentElement.dataset.library)`) == "missing" {
				t.Skip("built without hls.js: run make deps where npm can be reached")
			}
			view.await("playing", `state === 'playing'`)
			view.playFor(5 * time.Second)
			view.watchStalls()
			view.playFor(3 * time.Second)
			before := view.longestStall()
			serving := view.servedBy()
			if relays[serving] == nil {
				t.Fatalf("served by %s, which is no relay", serving)
			}
			if err := relays[serving].process.Process.Signal(lost.signal); err != nil {
				t.Fatal(err)
			}
			if lost.signal == syscall.SIGSTOP { // or it could not be ended
				t.Cleanup(func() { _ = relays[serving].process.Process.Signal(syscall.SIGCONT) })
			}
			began := time.Now()
			view.await("another relay serves", fmt.Sprintf(`served() !== %q && state === 'playing'`, serving))
			after := time.Since(began)
			view.playFor(8 * time.Second)
			stall := view.longestStall()
			t.Logf("%s: media from %s after %v; longest stall %v (%v before), %s s behind live at the end, %s stalls seen by the viewer",
				lost.how, view.servedBy(), after.Round(10*time.Millisecond), stall, before, view.eval(`latency.toFixed(1)`), view.eval(`stalls`))
			// Beside the other tests a machine is too busy for this promise.
			if proving() && stall > lost.stall {
				t.Errorf("%s: the picture stood for %v, want at most %v", lost.how, stall, lost.stall)
			}
			if proving() && view.eval(`String(latency < 4)`) != "true" {
				t.Errorf("%s: %s s behind live afterwards", lost.how, view.eval(`latency.toFixed(1)`))
			}
		})
	}
}

// watchStalls notes the longest time in which the picture did not move.
func (v *browserView) watchStalls() {
	v.t.Helper()
	v.eval(`(() => {
		let moved = performance.now(), last = video.currentTime;
		window.longestStall = 0;
		setInterval(() => {
			const now = performance.now();
			if (video.currentTime !== last) { last = video.currentTime; moved = now; }
			window.longestStall = Math.max(window.longestStall, now - moved);
		}, 20);
		return '';
	})()`)
}

func (v *browserView) longestStall() time.Duration {
	v.t.Helper()
	ms, err := strconv.ParseFloat(v.eval(`String(window.longestStall)`), 64)
	if err != nil {
		v.t.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

// A page whose stream is lost for good on all the pathways of its playlist opens
// it anew at a relay that it has heard of, also when its own is gone.
func TestBrowserOpensElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a pool and a browser")
	}
	t.Setenv(asMain, "1")
	e := newEvening(t)
	known := &roster{}
	first, second := e.startRelay(t, 1), e.startRelay(t, 2)
	for n := 1; n <= 2; n++ {
		e.addReady(t, n, known)
	}
	e.awaitSegments(t, 4)
	view := openBrowser(t)
	view.open(e.url(1) + "/theatre/")
	if view.eval(`String(document.documentElement.dataset.library)`) == "missing" {
		t.Skip("built without hls.js: run make deps where npm can be reached")
	}
	view.await("playing", `state === 'playing'`)
	view.playFor(3 * time.Second)
	for _, relay := range []*child{first, second} {
		if err := relay.process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	view.await("no relay is left", `state !== 'playing'`)
	began := time.Now()
	e.startRelay(t, 2)
	e.addReady(t, 2, known)
	view.await("playing again", fmt.Sprintf(`state === 'playing' && served() === %q`, strings.TrimPrefix(e.url(2), "http://")))
	t.Logf("plays %v after the start of a relay at the address of the second", time.Since(began).Round(time.Millisecond))
}
