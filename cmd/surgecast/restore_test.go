package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"surgecast/relay"
)

// What the killed origin leaves: three relays under fifty viewers. The same on
// fake time, and so in each test run, is TestStoryOfAKilledOrigin.
const (
	killedRelays  = 3
	killedViewers = 50
)

// killedEvening is an origin and relays, each a process, and a feed that comes
// back by itself.
type killedEvening struct {
	*evening
	config *OriginConfig
	origin *child
}

func newKilledEvening(t *testing.T, first netip.Addr) *killedEvening {
	t.Helper()
	if !proving() {
		t.Skip("takes a minute: make prove runs it")
	}
	e := &killedEvening{evening: &evening{first: first, logs: t.TempDir()}}
	e.dir = newPoolDir(t, poolSettings{
		Origin:     e.first,
		OriginMore: []setting{{"drain", "0s"}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	var err error
	if e.config, err = loadOriginConfig(filepath.Join(e.dir, "origin.yaml")); err != nil {
		t.Fatal(err)
	}
	e.origin = e.startOrigin(t)
	push := fmt.Sprintf("rtsp://publish:%s@%v/theatre", e.config.Streams[0].PublishKey, netip.AddrPortFrom(e.first, defaultRTSPPort))
	background(t, "feed", func(ctx context.Context) error { return feed(ctx, push, feedOptions{}) })
	for n := 1; n <= killedRelays; n++ {
		e.startRelay(t, n)
	}
	for n := 1; n <= killedRelays; n++ {
		eventually(t, "a relay is ready", func() error { return getOK(t.Context(), e.url(n)+"/readyz") })
	}
	time.Sleep(10 * time.Second) // so that there is a window to be lost
	return e
}

// restart kills the origin and starts it again, when all is done that happens to
// its disk meanwhile. It returns how long that took.
func (e *killedEvening) restart(t *testing.T, meanwhile func(disk string) error) time.Duration {
	t.Helper()
	killed := time.Now()
	if err := e.origin.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-e.origin.ended
	if err := meanwhile(filepath.Join(e.dir, "state", e.first.String())); err != nil {
		t.Fatal(err)
	}
	e.origin = e.startOrigin(t)
	eventually(t, "the origin is back", func() error { return getOK(t.Context(), e.url(0)+"/readyz") })
	return time.Since(killed)
}

// kills are what happens to the disk of an origin that is killed.
var kills = []struct {
	name string
	disk func(dir string) error
}{
	{"at once", func(string) error { return nil }},
	{"empty disk", os.RemoveAll},
}

// The origin is killed under fifty viewers and started again at once, and once
// more with an empty disk: viewers play on within the time of the restart and
// one target duration, nothing goes back, and nobody begins anew.
func TestKilledOrigin(t *testing.T) {
	e := newKilledEvening(t, netip.AddrFrom4([4]byte{127, 61, 1, 1}))
	target := e.config.Streams[0].constants().TargetDuration
	for _, kill := range kills {
		before := e.newestList(t, 1)
		crowd := e.startCrowdAt(t, killedViewers)
		time.Sleep(8 * time.Second)
		restart := e.restart(t, kill.disk)
		time.Sleep(15 * time.Second)
		list := e.newestList(t, 1)
		ended := time.Now()
		crowd.stop()
		crowd.wait.Wait()
		sum := checkStayers(t, crowd.all, ended.Add(-restart-target))
		t.Logf("%s: restart %v, at most %v between two parts, %d steps back, %d reloads; epoch %v after %v, segments %d to %d after %d to %d",
			kill.name, restart.Round(time.Millisecond), sum.gap.Round(time.Millisecond), sum.backs, sum.reopened, list.Epoch(), before.Epoch(),
			list.MediaSequence, list.OpenSequence(), before.MediaSequence, before.OpenSequence())
		if sum.gap > restart+target || sum.backs > 0 || sum.reopened > 0 || sum.switches > 0 {
			t.Errorf("%s: that is too much", kill.name)
		}
		if list.Epoch() <= before.Epoch() || list.MediaSequence > before.OpenSequence() {
			t.Errorf("%s: the list did not go on", kill.name)
		}
	}
}

// hls.js in Chromium, in a page of somebody else's, does not notice more of it
// than a stall, if that.
func testKilledOriginInARealPlayer(t *testing.T) {
	e := newKilledEvening(t, netip.AddrFrom4([4]byte{127, 61, 2, 1}))
	view := openLossPage(t, e.url(1)+"/theatre/index.m3u8")
	view.await("hls.js plays", `state === 'playing' && video.currentTime > 5`)
	for _, kill := range kills {
		before := view.look(t)
		restart := e.restart(t, kill.disk)
		back := time.Now()
		view.await("hls.js goes on", fmt.Sprintf(`video.currentTime > %v && !video.paused && video.readyState > 2 && hls.playingDate > %d`, before.Time+0.5, back.UnixMilli()))
		plays := time.Since(back)
		time.Sleep(10 * time.Second)
		after := view.look(t)
		t.Logf("%s: restart %v, new pictures play %v after it, frozen %.1f s, %d steps back, dates by %.0f ms, jumped %.1f s, %d loads, latency %.1f s, errors %v",
			kill.name, restart.Round(time.Millisecond), plays.Round(time.Millisecond), after.Frozen-before.Frozen, after.Back, after.DateBack,
			after.Jumped-before.Jumped, after.Loads, after.Latency, after.Errors)
		if after.Fatal != "" || after.Loads != 1 || after.DateBack > 500 || after.Back > 0 {
			t.Errorf("hls.js: %+v", after)
		}
	}
}

// startOrigin starts the origin as a process.
func (e *evening) startOrigin(t *testing.T) *child {
	t.Helper()
	c, err := startChild("origin", demoPlace{Address: e.first, Config: filepath.Join(e.dir, "origin.yaml"), Viewers: defaultViewerPort}, e.logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.End()
		if t.Failed() {
			text, _ := os.ReadFile(c.Log)
			t.Logf("%s:\n%s", c.Name(), text)
		}
	})
	return c
}

// startCrowdAt lets viewers come to the relays, whose addresses they know.
func (e *evening) startCrowdAt(t *testing.T, n int) *stayers {
	return startStayers(t, n, 2*time.Second, func(i int) *stayer {
		lookup := func() (bases []string) {
			for k := range killedRelays {
				bases = append(bases, e.url(1+(i+k)%killedRelays))
			}
			return bases
		}
		return &stayer{pool: poolName{lookup: lookup}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}}}
	})
}

// newestList is what the nth relay serves.
func (e *evening) newestList(t *testing.T, n int) *relay.Playlist {
	t.Helper()
	w := storyWatcher{client: http.DefaultClient}
	text, err := w.get(t.Context(), e.url(n)+"/theatre/main/live.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	p, err := relay.ParsePlaylist(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
