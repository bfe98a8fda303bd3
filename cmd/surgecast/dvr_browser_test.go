package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seekPage plays a long list with hls.js alone.
const seekPage = `<!doctype html><h1 id="headline"></h1><video muted playsinline></video>
<script src="/hls.js"></script>
<script>
const video = document.querySelector('video'), root = document.documentElement;
const hls = new Hls({liveDurationInfinity: false});
root.dataset.errors = '';
hls.on(Hls.Events.ERROR, (_, e) => { if (e.fatal) root.dataset.errors += e.details + ' '; });
hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
video.addEventListener('playing', () => { root.dataset.state = 'playing'; });
hls.loadSource(%q);
hls.attachMedia(video);
</script>`

// seekInBrowser seeks through a long list in Chromium: from the live end to the
// beginning, to the middle and back, and each time it plays on.
func seekInBrowser(t *testing.T, list string, length time.Duration) {
	t.Helper()
	library, err := os.ReadFile(filepath.Join(repository, "relay/player/dist/hls.min.js"))
	if err != nil {
		t.Log("built without hls.js: no browser seeks")
		return
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hls.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(library)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, seekPage, list)
	}))
	t.Cleanup(site.Close)
	view := openBrowser(t)
	view.open(site.URL)
	view.await("the long list plays", `state === 'playing' && video.seekable.length > 0`)
	view.await("all of it can be sought in", fmt.Sprintf(`video.seekable.end(0) - video.seekable.start(0) > %v`, (length-time.Minute).Seconds()))
	for _, place := range []struct{ name, where string }{
		{"to the beginning", `video.seekable.start(0) + 20`},
		{"to the middle", `(video.seekable.start(0) + video.seekable.end(0)) / 2`},
		{"back to the end", `video.seekable.end(0) - 12`},
	} {
		view.eval(`(video.currentTime = ` + place.where + `, '')`)
		from := view.eval(`String(video.currentTime)`)
		view.await(place.name, fmt.Sprintf(`!video.seeking && video.currentTime > %s + 3`, from))
	}
	if errors := view.eval(`document.documentElement.dataset.errors`); errors != "" {
		t.Errorf("hls.js gave up: %s", errors)
	}
}
