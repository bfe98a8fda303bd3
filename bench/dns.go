package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The name server's load: a rate that a large event does not reach, for a
// few seconds, some times.
const (
	dnsRate    = 20_000 // questions a second
	dnsSeconds = 3
	dnsRuns    = 3
	dnsRelays  = 4
	dnsPort    = "15300"
	dnsHost    = "127.0.0.20"
	dnsZone    = "live.surgecast.test"
)

// dnsQuestions are what is asked, in turn: mostly the pool's name, as
// resolvers do, some of it by browsers that ask for HTTPS records, too.
var dnsQuestions = []string{
	dnsZone + " A", dnsZone + " AAAA", dnsZone + " A", dnsZone + " HTTPS", dnsZone + " A",
	"e-7f000002." + dnsZone + " A", dnsZone + " A", "www." + dnsZone + " A", dnsZone + " SOA", "ns1." + dnsZone + " A",
}

// dnsPool is an origin without a feed, relays that wait for one, and a name
// server on a core of its own.
type dnsPool struct {
	dir    string
	nodes  []*node
	server *node
}

// dnsAnswers is how long answers take at the rate, by dnsperf's own clock.
func dnsAnswers(ctx context.Context, s *session) (_ []figure, err error) {
	if _, err := exec.LookPath("dnsperf"); err != nil {
		return nil, errors.New("dnsperf is not installed: apt-get install dnsperf")
	}
	p := &dnsPool{}
	if p.dir, err = os.MkdirTemp("", "surgecast-bench-"); err != nil {
		return nil, err
	}
	defer p.stop()
	if err := p.start(ctx, s.binary); err != nil {
		return nil, err
	}
	var ours, bare dnsSample
	for range dnsRuns { // by turns: what others do on the machine hits both
		run, cpu, err := p.measure(ctx, dnsHost, p.server.pid())
		if err != nil {
			return nil, err
		}
		ours.add(run, cpu)
		if run, cpu, err = p.loadEcho(ctx); err != nil {
			return nil, err
		}
		bare.add(run, cpu)
	}
	const least = "in nginx's column a loop that sends each packet back: what this machine asks of any Go server"
	late := figure{name: "dns p99, 20,000 questions/s", ours: ours.late, unit: "ms", goal: 1}
	late.note = fmt.Sprintf("most %s ms, %d of %d lost; one core", number(ours.most), ours.lost, dnsRuns*dnsSeconds*dnsRate)
	s.say(late)
	return []figure{
		late,
		{name: "the same against a bare loop", ours: ours.late, nginx: bare.late, unit: "ms", goal: echoRatio, note: least},
		{name: "dns CPU a question, against it", ours: ours.cost, nginx: bare.cost, unit: "µs", goal: echoRatio},
	}, nil
}

// echoRatio is the goal against the bare loop: most of a question is the kernel's.
const echoRatio = 1.25

// dnsSample is what several runs gave.
type dnsSample struct {
	late, cost sample
	lost       int
	most       float64 // ms
}

func (s *dnsSample) add(run *dnsRun, cpu time.Duration) {
	s.late = append(s.late, run.percentile(99))
	s.cost = append(s.cost, float64(cpu.Nanoseconds())/1000/float64(len(run.latencies)))
	s.lost += run.lost()
	s.most = max(s.most, run.percentile(100))
}

// measure puts the load on a server, and tells the CPU that it took.
func (p *dnsPool) measure(ctx context.Context, host string, pid int) (*dnsRun, time.Duration, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return nil, 0, err
	}
	run, err := p.load(ctx, host)
	if err != nil {
		return nil, 0, err
	}
	after, err := cpuTime(pid)
	return run, after - before, err
}

func (p *dnsPool) start(ctx context.Context, binary string) (err error) {
	if text, err := exec.CommandContext(ctx, binary, "init", p.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("make the pool's files: %w: %s", err, text)
	}
	settings := append([]setting{
		{"seeds", `["127.0.0.1:17946"]`},
		{"dns.port", dnsPort},
		{"rate_limit", "1000000"}, // counted, and never reached
	}, poolPorts...)
	for _, name := range []string{"relay", "nameserver"} {
		if err := rewrite(filepath.Join(p.dir, name+".yaml"), settings, ""); err != nil {
			return err
		}
	}
	if err := rewrite(filepath.Join(p.dir, "origin.yaml"), poolPorts, ""); err != nil {
		return err
	}
	start := func(role, address string, on core) (*node, error) {
		n, err := startNode(ctx, p.dir, binary, role, address, role, on)
		if err == nil {
			p.nodes = append(p.nodes, n)
		}
		return n, err
	}
	if _, err := start("origin", originHost, loadCore); err != nil {
		return err
	}
	for i := range dnsRelays {
		if _, err := start("relay", fmt.Sprintf("127.0.0.%d", 2+i), loadCore); err != nil {
			return err
		}
	}
	if p.server, err = start("nameserver", dnsHost, serverCore); err != nil {
		return err
	}
	return p.awaitRelays(ctx)
}

// awaitRelays waits until all relays are in the answers.
func (p *dnsPool) awaitRelays(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("the name server does not name the relays"))
	defer cancel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(dnsHost, dnsPort))
	}}
	for {
		addresses, err := resolver.LookupNetIP(ctx, "ip4", dnsZone+".")
		if err == nil && len(addresses) == dnsRelays {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// load asks a server for some seconds, and reads how long each answer took.
func (p *dnsPool) load(ctx context.Context, host string) (*dnsRun, error) {
	questions := filepath.Join(p.dir, "questions")
	if err := os.WriteFile(questions, []byte(strings.Join(dnsQuestions, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	report, err := os.Create(filepath.Join(p.dir, "dnsperf"))
	if err != nil {
		return nil, err
	}
	defer report.Close()
	arguments := []string{
		"dnsperf", "-v", "-e", "-s", host, "-p", dnsPort, "-d", questions, "-c", "4", "-q", "1000",
		"-Q", strconv.Itoa(dnsRate), "-l", strconv.Itoa(dnsSeconds), "-t", "1",
	}
	if _, err := exec.LookPath("taskset"); err == nil {
		arguments = append([]string{"taskset", "-c", string(loadCore)}, arguments...)
	}
	dnsperf := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	dnsperf.Stdout, dnsperf.Stderr = report, report
	if err := dnsperf.Run(); err != nil {
		return nil, fmt.Errorf("dnsperf: %w", err)
	}
	if _, err := report.Seek(0, 0); err != nil {
		return nil, err
	}
	return parseDNSPerf(bufio.NewScanner(report))
}

// dnsRun is what one run gave.
type dnsRun struct {
	latencies []float64 // ms, of those that were answered, sorted
	sent      int
}

// parseDNSPerf reads what dnsperf -v prints: a line for each answer, as
// "> NOERROR live.surgecast.test A 0.000087", and sums at the end.
func parseDNSPerf(lines *bufio.Scanner) (*dnsRun, error) {
	run := &dnsRun{}
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "> ") && len(fields) == 5:
			seconds, err := strconv.ParseFloat(fields[4], 64)
			if err != nil {
				continue // "T" for one without an answer: it counts as lost
			}
			run.latencies = append(run.latencies, seconds*1000)
		case strings.HasPrefix(strings.TrimSpace(line), "Queries sent:"):
			sent, err := strconv.Atoi(fields[2])
			if err != nil {
				return nil, fmt.Errorf("read dnsperf: %q", line)
			}
			run.sent = sent
		}
	}
	if run.sent == 0 || len(run.latencies) == 0 {
		return nil, errors.Join(errors.New("dnsperf tells of no answers"), lines.Err())
	}
	slices.Sort(run.latencies)
	return run, lines.Err()
}

func (r *dnsRun) lost() int { return r.sent - len(r.latencies) }

// percentile of the latencies, in ms; those that were lost are beyond all.
func (r *dnsRun) percentile(p int) float64 {
	i := max(r.sent, len(r.latencies))*p/100 - 1
	return r.latencies[min(max(i, 0), len(r.latencies)-1)]
}

// stop ends the nodes, the last first.
func (p *dnsPool) stop() {
	for _, n := range slices.Backward(p.nodes) {
		n.stop()
	}
	_ = os.RemoveAll(p.dir) // in the system's folder for such things
}
