package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"surgecast/origin/origintest"
	"surgecast/relay"
	"surgecast/simnet"
)

// story is a whole pool in one process: real nodes, real memberlist, real
// HTTP, over an in-memory network and on the time of a synctest bubble.
type story struct {
	t       *testing.T
	net     *simnet.Network
	dir     string
	secret  []byte
	key     ed25519.PrivateKey
	running sync.WaitGroup

	origin *originNode
	asked  *askCounter
	relays []*storyRelayNode

	tune              func(*OriginConfig)             // may be nil
	every             func(*NodeConfig)               // may be nil
	machine           func(*nodeOptions)              // of the nodes that start from now on; may be nil
	certFile, keyFile string                          // of TLS, if there is
	bare              bool                            // the origin's requests are not counted: its own delivery is under test
	front             func(http.Handler) http.Handler // what the origin is asked goes through it; may be nil
	noDNS             atomic.Bool                     // no name server answers viewers
	originKilled      atomic.Bool                     // the first one then ends with an error
}

// Where the nodes of a story are: the origin at .1, relays from .11, viewers
// from .101.
const storyDelay = 2 * time.Millisecond // one way, between any two hosts

func storyOrigin() string       { return "10.0.0.1" }
func storyRelay(i int) string   { return fmt.Sprintf("10.0.0.%d", 11+i) }
func storyViewer(i int) string  { return fmt.Sprintf("10.0.0.%d", 101+i) }
func storyBase(h string) string { return "http://" + h + ":8080" }

func newStory(t *testing.T) *story {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &story{
		t: t, dir: t.TempDir(), secret: []byte("the pool secret of a story"), key: key,
		net: simnet.New(simnet.Config{Seed: 2012, Delay: storyDelay}),
	}
}

// on returns the environment and the options of a node at an address.
func (s *story) on(address string) nodeOptions {
	host := s.net.Host(address)
	options := nodeOptions{
		Address: netip.MustParseAddr(address),
		Logger:  slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With("host", address),
		Env: environment{
			Listen: func(_ context.Context, _, address string) (net.Listener, error) { return host.Listen(address) },
			Dial:   host.DialContext,
			Transport: func(bind string) (memberlist.Transport, error) {
				return host.Transport(int(netip.MustParseAddrPort(bind).Port())), nil
			},
		},
	}
	if s.machine != nil {
		s.machine(&options)
	}
	return options
}

func (s *story) nodeConfig() NodeConfig {
	c := defaultNodeConfig()
	c.Dir, c.PoolSecret = s.dir, s.secret
	c.Seeds = []HostPort{{netip.MustParseAddrPort(storyOrigin() + ":7946")}}
	c.Drain = Duration(2 * time.Second)
	c.Ports.API = 0 // its figures come from real sockets elsewhere
	c.TLS.CertFile, c.TLS.KeyFile = s.certFile, s.keyFile
	if s.every != nil {
		s.every(&c)
	}
	return c
}

// startOrigin starts the origin; its requests are counted.
func (s *story) startOrigin(ctx context.Context) {
	config := defaultOriginConfig()
	config.NodeConfig = s.nodeConfig()
	config.RTSP.Port, config.RTSP.TLSPort = 0, 0 // a story's feed is written into the origin directly
	config.AuthorityKey = s.key
	config.Streams = []StreamConfig{{
		Name: "theatre", PublishKey: "key",
		TargetDuration: Duration(2 * time.Second), Part: Duration(225 * time.Millisecond),
		OnLoss: "stand", // what comes and what does not is the story's
	}}
	if s.tune != nil {
		s.tune(&config)
	}
	o, err := newOriginNode(ctx, &config, s.on(storyOrigin()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.origin = o
	if s.front != nil {
		o.public = s.front(o.public)
	}
	if !s.bare {
		s.asked = &askCounter{next: o.public, counts: map[string]int{}}
		o.public = s.asked
	}
	s.run(ctx, func(ctx context.Context) error {
		if err := o.Run(ctx); !s.originKilled.Load() {
			return err
		}
		return nil
	})
}

func (s *story) startRelay(ctx context.Context, i int) *storyRelayNode {
	return s.startRelayWith(ctx, i, func(*relayNode) {})
}

// startRelayWith starts the ith relay below the parents, or below the origin,
// after a last change to it.
func (s *story) startRelayWith(ctx context.Context, i int, change func(*relayNode), parents ...BaseURL) *storyRelayNode {
	config := RelayConfig{NodeConfig: s.nodeConfig(), AuthorityPublicKey: PublicKey(s.key.Public().(ed25519.PublicKey)), Parents: parents}
	r, err := newRelayNode(ctx, &config, s.on(storyRelay(i)))
	if err != nil {
		s.t.Fatal(err)
	}
	change(r)
	ctx, stop := context.WithCancel(ctx)
	one := &storyRelayNode{relayNode: r, stop: stop, ended: make(chan struct{})}
	s.relays = append(s.relays, one)
	s.run(ctx, func(ctx context.Context) error {
		defer close(one.ended)
		if err := r.Run(ctx); !one.killed.Load() {
			return err
		}
		return nil
	})
	return one
}

// storyRelayNode is a relay that can be stopped before the others.
type storyRelayNode struct {
	*relayNode
	stop   context.CancelFunc
	killed atomic.Bool // it then ends with an error
	gone   bool        // it was killed or drained
	ended  chan struct{}
}

func (s *story) run(ctx context.Context, run func(context.Context) error) {
	s.running.Go(func() {
		if err := run(ctx); err != nil {
			s.t.Error(err)
		}
	})
}

// publish writes a feed into the origin until ctx ends.
func (s *story) publish(ctx context.Context, source *origintest.Source) {
	p, err := s.origin.origin.Publish("theatre", source.Tracks())
	if err != nil {
		s.t.Fatal(err)
	}
	s.running.Go(func() {
		defer p.Close()
		if err := source.Run(ctx, p.Write); ctx.Err() == nil {
			s.t.Error("feed:", err)
		}
	})
}

// gossipTail is how long memberlist's last probes and streams run out after
// its Shutdown; it does not wait for them.
const gossipTail = 20 * time.Second

// end waits for all that was started, so that the bubble can be left.
func (s *story) end() {
	s.running.Wait()
	time.Sleep(gossipTail)
}

// askCounter counts what a node is asked, by path.
type askCounter struct {
	next http.Handler

	mu     sync.Mutex
	counts map[string]int
}

func (a *askCounter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.counts[r.URL.Path]++
	a.mu.Unlock()
	a.next.ServeHTTP(w, r)
}

func (a *askCounter) snapshot() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.counts)
}

// One origin, relays, viewers who send each request to another relay, a minute
// of stream: of everything each relay asks once.
func TestStoryOfAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		relays, viewers, minute := sized(4, 8), sized(8, 24), sized(time.Minute/2, time.Minute)
		s := newStory(t)
		nodes, stopNodes := context.WithCancel(t.Context())
		feed, stopFeed := context.WithCancel(t.Context())
		s.startOrigin(nodes)
		for i := range relays {
			s.startRelay(nodes, i)
		}
		time.Sleep(5 * time.Second)
		for i, r := range s.relays {
			if err := r.ready(); err != nil {
				t.Errorf("relay %d after 5 s: %v", i, err)
			}
		}

		// 25 frames/s make parts of 0.2 s, five to a segment.
		began := time.Now()
		s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
		time.Sleep(4 * time.Second)
		watching, stopViewers := context.WithDeadline(t.Context(), began.Add(minute))
		var crowd sync.WaitGroup
		all := make([]*storyWatcher, viewers)
		for i := range all {
			all[i] = newStoryWatcher(s, i, func() []string { return storyRelays(relays) })
			crowd.Go(func() { all[i].watch(watching) })
		}
		time.Sleep(time.Until(began.Add(minute)))
		stopViewers()
		crowd.Wait()
		stopFeed()
		time.Sleep(time.Second) // on its way

		s.checkEqual()
		s.checkAsked(relays, viewers, minute)
		for _, w := range all {
			w.check(minute-4*time.Second, storyLate)
			if w.retries > 0 {
				t.Errorf("viewer %d was not answered %d times", w.name, w.retries)
			}
		}
		stopNodes()
		s.end()
	})
}

// checkEqual compares what the relays hold with what the origin holds.
func (s *story) checkEqual() {
	want := s.origin.store.Stream("theatre")
	for i, r := range s.relays {
		st := r.store.Stream("theatre")
		if string(st.Index()) != string(want.Index()) {
			s.t.Errorf("relay %d has another multivariant playlist", i)
		}
		if got, want := st.Window("main").Version(), want.Window("main").Version(); string(got.Text) != string(want.Text) {
			s.t.Errorf("relay %d has another list:\n%s\nwant\n%s", i, got.Text, want.Text)
		}
	}
}

var partPath = regexp.MustCompile(`^/theatre/main/[0-9a-f]{8}/\d+\.\d+\.m4s$`)

// checkAsked holds the origin's requests to the exact number: each object once
// for each relay, each list once for each relay and part, and of the viewers
// only their first request, which is sent on.
func (s *story) checkAsked(relays, viewers int, long time.Duration) {
	t, asked := s.t, s.asked.snapshot()
	lists, parts := asked["/theatre/main/live.m3u8"], 0
	for path, n := range asked {
		switch {
		case path == relay.ControlPath || strings.HasSuffix(path, "/init-0.mp4"):
			if n != relays {
				t.Errorf("%s was asked for %d times, want once for each of %d relays", path, n, relays)
			}
		case partPath.MatchString(path):
			parts++
			if n != relays {
				t.Errorf("%s was asked for %d times, want once for each of %d relays", path, n, relays)
			}
		case path == "/theatre/index.m3u8":
			if n != viewers+relays {
				t.Errorf("the multivariant playlist was asked for %d times, want once by each of %d viewers and %d relays", n, viewers, relays)
			}
		case path == helloPath:
			if n > 2*relays {
				t.Errorf("the time was asked for %d times by %d relays", n, relays)
			}
		case path != "/theatre/main/live.m3u8":
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
	// 5 parts a second; the last is pending or hinted.
	if all := 5 * int(long/time.Second); parts < all-2 || parts > all+1 {
		t.Errorf("%d parts were asked for, want those of %v", parts, long)
	}
	// Five parts make the first list, that of the first closed segment; each
	// later one is a list of its own, and one more is being held.
	if want := relays * (parts - 5 + 1); lists != want {
		t.Errorf("%d lists were asked for, want %d: one a part for each of %d relays", lists, want, relays)
	}
	t.Logf("the origin was asked by %d relays for %d lists and %d parts", relays, lists, relays*parts)
}
