package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// machines are network namespaces on one bridge, each with a MAC and an address
// of its own: 10.77.0.N. The bridge is in a namespace of its own, number 0.
type machines struct {
	t       *testing.T
	prefix  string
	logs    string
	running []*machineProcess
	folders map[int]string // of the nodes, by machine
}

// machineProcess is the command, running on a machine.
type machineProcess struct {
	machine int
	command *exec.Cmd
	leash   func() error // ends a node; what is none gets a signal
	log     *os.File
}

// stages counts those of this process, for tests run beside each other.
var stages atomic.Int64

// newMachines makes n of them, or skips the test where it may not.
func newMachines(t *testing.T, n int) *machines {
	t.Helper()
	m := &machines{t: t, prefix: fmt.Sprintf("sc%d-%d-", os.Getpid(), stages.Add(1)), logs: t.TempDir(), folders: map[int]string{}}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", m.name(0)).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made: %v %s", err, out)
	}
	m.deleteAtEnd(0)
	m.ip("-n", m.name(0), "link", "add", "bridge", "type", "bridge")
	m.ip("-n", m.name(0), "link", "set", "bridge", "up")
	for i := 1; i <= n; i++ {
		name := m.name(i)
		m.ip("netns", "add", name)
		m.deleteAtEnd(i)
		m.ip("-n", m.name(0), "link", "add", m.port(i), "type", "veth", "peer", "name", "eth0", "netns", name)
		m.ip("-n", m.name(0), "link", "set", m.port(i), "master", "bridge", "up")
		m.ip("-n", name, "addr", "add", m.address(i).String()+"/24", "dev", "eth0")
		m.ip("-n", name, "link", "set", "eth0", "up")
		m.ip("-n", name, "link", "set", "lo", "up")
	}
	t.Cleanup(m.end) // before the folders are removed, in which they write
	return m
}

func (m *machines) name(i int) string         { return fmt.Sprintf("%s%d", m.prefix, i) }
func (m *machines) port(i int) string         { return fmt.Sprintf("port%d", i) } // of the bridge
func (m *machines) address(i int) netip.Addr  { return netip.AddrFrom4([4]byte{10, 77, 0, byte(i)}) }
func (m *machines) at(i int, port int) string { return fmt.Sprintf("%s:%d", m.address(i), port) }

// base is the URL of a node's listener for viewers.
func (m *machines) base(i int) string { return "http://" + m.at(i, defaultViewerPort) }

// machineAt is the number of the machine with an address, 0 of others.
func machineAt(address netip.Addr) int {
	if b := address.Unmap().As4(); b[0] == 10 && b[1] == 77 {
		return int(b[3])
	}
	return 0
}

func (m *machines) deleteAtEnd(i int) {
	m.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", m.name(i)).Run() })
}

func (m *machines) ip(args ...string) {
	m.t.Helper()
	m.sh(exec.CommandContext(m.t.Context(), "ip", args...))
}

// sh runs a command that must succeed.
func (m *machines) sh(c *exec.Cmd) (out string) {
	m.t.Helper()
	text, err := c.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v %s", strings.Join(c.Args, " "), err, text)
	}
	return string(text)
}

// sever drops what goes between two groups of machines, until heal. Each does so
// with what comes in, so that who sends learns nothing, as when a cable is
// pulled. spared are rules of nft for what goes through all the same.
func (m *machines) sever(a, b []int, spared ...string) (heal func()) {
	m.t.Helper()
	refuse := func(at int, from []int) {
		var addresses []string
		for _, i := range from {
			addresses = append(addresses, m.address(i).String())
		}
		rules := fmt.Sprintf("table ip severed {\n\tchain in {\n\t\ttype filter hook input priority 0\n\t\t%s\n\t\tip saddr { %s } drop\n\t}\n}\n",
			strings.Join(spared, "\n\t\t"), strings.Join(addresses, ", "))
		c := exec.CommandContext(m.t.Context(), "ip", "netns", "exec", m.name(at), "nft", "-f", "-")
		c.Stdin = strings.NewReader(rules)
		m.sh(c)
	}
	for _, i := range a {
		refuse(i, b)
	}
	for _, i := range b {
		refuse(i, a)
	}
	return func() {
		for _, i := range append(a[:len(a):len(a)], b...) {
			m.ip("netns", "exec", m.name(i), "nft", "delete", "table", "ip", "severed")
		}
	}
}

// needNFT skips a test where the kernel or the machine has no nft.
func (m *machines) needNFT() {
	m.t.Helper()
	if out, err := exec.CommandContext(m.t.Context(), "ip", "netns", "exec", m.name(0), "nft", "list", "ruleset").CombinedOutput(); err != nil {
		m.t.Skipf("nft is needed (Debian's nftables): %v %s", err, out)
	}
}

// start runs a node on a machine until the test ends, and returns its log file.
func (m *machines) start(i int, role, dir string) (log string) {
	m.t.Helper()
	return m.startAhead(i, role, dir, 0)
}

// startAhead starts a relay whose clock is off, or with 0 any node.
func (m *machines) startAhead(i int, role, dir string, ahead time.Duration) (log string) {
	m.t.Helper()
	p := m.newProcess(i, role, "--config", filepath.Join(dir, role+".yaml"), "--until-eof")
	leash, err := p.command.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	p.leash = leash.Close
	if ahead != 0 {
		p.command.Env = append(p.command.Env, asMain+"="+ahead.String()) // the last one counts
	}
	m.folders[i] = filepath.Join(dir, "state", m.address(i).String())
	return m.run(p)
}

// feed pushes the clip from a machine to the origin beside it until the test
// ends; not much longer, should the test be killed.
func (m *machines) feed(i int, dir string) {
	m.t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "theatre.key"))
	if err != nil {
		m.t.Fatal(err)
	}
	p := m.newProcess(i, "feed", "--for", "15m", fmt.Sprintf("rtsp://publish:%s@%s/theatre", strings.TrimSpace(string(key)), m.at(i, defaultRTSPPort)))
	p.leash = func() error { return p.command.Process.Signal(unix.SIGTERM) }
	m.run(p)
}

func (m *machines) newProcess(i int, args ...string) *machineProcess {
	c := exec.Command("ip", append([]string{"netns", "exec", m.name(i), os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), asMain+"=1")
	return &machineProcess{machine: i, command: c}
}

func (m *machines) run(p *machineProcess) (log string) {
	m.t.Helper()
	var err error
	if p.log, err = os.Create(filepath.Join(m.logs, fmt.Sprintf("%d-%d.log", p.machine, len(m.running)))); err != nil {
		m.t.Fatal(err)
	}
	p.command.Stdout, p.command.Stderr = p.log, p.log
	if err := p.command.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.running = append(m.running, p)
	return p.log.Name()
}

// end tells all processes to end, and then waits for each.
func (m *machines) end() {
	for _, p := range m.running {
		_ = p.leash()
	}
	for _, p := range m.running {
		_ = p.command.Wait() // what a node says at its end is in its log
		p.log.Close()
		if m.t.Failed() {
			text, _ := os.ReadFile(p.log.Name())
			m.t.Logf("machine %d:\n%s", p.machine, text)
		}
	}
}

// dial opens a UDP socket on a machine.
func (m *machines) dial(i int, to string) net.Conn {
	m.t.Helper()
	conn, err := m.dialFrom(m.t.Context(), i, "udp", to)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// dialFrom opens a connection from a machine. The socket stays there.
func (m *machines) dialFrom(ctx context.Context, i int, network, to string) (conn net.Conn, err error) {
	entered := m.within(i, func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, to) })
	if entered != nil {
		return nil, entered
	}
	return conn, err
}

// within calls f on a thread that has gone to a machine; the thread is given up.
func (m *machines) within(i int, f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		there, err := os.Open("/run/netns/" + m.name(i))
		if err == nil {
			defer there.Close()
			err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// answers asks a name server for the pool's addresses.
func (m *machines) answers(conn net.Conn) ([]string, error) {
	q := new(dns.Msg).SetQuestion("live.surgecast.test.", dns.TypeA)
	wire := &dns.Conn{Conn: conn}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if err := wire.WriteMsg(q); err != nil {
		return nil, err
	}
	r, err := wire.ReadMsg()
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			addrs = append(addrs, a.A.String())
		}
	}
	return addrs, nil
}

// status is what a node's private API says of the pool.
func (m *machines) status(i int) (*poolStatus, error) {
	api, err := readAPIFile(filepath.Join(m.folders[i], apiFileName))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return m.dialFrom(ctx, i, network, address)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, api.URL+"/status", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+api.Token)
	response, err := (&http.Client{Transport: transport, Timeout: askBound}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var status poolStatus
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return nil, err
	}
	return &status, nil
}

// relayAhead is the relay's command on a machine whose clock is off: by what the
// node asks for the time, since a namespace has no date of its own. It ends the
// process.
func relayAhead(ahead time.Duration) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := runRelayAhead(ctx, os.Args[3], ahead); err != nil {
		fmt.Fprintln(os.Stderr, "surgecast:", err)
		os.Exit(exitFailed)
	}
	os.Exit(0)
}

func runRelayAhead(ctx context.Context, file string, ahead time.Duration) error {
	config, err := loadRelayConfig(file)
	if err != nil {
		return err
	}
	options, err := findPlace(ctx, netip.Addr{}, &config.NodeConfig)
	if err != nil {
		return err
	}
	options.Env.Clock = func() time.Time { return time.Now().Add(ahead) }
	r, err := newRelayNode(ctx, config, options)
	if err != nil {
		return err
	}
	return r.Run(childFlags{UntilEOF: true}.untilParentEnds(ctx))
}
