package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// watchSpec is a stream as in the comparison with other servers: 640 × 360,
// 600 kbit/s, parts of 200 ms (five frames at 25 fps), segments of 1 s.
func watchSpec(relayOn core) poolSpec {
	return poolSpec{
		streams: []streamSpec{{name: "theatre", target: 2 * time.Second, part: 225 * time.Millisecond, film: builtIn}},
		window:  time.Minute,
		relayOn: relayOn,
	}
}

// watchTime is how long viewers are measured; half of it over TLS, where there
// is no goal of theirs.
const watchTime = 20 * time.Second

// watchHundreds is the cost of 500 viewers, the relay on a core of its own.
func watchHundreds(ctx context.Context, s *session) ([]figure, error) {
	p, err := s.pool(ctx, watchSpec(serverCore))
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, over := range p.protocols() {
		w, err := p.watch(ctx, over, 500, loadCore)
		if err != nil {
			return nil, err
		}
		figures = append(figures, w.figures(over)...)
	}
	cached, err := p.watchCache(ctx, figures[0].ours)
	return append(figures, cached...), err
}

// watchThousands is 2,000 viewers on the cores that relay and load share.
func watchThousands(ctx context.Context, s *session) ([]figure, error) {
	p, err := s.pool(ctx, watchSpec(anyCore))
	if err != nil {
		return nil, err
	}
	w, err := p.watch(ctx, plain, 2000, anyCore)
	if err != nil {
		return nil, err
	}
	return w.figures(plain), nil
}

// watched is what a swarm went through, and what it cost the relay.
type watched struct {
	swarmResult
	cpu time.Duration // of the relay
}

// watch lets viewers watch on the relay for watchTime.
func (p *pool) watch(ctx context.Context, over protocol, viewers int, on core) (watched, error) {
	lasting := watchTime
	if over != plain {
		lasting /= 2
	}
	return watchServer(ctx, p.relay.pid(), on, swarmArguments(relayAddress(over), over, viewers, lasting))
}

// watchServer runs a swarm, and counts the server's CPU time while all watch.
func watchServer(ctx context.Context, server int, on core, arguments []string) (watched, error) {
	c, err := startChild(ctx, on, arguments...)
	if err != nil {
		return watched{}, err
	}
	var event struct{ Event string }
	if err := c.next(&event); err != nil {
		return watched{}, err
	}
	before, err := cpuTime(server)
	if err != nil {
		c.kill()
		return watched{}, err
	}
	var w watched
	if err := c.next(&w.swarmResult); err != nil {
		return watched{}, err
	}
	after, err := cpuTime(server)
	if err != nil {
		return watched{}, err
	}
	w.cpu = after - before
	return w, c.wait()
}

func swarmArguments(address string, over protocol, viewers int, lasting time.Duration) []string {
	arguments := []string{
		"swarm", "-viewers", strconv.Itoa(viewers), "-for", lasting.String(),
		"-url", address + "/theatre/index.m3u8",
	}
	if over == h2 {
		arguments = append(arguments, "-h2")
	}
	return arguments
}

// figures of the goals, which are for 500 viewers in cleartext; with more, or
// over TLS, all but the stalls are told only.
func (w watched) figures(over protocol) []figure {
	goal := func(most float64) float64 {
		if over != plain || w.Viewers != 500 || w.Busy > maxBusy {
			return noGoal
		}
		return most
	}
	name := func(what string) string { return fmt.Sprintf("%s, %d viewers, %s", what, w.Viewers, over) }
	load := fmt.Sprintf("load %.0f %% busy", 100*w.Busy)
	if w.Busy > maxBusy {
		load += ": void"
	}
	one := func(what string, value float64, unit string, most float64, note string) figure {
		return figure{name: name(what), ours: sample{value}, unit: unit, goal: most, note: note}
	}
	return []figure{
		one("relay CPU a viewer-second", w.perViewer(), "ms", goal(0.2),
			fmt.Sprintf("%.0f requests/s, %.1f Mbit/s, %s", float64(w.Requests)/w.Seconds, float64(w.Bytes)*8/1e6/w.Seconds, load)),
		one("part start to receipt p99", w.Receipt.P99, "ms", goal(240), fmt.Sprintf("p50 %.0f, most %.0f", w.Receipt.P50, w.Receipt.Max)),
		one("spread of answers p50", w.PartSpread.P50, "ms", goal(20),
			fmt.Sprintf("parts, first viewer to last; p99 %.0f; lists p50 %.0f", w.PartSpread.P99, w.ListSpread.P50)),
		one("stalls", float64(w.Stalls), "", 0, w.troubles()),
		one("join time p50", w.Join.P50, "ms", noGoal, fmt.Sprintf("p99 %.0f, %d joined", w.Join.P99, w.Joined)),
		one("behind live p50", w.Latency.P50, "ms", noGoal, fmt.Sprintf("p99 %.0f; date shown to now", w.Latency.P99)),
	}
}

// perViewer is the server's CPU time a viewer-second, in milliseconds.
func (w watched) perViewer() float64 { return milliseconds(w.cpu) / w.Seconds / float64(w.Viewers) }

// troubles are what should all be zero.
func (w swarmResult) troubles() string {
	note := fmt.Sprintf("%.1f s stalled, %d parts skipped, %d stale lists", w.StalledSeconds, w.Skipped, w.Stale)
	if fault := w.worstFault(); fault != "" {
		note += ", faults: " + fault
	}
	return note
}
