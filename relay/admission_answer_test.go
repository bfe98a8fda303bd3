package relay

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// twoRungs is an edge whose stream has two rungs, of which it has the lower one.
func twoRungs(t *testing.T, a *Admission, elsewhere string) http.Handler {
	h, _ := edge(t, func(c *ServerConfig) {
		st := c.Store.Stream("theatre")
		st.SetIndex(MultivariantText([]Variant{
			{Rendition: "main", Bandwidth: 900_000, AverageBandwidth: 700_000},
			{Rendition: "high", Bandwidth: 6e6, AverageBandwidth: 5e6},
		}))
		f := newFeed(t, st.CreateWindow("high"))
		f.parts(17*feedParts + 2)
		c.Admission = a
		c.Elsewhere = func() string { return elsewhere }
	})
	return h
}

// door is one way to a server.
type door struct {
	name   string
	base   string
	client *http.Client
}

// doors are all ways to a handler: lanes and net/http, cleartext and TLS,
// HTTP/1.1 and HTTP/2.
func doors(t *testing.T, h http.Handler) []door {
	t.Helper()
	plain, secure := "http://"+startLane(t, h), "https://"+startSecure(t, h)
	behind, secureBehind := "http://"+startLane(t, wrapped(h)), "https://"+startSecure(t, wrapped(h))
	h2 := h2Client(t)
	return []door{
		{"lane, HTTP/1.1", plain, tlsClient(t, false)},
		{"lane, HTTP/2", plain, h2},
		{"lane, HTTP/1.1 by TLS", secure, tlsClient(t, false)},
		{"lane, HTTP/2 by TLS", secure, tlsClient(t, true)},
		{"net/http, HTTP/1.1", behind, tlsClient(t, false)},
		{"net/http, HTTP/2", behind, h2},
		{"net/http, HTTP/2 by TLS", secureBehind, tlsClient(t, true)},
	}
}

// tlsClient takes any certificate, and HTTP/2 if told to.
func tlsClient(t testing.TB, h2 bool) *http.Client {
	client := h1Client(t)
	transport := client.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2, transport.TLSClientConfig = h2, &tls.Config{InsecureSkipVerify: true}
	return client
}

// startSecure is startLane by TLS.
func startSecure(t *testing.T, h http.Handler) string {
	t.Helper()
	pair := httptest.NewTLSServer(nil)
	pair.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Serve(ctx, NewTLSListener(listener, &tls.Config{
			Certificates: pair.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"},
		}), &http.Server{Handler: h})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return listener.Addr().String()
}

func (d door) get(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, d.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 2 {
		r.Header.Set(header[0], header[1])
	}
	response, err := d.client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	response.Body.Close()
	return response
}

// requireRefusal holds a 503 to its form, and returns its Retry-After.
func (d door) requireRefusal(t *testing.T, path string) int {
	t.Helper()
	response := d.get(t, "GET", path)
	h := response.Header
	after, _ := strconv.Atoi(h.Get("Retry-After"))
	if response.StatusCode != 503 || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "*" ||
		!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Retry-After") || after < 2 || after > 5 {
		t.Errorf("%s: %s gets %s %v", d.name, path, response.Status, h)
	}
	return after
}

// A full relay sends new sessions on, once, and refuses those who were sent on;
// who watches, who asks only (HEAD), and nodes notice nothing.
func TestAFullRelay(t *testing.T) {
	a := NewAdmission(NewLoad(), 100e6)
	a.full, a.need = true, 5e6
	h := twoRungs(t, a, "http://192.0.2.7:8080")
	node, _ := http.NewRequest("GET", "/", nil)
	NewCredential([]byte("secret")).Authorize(node)
	for _, d := range doors(t, h) {
		for path, want := range map[string]string{
			"/theatre/index.m3u8":               "http://192.0.2.7:8080/theatre/index.m3u8?_sc_sent=1",
			"/~token/theatre/index.m3u8?CMCD=x": "http://192.0.2.7:8080/~token/theatre/index.m3u8?CMCD=x&_sc_sent=1",
		} {
			response := d.get(t, "GET", path)
			if h := response.Header; response.StatusCode != 307 || h.Get("Location") != want || h.Get("Cache-Control") != "no-store" ||
				h.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %s gets %s %v", d.name, path, response.Status, h)
			}
		}
		d.requireRefusal(t, "/theatre/index.m3u8?_sc_sent=1")
		for _, path := range []string{
			"/theatre/main/live.m3u8", "/theatre/high/live.m3u8", "/theatre/high/0000000a/1016.m4s",
			"/theatre/main/0000000a/1016.3.m4s", "/theatre/main/live.m3u8?_HLS_msn=1017&_HLS_part=1", "/theatre/index.m3u8?_sc_again=1",
		} {
			if response := d.get(t, "GET", path); response.StatusCode != 200 {
				t.Errorf("%s: who watches gets %s for %s", d.name, response.Status, path)
			}
		}
		if response := d.get(t, "HEAD", "/theatre/index.m3u8"); response.StatusCode != 200 {
			t.Errorf("%s: HEAD gets %s", d.name, response.Status)
		}
		if response := d.get(t, "GET", "/theatre/index.m3u8", "Authorization", node.Header.Get("Authorization")); response.StatusCode != 200 {
			t.Errorf("%s: a node gets %s", d.name, response.Status)
		}
		if response := d.get(t, "GET", "/nothing/index.m3u8"); response.StatusCode != 404 {
			t.Errorf("%s: a stream that is not there gets %s", d.name, response.Status)
		}
	}
	if s := a.Look(100e6, Usual); s.SentOn != 2*7 || s.Refused != 7 || s.Shed != 0 {
		t.Errorf("counted: %+v", s)
	}
}

// A session that begins at another relay is none of this one's, and that one is
// told of by name.
func TestSessionsThatAreLedElsewhereCountThere(t *testing.T) {
	for _, leads := range []bool{false, true} {
		a := NewAdmission(NewLoad(), 100e6)
		stage := &steeringStage{pathways: somePathways[:2], here: somePathways[0].ID}
		s := stage.steering()
		s.Orders = func() [][]Pathway {
			if leads {
				return [][]Pathway{{somePathways[1], somePathways[0]}}
			}
			return [][]Pathway{somePathways[:2]}
		}
		h := twoRungs(t, a, "")
		h.(*server).Steering = s
		all := doors(t, h)
		for _, d := range all {
			for _, method := range []string{"GET", "HEAD"} {
				if response := d.get(t, method, "/theatre/index.m3u8"); response.StatusCode != 200 {
					t.Errorf("%s: %s", d.name, response.Status)
				}
			}
		}
		here, elsewhere := float64(len(all)*5e6), 0
		if leads {
			here, elsewhere = 0, len(all)
		}
		if got := a.Expected(); got != here {
			t.Errorf("led elsewhere %v: %v bit/s are expected here, want %v", leads, got, here)
		}
		if led := stage.ledTo(); len(led) != elsewhere || elsewhere > 0 && led[0] != somePathways[1].ID+" 5000000" {
			t.Errorf("led elsewhere %v: told of %v", leads, led)
		}
		a.mu.Lock()
		a.full = true
		a.mu.Unlock()
		if response := all[0].get(t, "GET", "/theatre/index.m3u8"); response.StatusCode != 503 || len(stage.ledTo()) != elsewhere {
			t.Errorf("led elsewhere %v: a full relay says %s", leads, response.Status)
		}
	}
}

// Those who are refused in one moment do not come again in one.
func TestRefusalsAreSpread(t *testing.T) {
	a := NewAdmission(NewLoad(), 100e6)
	a.full = true
	d := door{"lane", "http://" + startLane(t, twoRungs(t, a, "")), tlsClient(t, false)}
	var seen []int
	for range 100 {
		if after := d.requireRefusal(t, "/theatre/index.m3u8"); !slices.Contains(seen, after) {
			seen = append(seen, after)
		}
	}
	if len(seen) != 4 {
		t.Errorf("all are told to come again after %v s", seen)
	}
}

// The door itself counts: sessions in one second, to the line and no further.
func TestALaneLetsInToTheLine(t *testing.T) {
	for i := range 7 {
		a := NewAdmission(NewLoad(), 100e6)
		d := doors(t, twoRungs(t, a, ""))[i]
		in := 0
		for range 30 {
			if d.get(t, "GET", "/theatre/index.m3u8").StatusCode == 200 {
				in++
			}
		}
		if in != 17 { // of 5 Mbit/s in 85
			t.Errorf("%s let %d in", d.name, in)
		}
	}
}

// Beyond 95 % the higher rung's lists and media are refused, the lower one's
// are not, and nodes get everything.
func TestABusyRelay(t *testing.T) {
	a := NewAdmission(NewLoad(), 100e6)
	a.shedding.Store(960)
	h := twoRungs(t, a, "http://192.0.2.7:8080")
	node, _ := http.NewRequest("GET", "/", nil)
	NewCredential([]byte("secret")).Authorize(node)
	for _, d := range doors(t, h) {
		for _, path := range []string{"/theatre/high/live.m3u8", "/theatre/high/live.m3u8?_HLS_msn=1017&_HLS_part=2", "/theatre/high/0000000a/1016.m4s", "/theatre/high/0000000a/1017.2.m4s"} {
			d.requireRefusal(t, path)
			if strings.Contains(path, "1017") {
				continue // still to come: a node is held
			}
			if response := d.get(t, "GET", path, "Authorization", node.Header.Get("Authorization")); response.StatusCode != 200 {
				t.Errorf("%s: a node gets %s for %s", d.name, response.Status, path)
			}
		}
		for _, path := range []string{"/theatre/main/live.m3u8", "/theatre/main/0000000a/1016.m4s"} {
			if response := d.get(t, "GET", path); response.StatusCode != 200 {
				t.Errorf("%s: %s gets %s", d.name, path, response.Status)
			}
		}
	}
	if s := a.Look(100e6, Usual); s.Shed != 4*7 {
		t.Errorf("counted: %+v", s)
	}
}
