package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The machines of a pool with two name servers.
const (
	poolOrigin, poolServer1, poolServer2 = 1, 2, 3
	poolFirst                            = 4 // of the relays
)

// newServedPool starts an origin with its feed, two name servers and relays, and
// waits until both name servers name all relays. There are further machines.
func newServedPool(t *testing.T, relays, further int) *machines {
	t.Helper()
	last := poolFirst + relays - 1
	m := newMachines(t, last+further)
	m.needNFT()
	dir := newPoolDir(t, poolSettings{
		Origin:     m.address(poolOrigin),
		OriginMore: []setting{{"drain", "0s"}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	file := filepath.Join(dir, "nameserver.yaml")
	replaceIn(t, file, "name_servers: []", fmt.Sprintf("name_servers: [{name: ns1, addresses: [%s]}, {name: ns2, addresses: [%s]}]",
		m.address(poolServer1), m.address(poolServer2)))
	replaceIn(t, file, "  port: 53 ", "  port: 5300 ")
	replaceIn(t, file, "rate_limit: 200 ", "rate_limit: 100000 ")
	m.start(poolOrigin, "origin", dir)
	m.feed(poolOrigin, dir)
	for _, i := range []int{poolServer1, poolServer2} {
		m.start(i, "nameserver", copyDisk(t, dir))
	}
	for i := poolFirst; i <= last; i++ {
		m.start(i, "relay", copyDisk(t, dir))
	}
	for _, server := range []int{poolServer1, poolServer2} {
		conn := m.dial(poolOrigin, m.at(server, 5300))
		for i := poolFirst; i <= last; i++ {
			eventually(t, "all relays are named", func() error { return m.named(conn, i) })
		}
	}
	return m
}

// A relay is cut off from everybody, again and again: how long it stays in the
// answers of either name server, and in what its viewers are told by steering.
func testRelayCutOff(t *testing.T) {
	const relays, viewers, rounds = 4, poolFirst + 4, 4
	m := newServedPool(t, relays, 1)
	servers := []net.Conn{m.dial(viewers, m.at(poolServer1, 5300)), m.dial(viewers, m.at(poolServer2, 5300))}
	crowd := m.newCrowd(viewers, m.at(poolServer1, 5300))
	crowd.join(8)
	for round := range rounds {
		doomed := poolFirst + round%relays
		other := poolFirst + (round+1)%relays
		s := m.newSteered(viewers, other, doomed)
		time.Sleep(time.Second) // each round at another moment of the probes
		var everybody []int
		for i := 1; i <= viewers; i++ {
			if i != doomed {
				everybody = append(everybody, i)
			}
		}
		began := time.Now()
		heal := m.sever([]int{doomed}, everybody)
		cut := time.Now()
		t.Logf("machine %d is cut off within %v", doomed, cut.Sub(began).Round(time.Millisecond))
		// Each of the three is asked beside the others, for as long as any of them
		// could take, and longer: one that comes back was not gone.
		var asking sync.WaitGroup
		var last [3]time.Duration
		watch := func(n int, every time.Duration, names func() (bool, error)) {
			asking.Go(func() {
				for time.Since(cut) < cutWatch {
					named, err := names()
					if err != nil {
						t.Errorf("round %d, asked %d: %v", round, n, err)
						return
					}
					if named {
						last[n] = time.Since(cut)
					}
					time.Sleep(every)
				}
			})
		}
		for n, conn := range servers {
			watch(n, 10*time.Millisecond, func() (bool, error) {
				addresses, err := m.answers(conn)
				if err == nil && len(addresses) == 0 {
					err = fmt.Errorf("an empty answer")
				}
				return slices.Contains(addresses, m.address(doomed).String()), err
			})
		}
		watch(2, 20*time.Millisecond, s.names)
		asking.Wait()
		t.Logf("round %d: a relay that is cut off is last named %v and %v after it by the name servers, %v by steering (TTL %d s)",
			round, last[0].Round(time.Millisecond), last[1].Round(time.Millisecond), last[2].Round(time.Millisecond), s.ttl)
		for n, after := range last[:2] {
			if after > deadBound {
				t.Errorf("name server %d names it for %v, want at most %v", n+1, after, deadBound)
			}
		}
		if most := time.Duration(s.ttl) * time.Second; last[2] > most {
			t.Errorf("steering names it for %v, want at most %v", last[2], most)
		}
		heal()
		back := eventually(t, "it is named again", func() error { return m.named(servers[0], doomed) })
		t.Logf("round %d: named again after %v", round, back.Round(time.Millisecond))
	}
	tally := crowd.end()
	t.Log(tally)
	// A hang costs a request's patience, less what was in the buffer; a viewer
	// that was sent on by steering before notices nothing.
	if tally.joined != 8 || tally.worst > 3*time.Second {
		t.Errorf("%d of 8 joined, a picture stood still for %v", tally.joined, tally.worst)
	}
}

// cutWatch is for how long what is asked must not name a relay again.
const cutWatch = 15 * time.Second

// steeredAt asks a relay over and over what it tells a viewer of another.
type steeredAt struct {
	viewer  *machineViewer
	address string
	doomed  string // its pathway
	ttl     int    // the least that was told
}

func (m *machines) newSteered(at, relay, doomed int) *steeredAt {
	m.t.Helper()
	s := &steeredAt{viewer: m.newViewer(at, m.at(poolServer1, 5300))}
	// The playlist may leave a relay out; the query names all that a viewer knows.
	eventually(m.t, "a playlist names the relay", func() error {
		if err := s.viewer.open(m.t.Context(), m.base(relay)+"/theatre/index.m3u8"); err != nil {
			return err
		}
		for id, base := range s.viewer.pathways {
			if base == m.base(doomed) {
				s.doomed = id
				s.address = m.base(relay) + s.viewer.steering[strings.Index(s.viewer.steering, "/steering/"):] + "&_HLS_pathway=" + id
				return nil
			}
		}
		return fmt.Errorf("it names %v", s.viewer.pathways)
	})
	return s
}

// names tells whether the manifest names the relay.
func (s *steeredAt) names() (bool, error) {
	text, err := s.viewer.get(context.Background(), s.address)
	if err != nil {
		return false, err
	}
	var manifest steeringManifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return false, err
	}
	if s.ttl == 0 || manifest.TTL < s.ttl {
		s.ttl = manifest.TTL
	}
	return slices.Contains(manifest.Priority, s.doomed), nil
}
