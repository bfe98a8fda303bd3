package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// Who comes while the encoder is away gets a valid list of gaps, also where no
// media are left in it, and sees the encoder when it is back: hls.js in a page of
// somebody else's and our own page, neither of which is loaded again.
func TestArrivalInAGap(t *testing.T) {
	if !proving() {
		t.Skip("a minute of a real encoder and real players: SURGECAST_PROVE=1")
	}
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
