package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"surgecast/cluster"
)

// nameservers are an origin without a feed and two name servers in this
// process, with relays that are only gossip.
type nameservers struct {
	dir     string
	first   netip.Addr // the origin's; then the name servers', then the relays'
	secret  []byte
	servers []*nameserverNode
}

func newNameservers(t *testing.T) *nameservers {
	t.Helper()
	s := &nameservers{first: netip.AddrFrom4([4]byte{127, byte(200 + rand.IntN(50)), byte(rand.IntN(250)), 1})}
	if !bindable(t.Context(), s.first) {
		t.Skip("this machine has only one loopback address")
	}
	s.dir = newPoolDir(t, poolSettings{Origin: s.first, OriginMore: []setting{{"drain", "0s"}, {"rtsp.port", "0"}}})
	list := fmt.Sprintf("[{name: ns1, addresses: [%s]}, {name: ns2, addresses: [%s]}]", s.address(1), s.address(2))
	replaceIn(t, filepath.Join(s.dir, "nameserver.yaml"), "name_servers: []", "name_servers: "+list)
	replaceIn(t, filepath.Join(s.dir, "nameserver.yaml"), "  port: 53 ", "  port: 5300 ")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	config, err := loadOriginConfig(filepath.Join(s.dir, "origin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.secret = config.PoolSecret
	origin, err := newOriginNode(t.Context(), config, nodeOptions{Address: s.first, Env: realEnvironment(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "origin", origin.Run)
	for i := range 2 {
		config, err := loadNameserverConfig(filepath.Join(s.dir, "nameserver.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		n, err := newNameserverNode(t.Context(), config, nodeOptions{Address: s.address(1 + i), Env: realEnvironment(), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		s.servers = append(s.servers, n)
		background(t, fmt.Sprintf("name server %d", i+1), n.Run)
	}
	return s
}

func (s *nameservers) address(n int) netip.Addr {
	a := s.first
	for range n {
		a = a.Next()
	}
	return a
}

// startRelay joins the pool as the nth relay, which says that it serves.
func (s *nameservers) startRelay(t *testing.T, n int) (end context.CancelFunc) {
	t.Helper()
	address := s.address(2 + n).String()
	relay, err := cluster.New(cluster.Config{
		Bind: address + ":7946", Secret: s.secret, Seeds: []string{s.first.String() + ":7946"},
		State: cluster.State{Role: cluster.RoleRelay, Status: cluster.StatusServing, Media: address + ":8080"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	background(t, "relay "+address, func(outer context.Context) error {
		defer context.AfterFunc(outer, end)()
		return relay.Run(ctx)
	})
	return end
}

// requireAnswers waits until both name servers name exactly these.
func (s *nameservers) requireAnswers(t *testing.T, what string, want ...netip.Addr) {
	t.Helper()
	for i := range s.servers {
		eventually(t, fmt.Sprintf("name server %d: %s", i+1, what), func() error {
			got, err := askDNS(t.Context(), netip.AddrPortFrom(s.address(1+i), demoDNSPort), demoZone)
			slices.SortFunc(got, netip.Addr.Compare)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("names %v", got)
			}
			return err
		})
	}
}

// Two name servers without media answer from one view, are shown by status as
// any node, and say that they are well.
func TestNameservers(t *testing.T) {
	beside(t)
	s := newNameservers(t)
	s.requireAnswers(t, "the origin, before there is a relay", s.first)
	s.startRelay(t, 1)
	end := s.startRelay(t, 2)
	s.requireAnswers(t, "both relays", s.address(3), s.address(4))
	end()
	s.requireAnswers(t, "the one that is left", s.address(3))

	response, err := http.Get("http://" + s.servers[0].viewers.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Errorf("healthz: %s %s", response.Status, text)
	}
	var table bytes.Buffer
	status := statusCmd{Dir: filepath.Join(s.dir, "state", s.address(1).String())}
	if err := status.Run(t.Context(), &table); err != nil {
		t.Fatal(err)
	}
	// Asked of another node, and of itself.
	for i := range s.servers {
		_, err := (apiFlags{Dir: status.Dir}).order(t.Context(), s.address(1+i).String(), true)
		if err == nil || err.Error() != errNotDrained.Error() {
			t.Errorf("name server %d is to drain: %v", i+1, err)
		}
	}
	for _, want := range []string{"origin", "nameserver  serving  " + s.address(1).String(), "nameserver  serving  " + s.address(2).String()} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("status from a name server lacks %q:\n%s", want, table.String())
		}
	}
}

// What delegation prints is what the name servers answer.
func TestDelegation(t *testing.T) {
	beside(t)
	s := newNameservers(t)
	s.requireAnswers(t, "the origin", s.first)
	var out bytes.Buffer
	c := delegationCmd{Config: filepath.Join(s.dir, "nameserver.yaml")}
	if err := c.Run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("ADDR1", s.address(1).String(), "ADDR2", s.address(2).String()).Replace(
		`In the zone surgecast.test, or the one above that holds it, live.surgecast.test needs these records:

  NAME                      TYPE  VALUE
  live.surgecast.test.      NS    ns1.live.surgecast.test.
  live.surgecast.test.      NS    ns2.live.surgecast.test.
  ns1.live.surgecast.test.  A     ADDR1
  ns2.live.surgecast.test.  A     ADDR2

As lines of a zone file:

live.surgecast.test.	3600	IN	NS	ns1.live.surgecast.test.
live.surgecast.test.	3600	IN	NS	ns2.live.surgecast.test.
ns1.live.surgecast.test.	3600	IN	A	ADDR1
ns2.live.surgecast.test.	3600	IN	A	ADDR2

Resolvers on the Internet do not reach ADDR1, ADDR2:
write public addresses into dns.name_servers.

Many forms want the name without the part that is the zone's. No DS record: the
pool's zone is not signed. Then check it: surgecast delegation --check
`)
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
	relay := delegationCmd{Config: filepath.Join(s.dir, "relay.yaml")}
	if err := relay.Run(t.Context(), &out); err == nil || !strings.Contains(err.Error(), "this is a relay's configuration, and relays answer no DNS") {
		t.Errorf("of a relay's configuration: %v", err)
	}
	// Nobody delegates to a port of a test: the check says so, and that the
	// servers themselves are well.
	out.Reset()
	c.Check = true
	c.Resolver = netip.AddrPortFrom(s.first, 1) // nobody there
	err := c.Run(t.Context(), &out)
	if err == nil || !strings.Contains(err.Error(), "the zone above: ask the resolver") || !strings.Contains(err.Error(), "dns.port is 5300") {
		t.Errorf("the check found: %v", err)
	}
	if !strings.Contains(out.String(), "The name servers answer, and agree with the configuration.") {
		t.Errorf("the check said: %s", out.String())
	}
}

// A node that answers DNS has a processor more for each address where it waits
// for questions, one that does not has as many as before.
func TestRoomForReaders(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	makeRoomFor(nil)
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d processors without DNS, not %d", n, before)
	}
	dns, err := cluster.NewDNS(cluster.DNSConfig{
		Listen: []string{"127.0.0.1:0", "127.0.0.2:0"}, Zone: "live.surgecast.test", View: func() []cluster.Member { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer dns.Run(ctx) // closes the sockets
	makeRoomFor(dns)
	if n := runtime.GOMAXPROCS(0); n != before+2 {
		t.Errorf("%d processors for two readers, not %d", n, before+2)
	}
}
