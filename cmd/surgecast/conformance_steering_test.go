package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

const steeringZone = "live.surgecast.test"

// What a pool tells its viewers of its relays, by addresses and by names, over
// each protocol, with the sound apart.
func checkSteering(t *testing.T, _ []*recording) {
	lists := map[string]string{} // multivariant playlists by what they are
	for _, by := range []SteerBy{SteerAddresses, SteerNames} {
		synctest.Test(t, func(t *testing.T) {
			s := newStory(t)
			s.certFile, s.keyFile = certificateFiles(t, steeringZone, "*."+steeringZone)
			s.every = func(c *NodeConfig) { c.Zone, c.Steering = steeringZone, by }
			s.tune = func(c *OriginConfig) { c.Streams[0].Audio = AudioMode(origin.AudioSeparate) }
			nodes, stop := context.WithCancel(t.Context())
			s.startOrigin(nodes)
			for i := range 3 {
				s.startRelay(nodes, i)
			}
			feed, stopFeed := context.WithCancel(t.Context())
			s.publish(feed, &origintest.Source{FPS: 25, GOP: 25, Audio: true})
			time.Sleep(12 * time.Second)
			for _, p := range protocols {
				seat := p.seat(t, 1, storyRelay(0), s.dialNames(storyViewer(0)))
				seat.checkSteering(by, lists)
				seat.client.CloseIdleConnections()
			}
			stopFeed()
			stop()
			s.end()
		})
	}
	for _, complaint := range strict(t, lists) {
		t.Error(complaint)
	}
}

// dialNames dials as one who has asked the pool's DNS.
func (s *story) dialNames(from string) dialer {
	host := s.net.Host(from)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		switch label, ours := strings.CutSuffix(name, "."+steeringZone); {
		case name == steeringZone:
			name = storyRelay(1)
		case ours:
			digits, err := hex.DecodeString(strings.TrimPrefix(label, "e-"))
			if err != nil {
				return nil, err
			}
			addr, _ := netip.AddrFromSlice(digits)
			name = addr.String()
		}
		return host.DialContext(ctx, network, net.JoinHostPort(name, port))
	}
}

func (s *seat) checkSteering(by SteerBy, lists map[string]string) {
	for i := range steeringOrders {
		a := s.get("/theatre/index.m3u8")
		if a.err != nil || a.status != http.StatusOK {
			s.errorf("%v", a)
			return
		}
		lists[fmt.Sprintf("%s, %s, order %d", by, s.name, i)] = a.body
		m := readMultivariant(a.body)
		// The certificate stands for names alone.
		if by == SteerAddresses && s.secure() {
			if m.steering != nil || len(m.pathways()) > 0 {
				s.errorf("an insecure way out of a secure page:\n%s", a.body)
			}
			continue
		}
		s.checkPathways(by, m)
		s.checkManifest(m)
	}
}

// checkPathways holds a multivariant playlist to list each rung and each
// rendition once for each pathway, at a URI that serves it.
func (s *seat) checkPathways(by SteerBy, m *multivariant) {
	pathways := m.pathways()
	want := 3
	if by == SteerNames {
		want = 4
		if last := pathways[len(pathways)-1]; last != poolPathway {
			s.errorf("the last pathway is %s", last)
		}
	}
	if len(m.problems) > 0 || len(pathways) != want || m.steering["PATHWAY-ID"] != pathways[0] || pathways[0] != "e-0a00000b" {
		s.errorf("%s: pathways %v, steering %v, problems %v", by, pathways, m.steering, m.problems)
	}
	if len(m.variants) != want || len(m.media) != want {
		s.errorf("%d variants and %d renditions for %d pathways", len(m.variants), len(m.media), want)
	}
	scheme, _, _ := strings.Cut(s.base, "://")
	for i, v := range m.variants {
		sound := m.media[i]
		if v.attributes["STABLE-VARIANT-ID"] != "main" || sound["STABLE-RENDITION-ID"] != "audio-0" || v.attributes["AUDIO"] != sound["GROUP-ID"] {
			s.errorf("variant %v with %v", v, sound)
		}
		for _, uri := range []string{v.uri, sound["URI"]} {
			u, err := url.Parse(uri)
			if err != nil || u.Scheme != scheme || by == SteerNames && !strings.HasSuffix(u.Hostname(), steeringZone) {
				s.errorf("the URI %s for a viewer of %s: %v", uri, s.base, err)
				continue
			}
			there := *s
			there.base = u.Scheme + "://" + u.Host
			if a := there.get(u.Path); a.status != http.StatusOK {
				s.errorf("%s: %v", uri, a)
			}
		}
	}
}

// checkManifest holds the steering manifest to the rules of section 7.2 of the
// protocol, and of what players give up on.
func (s *seat) checkManifest(m *multivariant) {
	at, err := url.Parse(s.base)
	if err == nil {
		at, err = at.Parse(m.steering["SERVER-URI"])
	}
	if err != nil {
		s.errorf("%v", err)
		return
	}
	there := *s
	there.base = at.Scheme + "://" + at.Host
	plain := ""
	for _, more := range []string{"", "&_HLS_pathway=e-0a00000b&_HLS_throughput=5000000", "&_HLS_pathway=%22e-0a00000b%22&_HLS_new=1"} {
		a := there.get(at.RequestURI() + more)
		s.wantHeader("a manifest", a, http.StatusOK,
			"Content-Type", "application/vnd.apple.steering-list", "Cache-Control", "no-store", "Access-Control-Allow-Origin", "*")
		var got steeringManifest
		decoder := json.NewDecoder(strings.NewReader(a.body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			s.errorf("%s: %v", a.body, err)
			return
		}
		ids := slices.Clone(got.Priority)
		slices.Sort(ids)
		known := m.pathways()
		slices.Sort(known)
		if got.Version != 1 || got.TTL < 5 || got.TTL > 10 || !slices.Equal(ids, known) || got.Priority[0] != "e-0a00000b" {
			s.errorf("a manifest for %v: %s", known, a.body)
		}
		if strings.Contains(a.body, "_HLS_") {
			s.errorf("a directive is echoed: %s", a.body)
		}
		if plain == "" {
			plain = got.Reload
		}
		if got.Reload != plain {
			s.errorf("RELOAD-URI is %s, and %s with directives", plain, got.Reload)
		}
	}
}
