package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/relay"
)

// lossPage plays a stream with hls.js alone, as a portal of somebody else's
// might, and keeps account of what its viewer sees.
const lossPage = `<!doctype html><h1 id="headline"></h1><video muted playsinline></video>
<script src="/hls.js"></script>
<script>
const video = document.querySelector('video'), root = document.documentElement;
const seen = window.seen = {errors: {}, fatal: '', frozen: 0, back: 0, dateBack: 0, jumped: 0, loads: 0};
const hls = window.hls = new Hls({lowLatencyMode: true, liveSyncDuration: 1.5, maxLiveSyncPlaybackRate: 1.5, liveMaxLatencyDuration: 8});
hls.on(Hls.Events.ERROR, (_, e) => {
	seen.errors[e.details] = (seen.errors[e.details] ?? 0) + 1;
	if (e.fatal) seen.fatal += e.details + ' ';
});
hls.on(Hls.Events.MANIFEST_PARSED, () => { seen.loads++; video.play(); });
video.addEventListener('playing', () => { root.dataset.state = 'playing'; });
let time = 0, date = 0, at = performance.now();
setInterval(() => {
	const now = performance.now(), moved = video.currentTime - time, d = hls.playingDate?.getTime() ?? date;
	if (time > 0 && moved <= 0) seen.frozen += (now - at) / 1000;
	if (moved < -0.01) seen.back++;
	if (moved > 1 + (now - at) / 500) seen.jumped += moved;
	seen.dateBack = Math.max(seen.dateBack, date - d);
	time = video.currentTime; date = d; at = now;
}, 50);
hls.loadSource(%q);
hls.attachMedia(video);
</script>`

// viewed is what lossPage keeps.
type viewed struct {
	Errors   map[string]int
	Fatal    string
	Frozen   float64
	Back     int
	DateBack float64 // ms at most, since the last look: the library guesses anew where a fragment is
	Jumped   float64
	Loads    int
	Latency  float64
	Time     float64
}

// testLossInARealPlayer kills a real encoder and lets it come back after 0.2, 5
// and 60 s and with another picture: hls.js goes on in the page that it is in,
// ffmpeg as a reader in its process, both behind relays.
func testLossInARealPlayer(t *testing.T) {
	for _, what := range []origin.OnLoss{origin.GapOnLoss, origin.SlateOnLoss} {
		t.Run(string(what), func(t *testing.T) { playThroughLosses(t, what) })
	}
}

func playThroughLosses(t *testing.T, what origin.OnLoss) {
	e := lossEvening(t, what)
	list := newListWatch(t, e, "theatre")
	encoder := e.encode(t, 640)
	list.awaitGrowth(t)
	index := e.url(1) + "/theatre/index.m3u8"
	view := openLossPage(t, index)
	reader := readWithFFmpeg(t, index)
	view.await("hls.js plays", `state === 'playing' && video.currentTime > 3`)
	page := openBrowser(t)
	page.open(e.url(1) + "/theatre/")
	page.await("our page plays", `state === 'playing'`)
	for _, visit := range []struct {
		away  time.Duration
		width int
	}{{200 * time.Millisecond, 640}, {5 * time.Second, 640}, {5 * time.Second, 426}, {time.Minute, 426}, {time.Minute, 640}} {
		before, frames := view.look(t), reader.frames.Load()
		list.filled.Store(0)
		encoder()
		time.Sleep(visit.away)
		encoder = e.encode(t, visit.width)
		began := time.Now()
		view.await("hls.js shows the encoder", fmt.Sprintf(`video.currentTime > %v && !video.paused && video.readyState > 2 && hls.playingDate > %d`, before.Time, began.UnixMilli()))
		back := time.Since(began)
		page.await("our page goes on", `state === 'playing' && video.currentTime > 0 && latency < 15`)
		time.Sleep(10 * time.Second)
		after := view.look(t)
		t.Logf("%s, away %v, then %d wide: the encoder's picture %.1f s after it began; %.1f s of %s; hls.js: frozen %.1f s, jumped %.1f s, %.1f s behind live 10 s later, dates back by %.0f ms, errors %v; our page: %s s behind live, %s stalls",
			what, visit.away, visit.width, back.Seconds(), time.Duration(list.filled.Load()).Seconds(), what, after.Frozen-before.Frozen, after.Jumped-before.Jumped, after.Latency, after.DateBack, after.Errors,
			page.eval(`latency.toFixed(1)`), page.eval(`stalls`))
		if after.Fatal != "" || after.Loads != 1 || after.DateBack > 500 || after.Back > 0 {
			t.Errorf("hls.js: %+v", after)
		}
		if got := reader.frames.Load(); got < frames+100 {
			t.Errorf("the ffmpeg reader had %d frames and has %d", frames, got)
		}
		t.Logf("the ffmpeg reader has %d frames", reader.frames.Load())
		list.check(t)
	}
}

// lossEvening is an evening with two relays whose stream shows that at a loss.
func lossEvening(t *testing.T, what origin.OnLoss, more ...setting) *evening {
	t.Helper()
	e := &evening{first: someLoopback(), logs: t.TempDir()}
	e.dir = newPoolDir(t, poolSettings{
		Origin:     e.first,
		OriginMore: append([]setting{{"dns.port", "5300"}, {"drain", "0s"}, {"streams.on_loss", string(what)}}, more...),
		RelayMore:  []setting{{"drain", "0s"}},
	})
	config, err := loadOriginConfig(filepath.Join(e.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	e.origin, err = newOriginNode(t.Context(), config, nodeOptions{Address: e.first, Env: realEnvironment(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "origin", e.origin.Run)
	for n := 1; n <= 2; n++ {
		e.startRelay(t, n)
		e.addReady(t, n, &roster{})
	}
	return e
}

// encode starts a real encoder; what is returned kills it.
func (e *evening) encode(t *testing.T, width int) (kill func()) {
	t.Helper()
	c := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1",
		"-i", filepath.Join(repository, "cmd/surgecast/clip/clip.mp4"),
		"-vf", fmt.Sprintf("scale=%d:-2", width), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25",
		"-c:a", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", e.pushURL())
	c.Stderr = t.Output()
	if err := c.Start(); err != nil {
		t.Skip("no ffmpeg: ", err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	t.Cleanup(kill)
	return kill
}

func openLossPage(t *testing.T, index string) *browserView {
	t.Helper()
	library, err := os.ReadFile(filepath.Join(repository, "relay/player/dist/hls.min.js"))
	if err != nil {
		t.Skip("built without hls.js")
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hls.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(library)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, lossPage, index)
	}))
	t.Cleanup(site.Close)
	view := openBrowser(t)
	view.open(site.URL)
	return view
}

func (v *browserView) look(t *testing.T) (now viewed) {
	t.Helper()
	text := v.eval(`((text) => (seen.dateBack = 0, text))(JSON.stringify({...seen, latency: (Date.now() - hls.playingDate) / 1000, time: video.currentTime}))`)
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		t.Fatal(err)
	}
	return now
}

// ffmpegReader counts the frames that ffmpeg has read.
type ffmpegReader struct{ frames atomic.Int64 }

func readWithFFmpeg(t *testing.T, index string) *ffmpegReader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-i", index, "-map", "0:v", "-f", "null", "-progress", "pipe:1", "-")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &ffmpegReader{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "frame="); ok {
				if frames, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64); err == nil {
					r.frames.Store(frames)
				}
			}
		}
		_ = c.Wait()
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// listWatch follows a list as it is served.
type listWatch struct {
	url      string
	shown    func() []origin.Shown
	filled   atomic.Int64 // nanoseconds of gaps and slates
	problems chan string
	versions atomic.Int64
}

const lookEach = 200 * time.Millisecond

func newListWatch(t *testing.T, e *evening, stream string) *listWatch {
	t.Helper()
	l := &listWatch{url: e.url(1) + "/" + stream + "/main/live.m3u8", shown: e.origin.origin.Shown, problems: make(chan string, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.follow(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *listWatch) follow(ctx context.Context) {
	var next uint64
	var date time.Time
	for ctx.Err() == nil {
		time.Sleep(lookEach)
		if len(l.shown()) > 0 {
			l.filled.Add(int64(lookEach))
		}
		response, err := http.Get(l.url)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			continue
		}
		list, err := relay.ParsePlaylist(text)
		if err != nil {
			l.problem(err.Error())
			continue
		}
		l.versions.Add(1)
		if next > 0 && list.OpenSequence() < next {
			l.problem(fmt.Sprintf("media sequence %d after %d", list.OpenSequence(), next))
		}
		for i, s := range list.Segments {
			if list.MediaSequence+uint64(i) < next {
				continue
			}
			if s.ProgramDateTime.Before(date) {
				l.problem(fmt.Sprintf("dated %v after %v", s.ProgramDateTime, date))
			}
			date = s.ProgramDateTime
		}
		next = list.OpenSequence()
	}
}

func (l *listWatch) problem(text string) {
	select {
	case l.problems <- text:
	default: // there are enough
	}
}

func (l *listWatch) check(t *testing.T) {
	t.Helper()
	for {
		select {
		case p := <-l.problems:
			t.Error(p)
		default:
			return
		}
	}
}

func (l *listWatch) awaitGrowth(t *testing.T) {
	t.Helper()
	for range 400 {
		if l.versions.Load() > 3 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("nothing came")
}
