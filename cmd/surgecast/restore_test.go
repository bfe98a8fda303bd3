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

// The origin is killed under fifty viewers and started again at once, and once
// more with an empty disk, all as processes: viewers play on within the time
// of the restart and one target duration, nothing goes back, and nobody begins anew.
func TestKilledOrigin(t *testing.T) {
	if !proving() {
		t.Skip("takes a minute: make prove runs it")
	}
	e := &evening{first: netip.AddrFrom4([4]byte{127, 61, 1, 1}), logs: t.TempDir()}
	e.dir = newPoolDir(t, poolSettings{
		Origin:     e.first,
		OriginMore: []setting{{"drain", "0s"}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	config, err := loadOriginConfig(filepath.Join(e.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o := e.startOrigin(t)
	push := fmt.Sprintf("rtsp://publish:%s@%v/theatre", config.Streams[0].PublishKey, netip.AddrPortFrom(e.first, defaultRTSPPort))
	background(t, "feed", func(ctx context.Context) error { return feed(ctx, push, feedOptions{}) })
	for n := 1; n <= killedRelays; n++ {
		e.startRelay(t, n)
	}
	for n := 1; n <= killedRelays; n++ {
		eventually(t, "a relay is ready", func() error { return getOK(t.Context(), e.url(n)+"/readyz") })
	}
	time.Sleep(10 * time.Second) // so that there is a window to be lost

	for _, c := range []struct {
		name string
		keep func() error
	}{
		{"at once", func() error { return nil }},
		{"empty disk", func() error { return os.RemoveAll(filepath.Join(e.dir, "state", e.first.String())) }},
	} {
		before := e.newestList(t, 1)
		crowd := e.startCrowdAt(t, killedViewers)
		time.Sleep(8 * time.Second)
		killed := time.Now()
		if err := o.process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-o.ended
		if err := c.keep(); err != nil {
			t.Fatal(err)
		}
		o = e.startOrigin(t)
		eventually(t, "the origin is back", func() error { return getOK(t.Context(), e.url(0)+"/readyz") })
		restart := time.Since(killed)
		time.Sleep(15 * time.Second)
		list := e.newestList(t, 1)
		ended := time.Now()
		crowd.stop()
		crowd.wait.Wait()
		sum := checkStayers(t, crowd.all, ended.Add(-restart-config.Streams[0].constants().TargetDuration))
		t.Logf("%s: restart %v, at most %v between two parts, %d steps back, %d reloads; epoch %v after %v, segments %d to %d after %d to %d",
			c.name, restart.Round(time.Millisecond), sum.gap.Round(time.Millisecond), sum.backs, sum.reopened, list.Epoch(), before.Epoch(),
			list.MediaSequence, list.OpenSequence(), before.MediaSequence, before.OpenSequence())
		if sum.gap > restart+config.Streams[0].constants().TargetDuration || sum.backs > 0 || sum.reopened > 0 || sum.switches > 0 {
			t.Errorf("%s: that is too much", c.name)
		}
		if list.Epoch() <= before.Epoch() || list.MediaSequence > before.OpenSequence() {
			t.Errorf("%s: the list did not go on", c.name)
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
