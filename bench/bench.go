// Command bench measures a running pool from outside, over HTTP alone: it
// imports nothing of the product. It starts the demo, measures its first relay
// and prints one figure a line:
//
//	go run ./bench            every benchmark
//	go run ./bench latency    those whose name begins so
//
// Machines are shared and noisy: CPU time of the server process is counted
// before wall time, the median of several runs is printed with the lowest and
// the highest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// benchmark is one thing that is measured against a running pool.
type benchmark struct {
	name string
	run  func(ctx context.Context, p *pool) ([]figure, error)
}

// benchmarks in the order in which they run.
var benchmarks = []benchmark{
	{"cpu-playlist", playlistCPU},
	{"cpu-part", partCPU},
	{"latency-relay", relayLatency},
}

// figure is a result: what, how much, and how far to trust it.
type figure struct {
	name  string
	value float64
	unit  string
	note  string
}

func (f figure) String() string {
	return fmt.Sprintf("%-22s %9.2f %-28s %s", f.name, f.value, f.unit, f.note)
}

func main() {
	binary := flag.String("binary", "bin/surgecast", "the program to measure")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [-binary FILE] [NAME ...]\n\nbenchmarks:")
		for _, b := range benchmarks {
			fmt.Fprintln(os.Stderr, "  "+b.name)
		}
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, names []string) (err error) {
	chosen := slices.DeleteFunc(slices.Clone(benchmarks), func(b benchmark) bool {
		return len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(b.name, n) })
	})
	if len(chosen) == 0 {
		return fmt.Errorf("no benchmark is called %s", strings.Join(names, " or "))
	}
	fmt.Fprintln(os.Stderr, "starting the demo …")
	p, err := startPool(ctx, binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	for _, b := range chosen {
		fmt.Fprintln(os.Stderr, b.name, "…")
		figures, err := b.run(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		for _, f := range figures {
			fmt.Println(f)
		}
	}
	return nil
}
