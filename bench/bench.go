// Command bench measures running nodes from outside, over HTTP, DNS and RTSP: it
// imports nothing of the product. It starts an origin, a relay and what they
// are compared with, puts load on them, and prints one figure a line:
//
//	name  ours  nginx  ratio  goal  verdict
//
//	go run ./bench            every benchmark, in under 10 minutes
//	go run ./bench nginx      those whose name begins so
//	go run ./bench -rows 'part .*tls' nginx
//	                          of the comparison only the lines that match
//
// Machines are shared and noisy: CPU time of the server process is counted
// before wall time, the median of several runs is printed with the lowest and
// the highest, and a run in which the load itself was over 90 % busy is void.
//
// The load runs in processes of its own: "bench swarm", "bench held" and "bench
// publish" are this program again, and can be pointed at any server that speaks
// LL-HLS, the last one at any that takes RTSP too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// benchmark is one thing that is measured.
type benchmark struct {
	name string
	run  func(ctx context.Context, s *session) ([]figure, error)
}

// benchmarks in the order in which they run.
var benchmarks = []benchmark{
	{"nginx", versusNginx},
	{"blocked", blocked},
	{"latency", latency},
	{"ingest-protocols", ingestProtocols},
	{"ingest-4k60", ingestLarge},
	{"ingest-streams", ingestMany},
	{"dns", dnsAnswers},
	{"viewers-500", watchHundreds},
	{"viewers-2000", watchThousands},
	{"attacks", attacks},
}

// subcommands are the loads, by name.
var subcommands = map[string]func(ctx context.Context, arguments []string) error{
	"added":   addedCommand,
	"attack":  attackCommand,
	"bare":    bareCommand,
	"echo":    echoCommand,
	"hammer":  hammer,
	"held":    heldCommand,
	"publish": publishCommand,
	"swarm":   swarmCommand,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs a load, or the benchmarks that are named.
func command(ctx context.Context, arguments []string) error {
	if len(arguments) > 0 {
		if sub, ok := subcommands[arguments[0]]; ok {
			return sub(ctx, arguments[1:])
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := flags.String("binary", "bin/surgecast", "the program to measure")
	rows := flags.String("rows", "", "of nginx: only lines whose name matches this expression")
	flags.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [-binary FILE] [-rows EXPRESSION] [NAME ...]\n\nbenchmarks:")
		for _, b := range benchmarks {
			fmt.Fprintln(os.Stderr, "  "+b.name)
		}
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	chosen, err := regexp.Compile(*rows)
	if err != nil {
		return err
	}
	return run(ctx, *binary, chosen, flags.Args())
}

func run(ctx context.Context, binary string, rows *regexp.Regexp, names []string) error {
	chosen := slices.DeleteFunc(slices.Clone(benchmarks), func(b benchmark) bool {
		return len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(b.name, n) })
	})
	if len(chosen) == 0 {
		return fmt.Errorf("no benchmark is called %s", strings.Join(names, " or "))
	}
	fmt.Println(machine())
	var all []figure
	for _, b := range chosen {
		fmt.Fprintln(os.Stderr, b.name, "…")
		figures, err := b.measure(ctx, binary, rows)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		all = append(all, figures...)
	}
	fmt.Println()
	printFigures(os.Stdout, all)
	return nil
}

// measure runs one benchmark, and tells how busy the machine was with others.
func (b benchmark) measure(ctx context.Context, binary string, rows *regexp.Regexp) ([]figure, error) {
	before, err := usageNow()
	if err != nil {
		return nil, err
	}
	s := &session{binary: binary, rows: rows, progress: os.Stderr}
	figures, err := b.run(ctx, s)
	if err := errors.Join(err, s.end()); err != nil {
		return nil, err
	}
	after, err := usageNow()
	if err != nil {
		return nil, err
	}
	fmt.Printf("%s: %.0f s, others on the machine used %.2f cores, its host took %.2f\n",
		b.name, after.at.Sub(before.at).Seconds(), after.others(before), after.lost(before))
	return figures, nil
}

// session is what one benchmark runs in.
type session struct {
	binary   string
	rows     *regexp.Regexp // of the comparison
	progress io.Writer
	running  *pool
}

// pool starts the one pool of the session.
func (s *session) pool(ctx context.Context, spec poolSpec) (*pool, error) {
	p, err := startPool(ctx, s.binary, spec)
	s.running = p
	return p, err
}

// wants tells whether a line of the comparison is asked for.
func (s *session) wants(line string) bool { return s.rows.MatchString(line) }

// say shows a figure as soon as it is known.
func (s *session) say(f figure) {
	fmt.Fprintf(s.progress, "  %s: %s, %s\n", f.name, amount(f.ours.median(), f.unit), f.verdict())
}

// end stops the pool, if one was started.
func (s *session) end() error {
	if s.running == nil {
		return nil
	}
	return s.running.stop()
}
