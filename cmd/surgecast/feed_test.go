package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/relay"
)

const feedKey = "0123456789abcdef01234567"

// testOrigin runs an origin with RTSP and the stream theatre until the test or
// stop ends it.
func testOrigin(t *testing.T, listen string) (store *relay.Store, address string, stop func()) {
	t.Helper()
	_, authority, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	store = relay.NewStore()
	o, err := origin.New(origin.Config{
		Dir:          t.TempDir(),
		AuthorityKey: authority,
		Streams:      []origin.StreamConfig{{Name: "theatre", PublishKey: feedKey}},
		Store:        store,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := origin.NewRTSP(origin.RTSPConfig{Listen: listen, UDPRTP: "127.0.0.1:0", Gate: origin.NewGate(origin.GateConfig{Origin: o})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = o.Run(ctx) })
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return store, r.Addr().String(), stop
}

func feedURL(key, address string) string { return "rtsp://publish:" + key + "@" + address + "/theatre" }

// awaitParts waits until the stream has n more parts and returns its list.
func awaitParts(t *testing.T, store *relay.Store, n int) *relay.Playlist {
	t.Helper()
	window := store.Stream("theatre").Window("main")
	for deadline := time.After(20 * time.Second); ; {
		changed := window.Changed()
		if v := window.Version(); v != nil && countParts(v.Playlist) >= n {
			return v.Playlist
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("the feed did not become a stream")
		}
	}
}

func countParts(p *relay.Playlist) int {
	n := len(p.Open.Parts)
	for _, s := range p.Segments {
		n += len(s.Parts)
	}
	return n
}

func startFeed(t *testing.T, url string, options feedOptions) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- feed(ctx, url, options) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestFeedBecomesStream(t *testing.T) {
	for name, udp := range map[string]bool{"tcp": false, "udp": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, address, _ := testOrigin(t, "127.0.0.1:0")
			stop := startFeed(t, feedURL(feedKey, address), feedOptions{UDP: udp})
			list := awaitParts(t, store, 12)
			if err := stop(); err != nil {
				t.Error(err)
			}
			for i, s := range list.Segments {
				if s.Discontinuity && i > 0 || s.Duration < 900*time.Millisecond || s.Duration > 1100*time.Millisecond {
					t.Errorf("segment %d: %v, discontinuity %v", i, s.Duration, s.Discontinuity)
				}
				if off := time.Since(s.ProgramDateTime); off < 0 || off > 10*time.Second {
					t.Errorf("segment %d is dated %v ago", i, off)
				}
			}
		})
	}
}

func TestFeedComesBack(t *testing.T) {
	t.Parallel()
	store, address, stopOrigin := testOrigin(t, "127.0.0.1:0")
	log := newFeedLog()
	stop := startFeed(t, feedURL(feedKey, address), feedOptions{Logger: log.logger()})
	awaitParts(t, store, 2)
	stopOrigin()
	store, _, _ = testOrigin(t, address)
	awaitParts(t, store, 2)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), feedKey) {
		t.Error("the key is in the log")
	}
}

// A feed that another encoder has replaced must not throw that one out again.
func TestFeedYields(t *testing.T) {
	t.Parallel()
	store, address, _ := testOrigin(t, "127.0.0.1:0")
	log := newFeedLog()
	startFeed(t, feedURL(feedKey, address), feedOptions{Logger: log.logger()})
	awaitParts(t, store, 2)
	winner := newFeedLog()
	stopWinner := startFeed(t, feedURL(feedKey, address), feedOptions{Logger: winner.logger()})
	log.await(t, "another encoder has the stream", 1)
	if err := stopWinner(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(winner.String(), "msg=pushing"); n != 1 {
		t.Errorf("the other one had to connect %d times", n)
	}
	log.await(t, "msg=pushing", 2)
}

func TestFeedRefused(t *testing.T) {
	t.Parallel()
	_, address, _ := testOrigin(t, "127.0.0.1:0")
	for name, url := range map[string]string{
		"wrong key":      feedURL("not-the-key", address),
		"no key":         "rtsp://" + address + "/theatre",
		"unknown stream": "rtsp://publish:" + feedKey + "@" + address + "/kitchen",
	} {
		err := feed(t.Context(), url, feedOptions{})
		if err == nil || !strings.Contains(err.Error(), "publish key is wrong") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"", "http://127.0.0.1/theatre", "rtsp://publish:se%cret@127.0.0.1/theatre", "rtsp://127.0.0.1"} {
		err := feed(t.Context(), url, feedOptions{})
		if err == nil || !strings.Contains(err.Error(), "must look like") || strings.Contains(err.Error(), "cret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// Nobody listens, or nobody answers: --for ends it all the same.
func TestFeedForEnds(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, address := range []string{silent.Addr().String(), "127.0.0.1:1"} {
		command := FeedCmd{URL: feedURL(feedKey, address), For: 300 * time.Millisecond}
		var out bytes.Buffer
		began := time.Now()
		if err := command.Run(t.Context(), &out); err == nil || !strings.Contains(err.Error(), "never reached") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("ended after %v", took)
		}
		if strings.Contains(out.String(), feedKey) || !strings.Contains(out.String(), "/theatre") {
			t.Errorf("says %q", &out)
		}
	}
}

// Rounds join without a seam, and both tracks stay together.
func TestClipIsSeamless(t *testing.T) {
	t.Parallel()
	c, err := loadClip()
	if err != nil {
		t.Fatal(err)
	}
	if c.duration != 16*time.Second || len(c.samples) != 400+750 {
		t.Fatalf("%v, %d samples", c.duration, len(c.samples))
	}
	s, err := newClipSender(c)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ step, samples int64 }{{3600, 400}, {1024, 750}} {
		track := &s.tracks[i]
		if total := track.ticks(c.duration); total != want.step*want.samples {
			t.Errorf("track %d has %d ticks a round", i, total)
		}
		var next int64
		for _, sample := range c.samples {
			if sample.track != i {
				continue
			}
			if at := track.ticks(sample.at); at != next {
				t.Fatalf("track %d: %d instead of %d", i, at, next)
			}
			next += want.step
		}
	}
	for i, sample := range c.samples {
		if i > 0 && sample.at < c.samples[i-1].at {
			t.Fatal("samples are not in the order of sending")
		}
	}
}

// feedLog is a log that can be waited on.
type feedLog struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func newFeedLog() *feedLog { return &feedLog{grown: make(chan struct{}, 1)} }

func (l *feedLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *feedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.grown <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *feedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until text is there n times.
func (l *feedLog) await(t *testing.T, text string, n int) {
	t.Helper()
	for deadline := time.After(20 * time.Second); strings.Count(l.String(), text) < n; {
		select {
		case <-l.grown:
		case <-deadline:
			t.Fatalf("no %q in the log:\n%s", text, l)
		}
	}
}
