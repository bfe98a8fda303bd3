package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"surgecast/relay"
)

// asMain makes the test's binary behave as the command, so that tests can
// start nodes as processes and kill them; a duration makes it a relay whose clock
// is so far ahead. It is set once for all tests: one that sets a variable itself
// can't run beside others.
const asMain = "SURGECAST_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if as := os.Getenv(asMain); as != "" {
		if ahead, err := time.ParseDuration(as); err == nil {
			relayAhead(ahead)
		}
		main()
	}
	if err := os.Setenv(asMain, "1"); err != nil {
		panic(err)
	}
	// What delivers signals is made at the first call, which must not be in a
	// bubble of fake time.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	signal.Stop(hangup)
	os.Exit(m.Run())
}

// beside lets a test run beside others while it waits for real time. In make
// prove it runs alone, since there it is held to promises about time.
func beside(t *testing.T) {
	t.Helper()
	if !proving() {
		t.Parallel()
	}
}

// shortly is beside for a test whose long run is one of TestLongEvenings.
func shortly(t *testing.T) {
	t.Helper()
	if proving() {
		t.Skip("one of TestLongEvenings")
	}
	t.Parallel()
}

// someLoopback is the first of some addresses that nobody else uses.
func someLoopback() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(100 + rand.IntN(100)), byte(rand.IntN(250)), 1})
}

// evening is an origin in this process, and relays as processes, on addresses
// that nobody else uses.
type evening struct {
	dir    string
	origin *originNode
	first  netip.Addr // the origin's; the relays follow
	logs   string
}

// newEvening starts an origin and pushes the clip to it.
func newEvening(t *testing.T, more ...setting) *evening {
	t.Helper()
	e := newQuietEvening(t, more...)
	background(t, "feed", func(ctx context.Context) error { return feed(ctx, e.pushURL(), feedOptions{}) })
	return e
}

// newQuietEvening starts an origin that waits for a feed. The settings are for
// all nodes.
func newQuietEvening(t *testing.T, more ...setting) *evening {
	t.Helper()
	e := &evening{
		first: someLoopback(),
		logs:  t.TempDir(),
	}
	if !bindable(t.Context(), e.first) {
		t.Skip("this machine has only one loopback address")
	}
	e.dir = newPoolDir(t, poolSettings{
		Origin:     e.first,
		OriginMore: append([]setting{{"dns.port", "5300"}, {"drain", "0s"}}, more...),
		RelayMore:  append([]setting{{"drain", "0s"}}, more...),
	})
	config, err := loadOriginConfig(filepath.Join(e.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	e.origin, err = newOriginNode(t.Context(), config, nodeOptions{Address: e.first, Env: realEnvironment(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "origin", e.origin.Run)
	return e
}

// pushURL is where an encoder pushes to, with its key.
func (e *evening) pushURL() string {
	return fmt.Sprintf("rtsp://publish:%s@%s/theatre", e.origin.config.Streams[0].PublishKey, e.origin.at(defaultRTSPPort))
}

// background runs a long task until the test ends, and fails the test with it.
func background(t *testing.T, name string, task func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- task(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s does not end", name)
		}
	})
}

// address is the nth relay's.
func (e *evening) address(n int) netip.Addr {
	a := e.first
	for range n {
		a = a.Next()
	}
	return a
}

func (e *evening) url(n int) string {
	return "http://" + netip.AddrPortFrom(e.address(n), defaultViewerPort).String()
}

// startRelay starts the nth relay as a process, from the file that all share.
func (e *evening) startRelay(t *testing.T, n int) *child {
	t.Helper()
	return e.startRelayFrom(t, n, filepath.Join(e.dir, "relay.yaml"))
}

// startRelayFrom starts the nth relay from a file of its own.
func (e *evening) startRelayFrom(t *testing.T, n int, file string) *child {
	t.Helper()
	c, err := startChild("relay", demoPlace{Address: e.address(n), Config: file, Viewers: defaultViewerPort}, e.logs)
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

// eventually asks again until a thing is so; it is for what happens in other
// processes and gives no event.
func eventually(t *testing.T, what string, ask func() error) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s: not so after 30 s: %v", what, err)
		}
		<-tick.C
	}
}

// get asks as another node does.
func (e *evening) get(t *testing.T, url string) (body []byte, header http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.origin.credential.Authorize(request)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return body, response.Header
}

// named asks the pool's DNS whether it names exactly these relays.
func (e *evening) named(t *testing.T, relays ...int) func() error {
	return func() error {
		got, err := askDNS(t.Context(), netip.AddrPortFrom(e.first, demoDNSPort), demoZone)
		if err != nil {
			return err
		}
		slices.SortFunc(got, netip.Addr.Compare)
		var want []netip.Addr
		for _, n := range relays {
			want = append(want, e.address(n))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("DNS names %v", got)
		}
		return nil
	}
}

// TestEvening is the whole path with real sockets and processes: a feed, an
// origin, relays that are started from one file, and viewers of each.
func TestEvening(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 15 s")
	}
	e := newEvening(t)
	doomed := e.startRelay(t, 1)
	e.startRelay(t, 2)
	eventually(t, "two relays are named", e.named(t, 1, 2))

	t.Run("bytes are equal on all nodes", e.testEqualBytes)
	t.Run("the origin sends viewers to a relay", e.testRedirect)
	t.Run("status knows all nodes", e.testStatus)
	t.Run("metrics tell of the pool", e.testMetrics)

	began := time.Now()
	hung := e.startRelay(t, 3)
	eventually(t, "a clone is named", e.named(t, 1, 2, 3))
	t.Logf("a clone is in the DNS %v after the start of its process", time.Since(began).Round(time.Millisecond))
	e.testNewestPart(t, 3)
	e.startRelay(t, 4)
	eventually(t, "another one is named", e.named(t, 1, 2, 3, 4))
	e.testDeaths(t, doomed, hung)
}

// deadBound is within how long a relay that died must be out of all answers.
const deadBound = 4 * time.Second

// testDeaths kills relay 1 and stops relay 3, of four.
func (e *evening) testDeaths(t *testing.T, doomed, hung *child) {
	within := func(what string, gone time.Duration) {
		t.Logf("%s is out of the DNS after %v", what, gone.Round(time.Millisecond))
		if gone > deadBound {
			t.Errorf("%s is out of the DNS after %v, want at most %v", what, gone, deadBound)
		}
	}
	if err := doomed.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	within("a killed relay", eventually(t, "a killed relay is not named", e.named(t, 2, 3, 4)))

	if err := hung.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := sync.OnceFunc(func() { _ = hung.process.Process.Signal(syscall.SIGCONT) }) // it may be gone
	t.Cleanup(resume)                                                                    // before its own end
	within("a stopped relay", eventually(t, "a stopped relay is not named", e.named(t, 2, 4)))
	resume()
	back := eventually(t, "it is named again", e.named(t, 2, 3, 4))
	t.Logf("a relay that goes on is in the DNS after %v", back.Round(time.Millisecond))
}

// testEqualBytes fetches each object of one playlist version from each node.
func (e *evening) testEqualBytes(t *testing.T) {
	const list = "/theatre/main/live.m3u8"
	e.awaitSegments(t, 3)
	var text []byte
	// Three requests take much less than a part's time, so that they mostly
	// hit one version.
	eventually(t, "the lists are one version", func() error {
		var header http.Header
		text, header = e.get(t, e.url(0)+list)
		for n := 1; n <= 2; n++ {
			other, otherHeader := e.get(t, e.url(n)+list)
			if !bytes.Equal(text, other) || header.Get("ETag") != otherHeader.Get("ETag") {
				return fmt.Errorf("relay %d has another version", n)
			}
		}
		return nil
	})
	playlist, err := relay.ParsePlaylist(text)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[relay.MediaKind]int{}
	for _, name := range mediaOf(playlist) {
		kinds[name.Kind]++
		path := "/theatre/main/" + name.String()
		want, header := e.get(t, e.url(0)+path)
		for n := 1; n <= 2; n++ {
			got, otherHeader := e.get(t, e.url(n)+path)
			if !bytes.Equal(got, want) || len(got) == 0 || header.Get("ETag") != otherHeader.Get("ETag") {
				t.Errorf("%s: %d bytes on the origin, %d on relay %d", path, len(want), len(got), n)
			}
		}
	}
	if kinds[relay.Init] == 0 || kinds[relay.SegmentMedia] < 3 || kinds[relay.PartMedia] == 0 {
		t.Errorf("compared too little: %v", kinds)
	}
	index, _ := e.get(t, e.url(0)+"/theatre/index.m3u8")
	for n := 1; n <= 2; n++ {
		if other, _ := e.get(t, e.url(n)+"/theatre/index.m3u8"); !bytes.Equal(index, other) {
			t.Errorf("relay %d has another multivariant playlist", n)
		}
	}
}

// awaitSegments waits until the origin's window holds that many closed segments.
func (e *evening) awaitSegments(t *testing.T, least int) {
	t.Helper()
	window := e.origin.store.Stream("theatre").Window("main")
	for {
		changed := window.Changed()
		if v := window.Version(); v != nil && len(v.Playlist.Segments) >= least {
			return
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatal("the origin's window does not grow")
		}
	}
}

// mediaOf lists all that a playlist names and that is whole.
func mediaOf(p *relay.Playlist) []relay.MediaName {
	var names []relay.MediaName
	for _, s := range append(slices.Clone(p.Segments), p.Open) {
		for _, name := range []relay.MediaName{s.Map, s.Name} {
			if name.Kind != 0 && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		for _, part := range s.Parts {
			names = append(names, part.Name)
		}
	}
	if p.Open.Name.Kind != 0 { // it grows: only its parts are whole
		names = slices.DeleteFunc(names, func(n relay.MediaName) bool { return n == p.Open.Name })
	}
	return names
}

// testRedirect asks the origin as a viewer does.
func (e *evening) testRedirect(t *testing.T) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(e.url(0) + "/theatre/index.m3u8?a=b")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	location := response.Header.Get("Location")
	if response.StatusCode != http.StatusTemporaryRedirect ||
		!strings.HasPrefix(location, e.url(1)+"/theatre/index.m3u8?a=b") && !strings.HasPrefix(location, e.url(2)+"/theatre/index.m3u8?a=b") {
		t.Fatalf("the origin answers %s to %q", response.Status, location)
	}
	if body, _ := e.get(t, location); !bytes.Contains(body, []byte("main/live.m3u8")) {
		t.Errorf("the relay answers %s", body)
	}
}

func (e *evening) testStatus(t *testing.T) {
	var out bytes.Buffer
	if err := (&statusCmd{apiFlags: apiFlags{Dir: e.dir}}).Run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if !strings.Contains(out.String(), e.address(n).String()+":8080") {
			t.Errorf("node %d is missing:\n%s", n, out.String())
		}
	}
	if strings.Contains(out.String(), "no answer") {
		t.Errorf("a node does not answer:\n%s", out.String())
	}
}

// testMetrics reads what a graph would be drawn from.
func (e *evening) testMetrics(t *testing.T) {
	answer := httptest.NewRecorder()
	e.origin.metrics().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`surgecast_members{role="relay",state="serving"} 2`,
		`surgecast_members{role="relay",state="draining"} 0`,
		`surgecast_isolated 0`,
		`surgecast_probed_relays{opinion="up"} 2`,
		`surgecast_probes_total{result="timeout"} 0`,
		`surgecast_withdrawn_relays 0`,
		`surgecast_doubt 0`,
		`surgecast_info{role="origin",version="` + version() + `"} 1`,
		`surgecast_lag_seconds 0.`,
		`surgecast_viewers 0`,
	} {
		if !strings.Contains(answer.Body.String(), "\n"+want) {
			t.Errorf("no %s in:\n%s", want, answer.Body.String())
		}
	}
}

// testNewestPart asks a relay for the part that comes next.
func (e *evening) testNewestPart(t *testing.T, n int) {
	t.Helper()
	text, _ := e.get(t, e.url(n)+"/theatre/main/live.m3u8")
	playlist, err := relay.ParsePlaylist(text)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := e.get(t, e.url(n)+"/theatre/main/"+playlist.Hint.String()); len(body) == 0 {
		t.Error("the newest part is empty")
	}
}
