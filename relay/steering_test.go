package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// somePathways are two relays and the pool.
var somePathways = []Pathway{
	{"e-c0000202", "http://192.0.2.2:8080"},
	{"e-20010db8000000000000000000000003", "http://[2001:db8::3]:8080"},
	{"pool", "http://live.example.org:8080"},
}

// steeringStage is what a Steering is told in tests.
type steeringStage struct {
	pathways []Pathway
	draws    int
	server   string
	on       string // of the last manifest asked for
	known    []string
	bits     int64
	here     string // the relay's own pathway

	mu  sync.Mutex
	led []string // whom viewers were led to
}

func (s *steeringStage) ledTo() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.led)
}

// steering gives each pathway the first place in one of three orders.
func (s *steeringStage) steering() *Steering {
	return NewSteering(SteeringConfig{
		Orders: func() (orders [][]Pathway) {
			s.draws++
			for i := range s.pathways {
				orders = append(orders, append(slices.Clone(s.pathways[i:]), s.pathways[:i]...))
			}
			return orders
		},
		Here: func() string { return s.here },
		Led: func(pathway string, bits int64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.led = append(s.led, fmt.Sprint(pathway, " ", bits))
		},
		Priority: func(on string, known []string, bits int64) []Pathway {
			s.on, s.known, s.bits = on, known, bits
			return s.pathways
		},
		Server: s.server,
	})
}

func ladderSample() []byte {
	return MultivariantText([]Variant{
		{Rendition: "main", Bandwidth: 900_000, AverageBandwidth: 700_000, Codecs: []string{"avc1.4d401e", "mp4a.40.2"}, Width: 640, Height: 360, FrameRate: 25},
		{Rendition: "low", Bandwidth: 400_000, Codecs: []string{"avc1.4d401e", "mp4a.40.2"}},
	},
		Sound{Rendition: "audio-0", Name: "AUDIO=", Language: "de", Channels: 2, Default: true},
		Sound{Rendition: "audio-1", Name: "second"})
}

func TestMultivariantOnPathways(t *testing.T) {
	l, err := newLadder(ladderSample(), "theatre")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "pathways.m3u8", l.on(somePathways, "/steering/theatre?_sc_pathways=e-c0000202.pool", ""))
	for _, bad := range []string{"#EXTM3U\n#EXT-X-MEDIA:URI\n", "#EXTM3U\n#EXT-X-STREAM-INF:A=\"\nx\n"} {
		if _, err := newLadder([]byte(bad), "theatre"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSteeringManifest(t *testing.T) {
	stage := &steeringStage{pathways: somePathways}
	h, _ := edge(t, func(c *ServerConfig) { c.Steering = stage.steering() })
	var ttls [mostTTL + 1]int
	for range 1000 {
		var m manifest
		if err := json.Unmarshal(request(h, "GET", "/steering/theatre").Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		ttls[m.TTL]++
	}
	for ttl := leastTTL; ttl <= mostTTL; ttl++ {
		if ttls[ttl] < 100 {
			t.Errorf("a TTL of %d stood in %d of 1000 answers", ttl, ttls[ttl])
		}
	}
	const query = "?_HLS_throughput=5000&_sc_pathways=e-c0000202.pool&_HLS_pathway=%22pool%22&_HLS_new=1"
	w := request(h, "GET", "/steering/theatre"+query)
	if stage.on != "pool" || !slices.Equal(stage.known, []string{"e-c0000202", "pool"}) {
		t.Errorf("the viewer is on %q and knows %q", stage.on, stage.known)
	}
	ttl := regexp.MustCompile(`"TTL":\d+`)
	golden(t, "steering.json", ttl.ReplaceAll(w.Body.Bytes(), []byte(`"TTL":5`)))
	for name, want := range map[string]string{
		"Content-Type": "application/vnd.apple.steering-list", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for path, want := range map[string]int{"/steering/nothing": 404, "/steering/": 404, "/steering/theatre?%zz&_HLS_pathway=../etc": 200} {
		if w := request(h, "GET", path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if stage.on != "" || stage.known != nil {
		t.Errorf("from a bad query it is on %q and knows %q", stage.on, stage.known)
	}
	stage.pathways = nil
	if w := request(h, "GET", "/steering/theatre"); w.Code != 503 {
		t.Errorf("without anybody to name: %d", w.Code)
	}
}

func TestSteeringOnTheZone(t *testing.T) {
	stage := &steeringStage{pathways: somePathways, server: "http://live.example.org:8080"}
	h, _ := edge(t, func(c *ServerConfig) { c.Steering = stage.steering() })
	index := request(h, "GET", "/theatre/index.m3u8").Body.String()
	const uri = `SERVER-URI="http://live.example.org:8080/steering/theatre?_sc_pathways=e-c0000202.e-20010db8000000000000000000000003.pool",PATHWAY-ID="e-c0000202"`
	if !strings.Contains(index, uri) {
		t.Errorf("%s\nlacks %s", index, uri)
	}
	if w := request(h, "GET", "/steering/theatre"); strings.Contains(w.Body.String(), "RELOAD") {
		t.Errorf("the name outlives its relays, and yet: %s", w.Body)
	}
}

// Viewers get the orders in turn, each made once, for a second.
func TestOrdersInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stage := &steeringStage{pathways: somePathways}
		s := stage.steering()
		plain := newRendering(ladderSample())
		var first [3]*rendering
		for i := range first {
			first[i] = s.steered("theatre", plain, "")
			if want := `PATHWAY-ID="` + somePathways[i].ID + `"`; !strings.Contains(strings.SplitN(string(first[i].text), "\n", 4)[2], want) {
				t.Errorf("order %d does not begin with %s:\n%s", i, want, first[i].text)
			}
		}
		if first[0].etag == first[1].etag {
			t.Error("two orders have one tag")
		}
		if n := testing.AllocsPerRun(100, func() { s.steered("theatre", plain, "") }); n > 0 {
			t.Errorf("an order that is there costs %v allocations", n)
		}
		for s.steered("theatre", plain, "") != first[2] {
		}
		if s.steered("theatre", plain, "") != first[0] || stage.draws != 1 {
			t.Errorf("the orders were drawn %d times", stage.draws)
		}

		time.Sleep(ordersAge - time.Millisecond)
		if s.steered("theatre", plain, ""); stage.draws != 1 {
			t.Error("the orders were drawn twice within a second")
		}
		time.Sleep(time.Millisecond)
		if s.steered("theatre", plain, ""); stage.draws != 2 {
			t.Error("the orders are older than a second")
		}
		if other := s.steered("theatre", newRendering(ladderSample()[:100]), ""); len(other.text) >= len(first[0].text) {
			t.Error("another playlist of the stream has the text of the first")
		}
	})
}

func TestPlainPlaylistFor(t *testing.T) {
	stage := &steeringStage{pathways: somePathways}
	h, _ := edge(t, func(c *ServerConfig) { c.Steering = stage.steering() })
	plain := h.(*server).Store.Stream("theatre").Index()
	node := httptest.NewRequest("GET", "/theatre/index.m3u8", nil)
	NewCredential([]byte("secret")).Authorize(node)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, node); !bytes.Equal(w.Body.Bytes(), plain) {
		t.Errorf("another node gets\n%s", w.Body)
	}
	if w := request(h, "GET", "/theatre/index.m3u8"); bytes.Equal(w.Body.Bytes(), plain) {
		t.Error("a viewer of a pool gets no pathways")
	}
	stage = &steeringStage{pathways: somePathways[:1]}
	h, _ = edge(t, func(c *ServerConfig) { c.Steering = stage.steering() })
	if w := request(h, "GET", "/theatre/index.m3u8"); !bytes.Equal(w.Body.Bytes(), plain) {
		t.Errorf("with one pathway a viewer gets\n%s", w.Body)
	}
}

func TestPathwaysKeepTheAccessPrefix(t *testing.T) {
	stage := &steeringStage{pathways: somePathways}
	h, _ := edge(t, func(c *ServerConfig) { c.Steering = stage.steering() })
	w := request(h, "GET", "/~a-viewer/theatre/index.m3u8")
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("caches may keep it: %s", got)
	}
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "http") && !strings.Contains(line, ":8080/~a-viewer/theatre/main/live.m3u8") {
			t.Errorf("the URI %slacks the prefix", line)
		}
	}
	if n := strings.Count(w.Body.String(), "/~a-viewer/"); n != len(somePathways) {
		t.Errorf("the prefix stands %d times in\n%s", n, w.Body)
	}
	if w := request(h, "GET", "/theatre/index.m3u8"); strings.Contains(w.Body.String(), "viewer") {
		t.Errorf("another viewer gets the prefix:\n%s", w.Body)
	}
}

// A lane answers as net/http does, and keeps the connection.
func TestLaneSteers(t *testing.T) {
	change := func(c *ServerConfig) {
		c.Steering = (&steeringStage{pathways: []Pathway{somePathways[0], somePathways[2]}}).steering()
	}
	h, _ := edge(t, change)
	other, _ := edge(t, change)
	ours, theirs := startLane(t, h), startLane(t, wrapped(other))
	ttl := regexp.MustCompile(`"TTL":\d+`)
	length := regexp.MustCompile(`(?m)(OK HTTP/1.1|Content-Length:) \d+`)
	for _, path := range []string{
		"/theatre/index.m3u8", "/theatre/index.m3u8", "/~a/theatre/index.m3u8", "/steering/theatre",
		"/steering/theatre?_HLS_pathway=e-c0000202&_sc_pathways=e-c0000202.pool",
	} {
		var raw strings.Builder
		for range 2 {
			fmt.Fprintf(&raw, "GET %s HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n", path)
		}
		tell := func(addr string) string {
			text := ttl.ReplaceAllString(exchange(t, addr, raw.String(), 2), `"TTL":N`)
			if strings.HasPrefix(path, "/steering") { // a TTL of 10 is longer
				text = length.ReplaceAllString(text, "$1 N")
			}
			return text
		}
		if got, want := tell(ours), tell(theirs); got != want || !strings.Contains(got, "200 OK") {
			t.Errorf("%s: the lane:\n%s\nnet/http:\n%s", path, got, want)
		}
	}
	if n := h.(*server).Load.Snapshot().Total.Requests; n != 10 {
		t.Errorf("10 requests count as %d", n)
	}
}

func FuzzSteeringQuery(f *testing.F) {
	f.Add("_HLS_pathway=e-7f000002&_HLS_throughput=5000000&_sc_pathways=e-7f000002.e-7f000003.pool")
	f.Add("_HLS_pathway=%22..%22&_sc_pathways=.,.&;%")
	f.Fuzz(func(t *testing.T, query string) {
		on, known := steeringQuery(query)
		if on != "" && !validLabel(on) || len(known) > maxPathways {
			t.Fatalf("%q: on %q, knows %q", query, on, known)
		}
		for _, id := range known {
			if !validLabel(id) {
				t.Fatalf("%q: knows %q", query, id)
			}
		}
	})
}

func FuzzLadder(f *testing.F) {
	f.Add(ladderSample())
	f.Add([]byte("#EXTM3U\n#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\"\n#EXT-X-STREAM-INF:CLOSED-CAPTIONS=NONE\nmain/live.m3u8\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := newLadder(text, "theatre")
		if err != nil {
			return
		}
		one, two := l.on(somePathways[:1], "/steering/theatre", ""), l.on(somePathways[:2], "/steering/theatre", "")
		if renditions, err := ParseMultivariant(text); err == nil {
			for _, r := range renditions {
				uri := []byte("/theatre/" + r + "/live.m3u8")
				if n := bytes.Count(one, uri); n == 0 || bytes.Count(two, uri) != 2*n {
					t.Fatalf("%q: %s stands %d times for one pathway, %d for two", text, uri, n, bytes.Count(two, uri))
				}
			}
		}
	})
}
