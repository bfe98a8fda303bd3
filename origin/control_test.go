package origin_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
	"surgecast/relay"
)

// channel is a response that is read while it is written.
type channel struct {
	http.ResponseWriter // of the header only
	out                 *io.PipeWriter
	deadline            time.Time
}

func (c *channel) Write(b []byte) (int, error)         { return c.out.Write(b) }
func (c *channel) FlushError() error                   { return nil }
func (c *channel) SetWriteDeadline(at time.Time) error { c.deadline = at; return nil }

// listen opens a control channel; it returns what is read line by line and what
// ends it.
func listen(t *testing.T, s *stage) (*channel, *bufio.Reader, context.CancelFunc, <-chan struct{}) {
	in, out := io.Pipe()
	c := &channel{ResponseWriter: httptest.NewRecorder(), out: out}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, relay.ControlPath, nil)
		s.Control().ServeHTTP(c, r)
		out.Close()
	}()
	t.Cleanup(func() { cancel(); in.Close(); <-done })
	return c, bufio.NewReader(in), cancel, done
}

func catalogue(t *testing.T, in *bufio.Reader) relay.Catalogue {
	t.Helper()
	line, err := in.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := relay.OpenCatalogue(line, authority.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	return c
}

func TestControlChannel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		c, in, _, done := listen(t, s)
		first := catalogue(t, in)
		if first.Epoch != s.Epoch() || len(first.Streams) != 1 || first.Streams[0].Live || first.Streams[0].Renditions[0] != "main" ||
			first.Streams[0].Window != relay.DefaultWindow {
			t.Errorf("at once: %+v", first)
		}
		began := time.Now()
		for range 2 {
			if line, err := in.ReadString('\n'); err != nil || line != "\n" {
				t.Fatalf("%q, %v; want an empty line", line, err)
			}
		}
		if after := time.Since(began); after != 10*time.Second {
			t.Errorf("two empty lines after %v", after)
		}
		if c.deadline.Before(time.Now()) {
			t.Error("no write deadline")
		}

		source := &origintest.Source{GOP: 50, PictureBytes: 1000}
		p := s.publish(source)
		playing, halt := context.WithTimeout(t.Context(), 3*time.Second)
		defer halt()
		played := make(chan struct{})
		go func() {
			defer close(played)
			_ = source.Run(playing, p.Write) // ends with the time-out
		}()
		began = time.Now()
		live := catalogue(t, in)
		// The first segment is closed by the key frame that comes after it.
		if after := time.Since(began); after != 2040*time.Millisecond {
			t.Errorf("live after %v", after)
		}
		if live.Serial <= first.Serial || !live.Streams[0].Live || live.Streams[0].Revision != 1 {
			t.Errorf("live: %+v", live)
		}
		if s.store.Stream("theatre").Index() == nil {
			t.Error("live without a multivariant playlist")
		}
		<-played
		go s.stop()
		for { // what was on its way, then the end
			if _, err := in.ReadString('\n'); err != nil {
				break
			}
		}
		<-done
	})
}

func TestControlChannelEndsWithItsListener(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		_, in, cancel, done := listen(t, s)
		catalogue(t, in)
		cancel()
		<-done
	})
}

func TestControlChannelsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, t.TempDir())
		for range 1024 {
			listen(t, s)
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		s.Control().ServeHTTP(w, httptest.NewRequest(http.MethodGet, relay.ControlPath, nil))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("one too many: %d", w.Code)
		}
		w = httptest.NewRecorder()
		s.Control().ServeHTTP(w, httptest.NewRequest(http.MethodPost, relay.ControlPath, nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", w.Code)
		}
	})
}
