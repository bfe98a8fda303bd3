package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// inNamespace is set in the process that has a network of its own.
const inNamespace = "SURGECAST_TEST_IN_NAMESPACE"

// runInNamespace runs the test again in a network namespace of its own, where
// port 53 is free; it returns true there. The tests that use it are long and
// need programs beside, so they are for `make prove`.
func runInNamespace(t *testing.T, programs ...string) bool {
	t.Helper()
	if os.Getenv("SURGECAST_PROVE") == "" {
		t.Skip("for make prove")
	}
	if os.Getenv(inNamespace) != "" {
		if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("ip link: %v: %s", err, out)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	for _, program := range append(programs, "ip") {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	again.Env = append(os.Environ(), inNamespace+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := again.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// serveOn53 answers where resolvers ask, in a namespace.
func serveOn53(t *testing.T, members []Member) {
	t.Helper()
	serveDNS(t, members, func(c *DNSConfig) { c.Listen = []string{"127.0.0.53:53"} })
}

// resolver is a caching resolver that asks our name server for each look,
// since its cache holds nothing for longer than 0 s.
type resolver struct {
	name, address, config string
	command               []string // CONFIG stands for its configuration
}

var resolvers = []resolver{
	{
		name: "unbound", address: "127.0.0.10", command: []string{"unbound", "-d", "-c", "CONFIG"},
		config: `server:
  interface: 127.0.0.10
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "DIR"
  pidfile: "DIR/unbound.pid"
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  local-zone: "test." nodefault
stub-zone:
  name: "live.surgecast.test"
  stub-addr: 127.0.0.53
remote-control:
  control-enable: no
`,
	},
	{ // listens only where an interface has the address itself
		name: "BIND", address: "127.0.0.1", command: []string{"named", "-g", "-c", "CONFIG"},
		config: `options {
  directory "DIR";
  pid-file "DIR/named.pid";
  session-keyfile "DIR/session.key";
  listen-on { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion yes;
  max-cache-ttl 0;
  max-ncache-ttl 0;
  dnssec-validation no;
  empty-zones-enable no;
};
controls { };
zone "live.surgecast.test" { type static-stub; server-addresses { 127.0.0.53; }; };
`,
	},
}

// start runs the resolver until the test ends, and waits until it answers.
func (r resolver) start(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(r.config, "DIR", dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	arguments := slices.Clone(r.command)
	arguments[slices.Index(arguments, "CONFIG")] = config
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	process := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.WaitDelay = 5 * time.Second
	var said strings.Builder
	process.Stdout, process.Stderr = &said, &said
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = process.Wait() // ended by us
		if t.Failed() {
			t.Logf("%s said:\n%s", r.name, said.String())
		}
	})
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err := r.look(); err == nil {
			return
		} else if time.Since(began) > 20*time.Second {
			t.Fatalf("%s does not answer: %v", r.name, err)
		}
	}
}

// look asks the resolver for the pool's addresses.
func (r resolver) look() ([]string, error) {
	m := question(testZone, dns.TypeA)
	m.RecursionDesired = true
	answer, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(m, net.JoinHostPort(r.address, "53"))
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			addrs = append(addrs, a.A.String())
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("no address: %v", answer)
	}
	return addrs, nil
}

// Behind real resolvers that keep nothing, each relay's part of the records is
// its part of the capacity, to a tenth of itself.
func TestDNSSharesBehindResolvers(t *testing.T) {
	if !runInNamespace(t, "unbound", "named") {
		return
	}
	members := []Member{sized(node(RoleRelay, StatusServing, "10.0.0.9"), 100e6)}
	for i := range 5 {
		members = append(members, sized(node(RoleRelay, StatusServing, fmt.Sprintf("10.0.0.%d", i+1)), 1e9))
	}
	serveOn53(t, members)
	for _, r := range resolvers {
		t.Run(r.name, func(t *testing.T) {
			r.start(t)
			const looks = 20_000
			named, first := r.count(t, looks)
			records := 0
			for _, n := range named {
				records += n
			}
			for _, m := range members {
				ip := m.PublicAddr().String()
				want := float64(m.State.Capacity) / 5.1e9
				got := float64(named[ip]) / float64(records)
				t.Logf("%s: %.3f %% of the records, first in %.3f %%; its capacity is %.3f %%", ip, 100*got, 100*float64(first[ip])/looks, 100*want)
				if math.Abs(got/want-1) > 0.1 {
					t.Errorf("%s has %.4f of the records, want %.4f", ip, got, want)
				}
			}
			if records != looks*4 {
				t.Errorf("%d records in %d answers", records, looks)
			}
		})
	}
}

// count looks so often, by two at a time: a resolver gives one answer to all
// who ask while it asks.
func (r resolver) count(t *testing.T, looks int) (named, first map[string]int) {
	var mu sync.Mutex
	named, first = make(map[string]int), make(map[string]int)
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for range looks / 2 {
				addrs, err := r.look()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				first[addrs[0]]++
				for _, addr := range addrs {
					named[addr]++
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	t.Logf("%s: %v", r.name, slices.Sorted(maps.Keys(named)))
	return named, first
}

// dnsviz asks all that it knows to ask, in all the ways that servers get wrong.
func TestDNSVizFindsNoError(t *testing.T) {
	if !runInNamespace(t, "dnsviz") {
		return
	}
	// It asks nobody by a family of addresses that has no way out.
	for _, arguments := range []string{"addr add 198.51.100.1/32 dev lo", "route add default dev lo"} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", arguments, err, out)
		}
	}
	serveOn53(t, append(slices.Clone(threeRelays), node(RoleRelay, StatusServing, "2001:db8::7")))
	probed := filepath.Join(t.TempDir(), "probed.json")
	own := RelayName(netip.MustParseAddr("127.0.0.2")) + "." + testZone
	for _, name := range []string{testZone, own, "ns1." + testZone, "nobody." + testZone} {
		probe := exec.CommandContext(t.Context(), "dnsviz", "probe", "-A", "-E",
			"-x", testZone+"+:ns1."+testZone+"=127.0.0.53", "-o", probed, name)
		if out, err := probe.CombinedOutput(); err != nil {
			t.Fatalf("dnsviz probe %s: %v: %s", name, err, out)
		}
		if text, err := os.ReadFile(probed); err != nil || !strings.Contains(string(text), `"127.0.0.53"`) {
			t.Fatalf("dnsviz did not ask for %s: %v\n%s", name, err, text)
		}
		found, err := exec.CommandContext(t.Context(), "dnsviz", "grok", "-l", "warning", "-r", probed).CombinedOutput()
		if err != nil {
			t.Fatalf("dnsviz grok: %v: %s", err, found)
		}
		if text := strings.TrimSpace(string(found)); text != "" {
			t.Errorf("dnsviz finds in %s:\n%s", name, text)
		}
	}
}
