package main

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
	"surgecast/relay"
	"surgecast/relay/hlscheck"
)

// originLife is one start of an origin with a real timeline and a DVR.
type originLife struct {
	t       *testing.T
	store   *relay.Store
	origin  *origin.Origin
	running sync.WaitGroup
	ends    []context.CancelFunc
}

func startOriginLife(t *testing.T, dir string, key ed25519.PrivateKey) *originLife {
	t.Helper()
	l := &originLife{t: t, store: relay.NewStore()}
	var err error
	l.origin, err = origin.New(origin.Config{
		Dir: dir, AuthorityKey: key, Store: l.store,
		Streams: []origin.StreamConfig{{Name: "theatre", PublishKey: "key", DVR: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	dvr, err := relay.OpenDVR(relay.DVRConfig{Dir: dir + "/" + dvrFolder, Bytes: 1e9, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l.run(func(ctx context.Context) {
		if err := dvr.Run(ctx, l.store.Stream("theatre"), time.Hour, nil); ctx.Err() == nil {
			t.Error(err)
		}
	})
	l.run(func(ctx context.Context) { _ = l.origin.Run(ctx) })
	synctest.Wait()
	return l
}

func (l *originLife) run(task func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(l.t.Context())
	l.ends = append(l.ends, cancel)
	l.running.Go(func() { task(ctx) })
}

// end ends what runs, the last first, and waits for it.
func (l *originLife) end() {
	for i := len(l.ends) - 1; i >= 0; i-- {
		l.ends[i]()
		synctest.Wait()
	}
	l.running.Wait()
}

// publish feeds segments of 2 s for that long.
func (l *originLife) publish(length time.Duration) {
	l.t.Helper()
	s := &origintest.Source{FPS: 25, GOP: 50, Audio: true}
	p, err := l.origin.Publish("theatre", s.Tracks())
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), length)
	defer cancel()
	_ = s.Run(ctx, p.Write)
	p.Close()
	synctest.Wait()
}

func (l *originLife) list() string {
	w := httptest.NewRecorder()
	relay.NewServer(relay.ServerConfig{Store: l.store, Load: relay.NewLoad(), Logger: slog.New(slog.DiscardHandler)}).
		ServeHTTP(w, httptest.NewRequest("GET", "/theatre/main/dvr.m3u8", nil))
	if w.Code != 200 {
		l.t.Fatalf("the long list: %d", w.Code)
	}
	return w.Body.String()
}

// The long list goes on over restarts of an origin and reconnects of its
// encoder; every number keeps its meaning, whatever the clock has done to the
// media sequence.
func TestTheLongListGoesOnOverRestarts(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		dir, previous := t.TempDir(), ""
		for life := range 3 {
			l := startOriginLife(t, dir, key)
			if life > 0 && l.list() != previous {
				t.Errorf("start %d begins with another list than the one before ended with", life)
			}
			for range 2 {
				l.publish(21 * time.Second)
				list := l.list()
				for _, broken := range hlscheck.Check(previous, list) {
					if !strings.Contains(broken, "SERVER-CONTROL") && !strings.HasPrefix(broken, "CAN-") && !strings.HasPrefix(broken, "HOLD-BACK") {
						t.Errorf("start %d: %s\n%s", life, broken, list)
					}
				}
				previous = list
				time.Sleep(5 * time.Second)
			}
			previous = l.list() // with the gaps that came since
			l.end()
			time.Sleep(30 * time.Second)
		}
		// A break for each publisher but the first, all in one list.
		if n := strings.Count(previous, "#EXT-X-DISCONTINUITY\n"); n != 5 {
			t.Errorf("%d discontinuities, want 5", n)
		}
		if n := strings.Count(previous, "#EXT-X-MAP:"); n < 3 || !strings.Contains(previous, "#EXT-X-GAP") {
			t.Errorf("%d init segments in\n%s", n, previous)
		}
	})
}
