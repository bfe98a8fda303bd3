package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"surgecast/origin/origintest"
	"surgecast/relay"
)

// stage is a story of three nodes in a row: an origin, a relay, a relay of
// that relay. On each seat sits a viewer who asks one of them over one
// protocol.
type stage struct {
	*story
	seats []*seat
	nodes [3]*node

	source   *origintest.Source
	stopFeed context.CancelFunc
	upstream [2]*askTransport // what the two relays ask of the node above

	mu    sync.Mutex
	times map[mediaPosition]time.Time // when the origin had a part, or a segment (part -1)
}

type mediaPosition struct {
	msn  uint64
	part int
}

const (
	theatre  = "/theatre/main/"
	liveList = theatre + "live.m3u8"

	stageWindow = 12 * time.Second // the least: so that segments leave soon
	stageWarm   = 15 * time.Second // of stream, until the window slides
	// stageHop is how long a piece of news may take from a node to one below or
	// to a viewer: a round trip, and half a one when a hint came too late.
	stageHop = 3 * storyDelay
)

var nodeNames = [3]string{"origin", "relay", "relay of a relay"}

// newStage starts the three nodes and a feed. It must be in a bubble; end ends
// all.
func newStage(t *testing.T, source *origintest.Source, tune func(*OriginConfig)) (st *stage, end func()) {
	st = &stage{story: newStory(t), source: source, times: map[mediaPosition]time.Time{}}
	st.bare, st.tune = true, tune
	st.certFile, st.keyFile = certificateFiles(t)
	nodes, stop := context.WithCancel(t.Context())
	st.startOrigin(nodes)
	st.nodes[0] = st.origin.node
	for i := range st.upstream {
		r := st.startRelayBelow(nodes, i)
		st.nodes[i+1] = r.node
	}
	time.Sleep(5 * time.Second)
	for i, r := range st.relays {
		if err := r.ready(); err != nil {
			t.Fatalf("%s: %v", nodeNames[i+1], err)
		}
	}
	feed, stopFeed := context.WithCancel(t.Context())
	st.stopFeed = stopFeed
	st.publish(feed, source)
	st.running.Go(func() { st.observe(nodes) })
	st.takeSeats()
	return st, func() {
		for _, s := range st.seats {
			s.client.CloseIdleConnections()
		}
		st.stopFeed()
		stop()
		st.end()
	}
}

// freshSource is an encoder that comes after the first.
func (st *stage) freshSource() *origintest.Source {
	return &origintest.Source{FPS: st.source.FPS, GOP: st.source.GOP, Audio: st.source.Audio}
}

// takeSeats puts a viewer before each node for each protocol.
func (st *stage) takeSeats() {
	for i, n := range st.nodes {
		for j, p := range protocols {
			s := p.seat(st.t, i, n.address.String(), st.net.Host(storyViewer(len(st.seats))).DialContext)
			s.protocol = j
			s.credential = n.credential
			st.seats = append(st.seats, s)
		}
	}
}

// observe notes when the origin has what.
func (st *stage) observe(ctx context.Context) {
	var window *relay.Window
	for window == nil {
		if s := st.origin.store.Stream("theatre"); s != nil {
			window = s.Window("main")
		}
		if window == nil {
			time.Sleep(time.Millisecond)
		}
	}
	for {
		changed := window.Changed()
		if v := window.Version(); v != nil {
			st.note(v.Playlist)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (st *stage) note(p *relay.Playlist) {
	st.mu.Lock()
	defer st.mu.Unlock()
	note := func(at mediaPosition) {
		if _, known := st.times[at]; !known {
			st.times[at] = time.Now()
		}
	}
	for i, s := range p.Segments {
		note(mediaPosition{p.MediaSequence + uint64(i), -1})
		for part := range s.Parts {
			note(mediaPosition{p.MediaSequence + uint64(i), part})
		}
	}
	for part := range p.Open.Parts {
		note(mediaPosition{p.OpenSequence(), part})
	}
}

// published returns when the origin had it, or the zero time.
func (st *stage) published(msn uint64, part int) time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.times[mediaPosition{msn, part}]
}

// each lets all viewers act at the same time, and waits for them.
func (st *stage) each(act func(s *seat)) {
	var all sync.WaitGroup
	for _, s := range st.seats {
		all.Go(func() { act(s) })
	}
	all.Wait()
}

// newsAt is how late news may reach this seat's viewer.
func (s *seat) newsAt() time.Duration { return time.Duration(s.node+1) * stageHop }

// seat is where a viewer asks from.
type seat struct {
	t          testing.TB
	name       string
	node       int // 0 is the origin
	protocol   int // of protocols
	base       string
	client     *http.Client
	credential *relay.Credential
	major      int // version of HTTP
}

func (s *seat) secure() bool { return strings.HasPrefix(s.base, "https:") }

func (s *seat) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("%s: %s", s.name, fmt.Sprintf(format, args...))
}

// answer is what came; status 0 means that nothing did.
type answer struct {
	status int
	header http.Header
	body   string
	first  time.Duration // from the request to the first byte
	last   time.Duration // to the last one
	err    error
}

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d after %v", a.status, a.last)
}

// get asks the node for a path; headers are names and values in turn.
func (s *seat) get(path string, headers ...string) answer {
	return s.ask(context.Background(), http.MethodGet, path, headers...)
}

func (s *seat) ask(ctx context.Context, method, path string, headers ...string) (a answer) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, method, s.base+path, nil)
	if err != nil {
		return answer{err: err}
	}
	// An origin sends new sessions on unless a node asks. Below the index it
	// serves viewers the same, by another path: HTTP/2 is asked as a viewer.
	if s.node == 0 && (s.major == 1 || strings.HasSuffix(path, "/index.m3u8")) {
		s.credential.Authorize(request)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	a.status, a.header, a.first = response.StatusCode, response.Header, time.Since(began)
	if response.ProtoMajor != s.major {
		a.err = fmt.Errorf("the answer came by %s", response.Proto)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.err = err
	}
	a.body, a.last = string(body), time.Since(began)
	return a
}

// list gets a media playlist, which must come.
func (s *seat) list(query string) (*listing, answer) {
	a := s.get(liveList + query)
	if a.err != nil || a.status != http.StatusOK {
		s.errorf("the list with %q: %v", query, a)
		return &listing{header: map[string]string{}}, a
	}
	return readListing(a.body), a
}

// askTransport counts what a node asks of others. Its proof to itself goes the
// same way, and is not counted.
type askTransport struct {
	next http.RoundTripper
	own  string // host:port

	mu    sync.Mutex
	lists int // media playlists asked for
}

func (a *askTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/live.m3u8") && r.URL.Host != a.own {
		a.mu.Lock()
		a.lists++
		a.mu.Unlock()
	}
	return a.next.RoundTrip(r)
}

func (a *askTransport) CloseIdleConnections() { a.next.(*http.Transport).CloseIdleConnections() }

func (a *askTransport) listsAsked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lists
}

// startRelayBelow starts the nth relay below the node before it.
func (st *stage) startRelayBelow(ctx context.Context, i int) *storyRelayNode {
	var parents []BaseURL
	if i > 0 {
		parents = append(parents, BaseURL(storyBase(storyRelay(i-1))))
	}
	ask := &askTransport{}
	st.upstream[i] = ask
	return st.startRelayWith(ctx, i, func(r *relayNode) {
		ask.next, ask.own = r.client.Transport, r.viewers.Addr().String()
		r.client.Transport = ask
	}, parents...)
}
