package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"surgecast/simnet"
)

// grove is a small tree of nodes on fake time: real servers, followers and
// HTTP over an in-memory network, fed with a part each 0.2 s.
type grove struct {
	t       *testing.T
	net     *simnet.Network
	public  ed25519.PublicKey
	feed    *feed
	origin  *tree
	slots   int64 // the capacity of the relays that start from now on, for each other; 0: they name themselves to nobody
	running sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc

	mu        sync.Mutex
	published map[string]MediaName // the texts of all lists of the origin, and their hints
}

// groveDelay is the way between any two hosts.
const groveDelay = 2 * time.Millisecond

// tree is one node of a grove.
type tree struct {
	host     string
	store    *Store
	server   http.Handler
	follower *Follower // nil at the origin
	fault    atomic.Int32
	halves   atomic.Int32 // bodies to break off in the middle
	lie      atomic.Value // a string: the list that it gives whatever it has
	slow     atomic.Bool  // media come in two halves, slowHalf apart
	released chan struct{}

	mu     sync.Mutex
	counts map[string]int // of requests, by path
	deltas int            // lists that were asked for as a delta
}

// What a node can be made to suffer from.
const (
	healthy   int32 = iota
	hangs           // accepts and never answers
	refuses         // 503
	trickles        // one byte a second
	hypertext       // an HTML page with 200
	mediaHang       // lists come, media never
)

func newGrove(t *testing.T) *grove {
	public, private := keys(t)
	g := &grove{
		t: t, net: simnet.New(simnet.Config{Seed: 1, Delay: groveDelay}), public: public, published: map[string]MediaName{},
	}
	g.ctx, g.stop = context.WithCancel(t.Context())
	line, err := Catalogue{Serial: 1, Epoch: 10, Streams: []CatalogueStream{{
		Name: "theatre", Renditions: []string{"main"}, Constants: DefaultConstants(), Live: true, Revision: 1,
	}}}.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	var origin *tree
	h, f := edge(t, func(c *ServerConfig) {
		origin = g.plant("10.0.0.1", c.Store)
		c.Pool = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				_, _ = w.Write(line)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(KeepAlive):
				case <-r.Context().Done():
					return
				}
			}
		})
	})
	g.feed, g.origin, origin.server = f, origin, h
	g.grow(origin)
	g.published[string(f.window.Version().Text)] = f.list.Hint
	return g
}

func (g *grove) plant(host string, store *Store) *tree {
	return &tree{host: host, store: store, released: make(chan struct{}), counts: map[string]int{}}
}

// relay starts a relay below these.
func (g *grove) relay(host string, parents ...string) *tree {
	n := g.plant(host, NewStore())
	var bases []string
	for _, p := range parents {
		bases = append(bases, "http://"+p+":8080")
	}
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 16, DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return g.net.Host(host).DialContext(ctx, network, address)
		},
	}}
	var self func() string
	var slots *Slots
	if g.slots > 0 {
		self = func() string { return strings.ReplaceAll(host, ".", "-") }
		slots = NewSlots(SlotsConfig{Store: n.store, Self: self, Capacity: g.slots, Follows: func(node string) bool { return n.follower.Follows(node) }})
	}
	n.follower = NewFollower(FollowerConfig{
		Self: self, Store: n.store, Credential: NewCredential([]byte("secret")), Authority: g.public, Client: client, Logger: discard(),
		Origins: func() []string { return []string{"http://10.0.0.1:8080"} },
		Parents: func() []string { return bases },
	})
	n.server = NewServer(ServerConfig{
		Slots: slots, Store: n.store, Credential: NewCredential([]byte("secret")), Load: NewLoad(), Logger: discard(),
	})
	g.grow(n)
	g.running.Go(func() {
		if err := n.follower.Run(g.ctx); !errors.Is(err, context.Canceled) {
			g.t.Error(err)
		}
		client.CloseIdleConnections()
	})
	return n
}

// grow makes a node answer.
func (g *grove) grow(n *tree) {
	listener, err := g.net.Host(n.host).Listen(":8080")
	if err != nil {
		g.t.Fatal(err)
	}
	server := &http.Server{Handler: n}
	g.running.Go(func() { _ = server.Serve(listener) })
	g.running.Go(func() {
		<-g.ctx.Done()
		close(n.released)
		_ = server.Close()
	})
}

// play feeds the origin until the grove ends.
func (g *grove) play() {
	g.running.Go(func() {
		tick := time.NewTicker(feedPart)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				text := g.feed.render()
				g.mu.Lock()
				g.published[string(text)] = g.feed.list.Hint
				g.mu.Unlock()
				if err := g.feed.window.Publish(text); err != nil {
					g.t.Error(err)
				}
			case <-g.ctx.Done():
				return
			}
		}
	})
}

// end ends all, so that the bubble can be left.
func (g *grove) end() {
	g.stop()
	g.running.Wait()
	time.Sleep(time.Second) // what was on its way
}

func (n *tree) window() *Window { return n.store.Stream("theatre").Window("main") }

func (n *tree) asked() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.counts)
}

// ServeHTTP counts, and lets the node suffer.
func (n *tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.counts[r.URL.Path]++
	if strings.HasSuffix(r.URL.RawQuery, "_HLS_skip=YES") {
		n.deltas++
	}
	n.mu.Unlock()
	if r.URL.Path != ControlPath {
		w = &sufferer{ResponseWriter: w, node: n, ctx: r.Context(), media: strings.HasSuffix(r.URL.Path, ".m4s"), list: strings.HasSuffix(r.URL.Path, "live.m3u8")}
	}
	n.server.ServeHTTP(w, r)
}

// slowHalf is what the second half of a slow body takes.
const slowHalf = 100 * time.Millisecond

// sufferer is an answer of a node that may be ill.
type sufferer struct {
	http.ResponseWriter
	node  *tree
	ctx   context.Context
	media bool
	list  bool
	begun bool
	ill   bool // another answer was given
}

func (s *sufferer) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *sufferer) WriteHeader(status int) {
	if s.begun {
		return
	}
	s.begun = true
	if lie, _ := s.node.lie.Load().(string); lie != "" && s.list {
		s.instead(http.StatusOK, "application/vnd.apple.mpegurl", lie)
		return
	}
	switch s.node.fault.Load() {
	case hangs:
		s.pause(time.Hour)
	case mediaHang:
		if s.media {
			s.pause(time.Hour)
		}
	case refuses:
		s.instead(http.StatusServiceUnavailable, "text/plain", "no")
	case hypertext:
		s.instead(http.StatusOK, "text/html", "<html>please log in</html>")
	}
	if !s.ill {
		s.ResponseWriter.WriteHeader(status)
	}
}

func (s *sufferer) instead(status int, kind, body string) {
	s.ill = true
	h := s.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", fmt.Sprint(len(body)))
	h.Del("Etag")
	s.ResponseWriter.WriteHeader(status)
	_, _ = io.WriteString(s.ResponseWriter, body)
}

func (s *sufferer) Write(b []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	if s.ill {
		return len(b), nil
	}
	if s.media && len(b) > 1 && s.node.halves.Add(-1) >= 0 {
		_, _ = s.ResponseWriter.Write(b[:len(b)/2])
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	if s.media && s.node.slow.Load() {
		_, _ = s.ResponseWriter.Write(b[:len(b)/2])
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		s.pause(slowHalf)
		n, err := s.ResponseWriter.Write(b[len(b)/2:])
		return len(b)/2 + n, err
	}
	for i := range b {
		if s.node.fault.Load() != trickles {
			n, err := s.ResponseWriter.Write(b[i:])
			return i + n, err
		}
		if _, err := s.ResponseWriter.Write(b[i : i+1]); err != nil {
			return i, err
		}
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		s.pause(time.Second)
	}
	return len(b), nil
}

// pause waits; it ends the answer when the other side is gone.
func (s *sufferer) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		panic(http.ErrAbortHandler)
	case <-s.node.released:
		panic(http.ErrAbortHandler)
	}
}

// groveViewer plays at the live edge of one node, part by part.
type groveViewer struct {
	g      *grove
	node   *tree
	client *http.Client
	gap    time.Duration // the longest between two parts
	parts  int
}

// watch starts viewers of a node; the function that it returns ends them and
// gives the longest time that one of them was without a new part.
func (g *grove) watch(node *tree, viewers int) (end func() time.Duration) {
	ctx, cancel := context.WithCancel(g.ctx)
	var crowd sync.WaitGroup
	all := make([]*groveViewer, viewers)
	for i := range all {
		host := g.net.Host(fmt.Sprintf("10.0.1.%d", i+1))
		v := &groveViewer{g: g, node: node, client: &http.Client{Transport: &http.Transport{DialContext: host.DialContext}}}
		all[i] = v
		crowd.Go(func() {
			if err := v.play(ctx); ctx.Err() == nil {
				g.t.Errorf("viewer %d: %v", i, err)
			}
			v.client.CloseIdleConnections()
		})
	}
	return func() (longest time.Duration) {
		cancel()
		crowd.Wait()
		for i, v := range all {
			longest = max(longest, v.gap)
			if v.parts == 0 {
				g.t.Errorf("viewer %d saw nothing", i)
			}
		}
		return longest
	}
}

func (v *groveViewer) get(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.node.host+":8080/theatre/main/"+path, nil)
	if err != nil {
		return "", err
	}
	response, err := v.client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return string(body), err
}

func (v *groveViewer) play(ctx context.Context) error {
	query, last := "", time.Time{}
	for {
		text, err := v.get(ctx, "live.m3u8"+query)
		if err != nil {
			return err
		}
		v.g.mu.Lock()
		hint, known := v.g.published[text]
		v.g.mu.Unlock()
		if !known {
			return fmt.Errorf("the origin never published\n%s", text)
		}
		newest := MediaName{Kind: PartMedia, Epoch: 10, Number: hint.Number, Part: hint.Part - 1}
		if newest.Part < 0 {
			newest.Number, newest.Part = hint.Number-1, feedParts-1
		}
		body, err := v.get(ctx, newest.String())
		if err != nil {
			return err
		}
		if body != string(feedBody(newest)) {
			return fmt.Errorf("%v is %.40q", newest, body)
		}
		if now := time.Now(); !last.IsZero() {
			v.gap = max(v.gap, now.Sub(last))
		}
		last = time.Now()
		v.parts++
		query = fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", hint.Number, hint.Part)
	}
}

// feedBody is what the feed makes of a part.
func feedBody(name MediaName) []byte { return []byte(name.String() + ";") }
