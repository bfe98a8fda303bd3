package origin

import (
	"crypto/ed25519"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"surgecast/relay"
)

const (
	// maxListeners bounds the control channels that are held: one a relay, so
	// far more than a pool has. Beyond it the answer is 503.
	maxListeners = 1024
	// controlWrite is how long a line may take to leave. A relay that does not
	// read is dropped, and comes again.
	controlWrite = 10 * time.Second
)

// catalogue is what the origin says of its streams, signed anew at each change.
type catalogue struct {
	key    ed25519.PrivateKey
	logger *slog.Logger

	mu        sync.Mutex
	state     relay.Catalogue
	line      []byte        // state, signed
	changed   chan struct{} // closed when line is another
	listeners int
}

// newCatalogue lists the streams as not live.
func newCatalogue(config Config, epoch relay.Epoch) (*catalogue, error) {
	c := &catalogue{key: config.AuthorityKey, logger: config.Logger, changed: make(chan struct{})}
	c.state.Epoch = epoch
	for _, s := range config.Streams {
		c.state.Streams = append(c.state.Streams, relay.CatalogueStream{
			Name:       s.Name,
			Renditions: s.rungNames(),
			Constants:  s.Constants,
			Window:     config.Window,
			DVR:        s.DVR,
		})
	}
	return c, c.sign()
}

// sign makes the next line. It needs c.mu.
func (c *catalogue) sign() error {
	c.state.Serial++
	c.state.Issued = time.Now().UTC()
	line, err := c.state.Sign(c.key)
	if err != nil {
		return err
	}
	c.line = line
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// raise says that the epoch is another one; it only grows.
func (c *catalogue) raise(to relay.Epoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Epoch = to
	if err := c.sign(); err != nil {
		c.logger.Error("catalogue not signed", "err", err)
	}
}

// revise says that a stream has a new multivariant playlist. It tells whether
// the stream went live with it.
func (c *catalogue) revise(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.state.Streams, func(s relay.CatalogueStream) bool { return s.Name == name })
	s := &c.state.Streams[i]
	first := !s.Live
	s.Live = true
	s.Revision++
	if err := c.sign(); err != nil {
		c.logger.Error("catalogue not signed", "err", err)
	}
	return first
}

// declare says which renditions a stream has, before it goes live. It is told
// with the revision that makes it so.
func (c *catalogue) declare(name string, renditions []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.state.Streams {
		if c.state.Streams[i].Name == name {
			c.state.Streams[i].Renditions = renditions
		}
	}
}

// remove takes a stream out.
func (c *catalogue) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Streams = slices.DeleteFunc(c.state.Streams, func(s relay.CatalogueStream) bool { return s.Name == name })
	if err := c.sign(); err != nil {
		c.logger.Error("catalogue not signed", "err", err)
	}
}

// current returns the signed line and the channel that is closed at the next.
func (c *catalogue) current() ([]byte, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line, c.changed
}

// enter counts a listener in and tells whether there is room.
func (c *catalogue) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners >= maxListeners {
		return false
	}
	c.listeners++
	return true
}

func (c *catalogue) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners--
}

// Control returns the handler of the control channel: an endless answer with
// the signed catalogue at once and after each change, a line each, and an empty
// line each relay.KeepAlive. It ends when the listener goes away, does not read,
// or Run ends. Whoever calls it has checked the node's credential.
func (o *Origin) Control() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "want GET", http.StatusMethodNotAllowed)
			return
		}
		if !o.catalogue.enter() {
			w.Header().Set("Retry-After", "5")
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "too many control channels", http.StatusServiceUnavailable)
			return
		}
		defer o.catalogue.leave()
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		o.serveControl(w, r)
	})
}

func (o *Origin) serveControl(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	line, changed := o.catalogue.current()
	for {
		// A recorder in a test has no deadline to set; every server has.
		_ = out.SetWriteDeadline(time.Now().Add(controlWrite))
		if _, err := w.Write(line); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		keepAlive := time.NewTimer(relay.KeepAlive)
		select {
		case <-changed:
			line, changed = o.catalogue.current()
		case <-keepAlive.C:
			line = []byte("\n")
		case <-r.Context().Done():
			keepAlive.Stop()
			return
		case <-o.stopped:
			keepAlive.Stop()
			return
		}
		keepAlive.Stop()
	}
}
