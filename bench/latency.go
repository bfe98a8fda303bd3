package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// latencyParts are timed: 30 s of the stream.
const latencyParts = 150

// latency is what relays add between a part's being whole at the origin and
// its last byte at a viewer, with 500 viewers on the relay; then what a relay
// that is filled by that relay adds.
func latency(ctx context.Context, s *session) ([]figure, error) {
	spec := watchSpec(serverCore)
	spec.chain = true
	p, err := s.pool(ctx, spec)
	if err != nil {
		return nil, err
	}
	var lists []string
	for _, node := range append([]string{originURL}, p.relays()...) {
		lists = append(lists, node+"/theatre/main/live.m3u8")
	}
	const ramp = 5 * time.Second
	const lasting = latencyParts/5*time.Second + 30*time.Second // more than is needed: it is killed
	viewers, err := startChild(ctx, loadCore, append(swarmArguments(relayAddress(plain), plain, 500, lasting), "-ramp", ramp.String())...)
	if err != nil {
		return nil, err
	}
	defer viewers.kill()
	var event struct{ Event string }
	if err := viewers.next(&event); err != nil {
		return nil, err
	}
	c, err := startChild(ctx, loadCore, append([]string{"added", "-parts", strconv.Itoa(latencyParts)}, lists...)...)
	if err != nil {
		return nil, err
	}
	var result addedResult
	if err := c.next(&result); err != nil {
		return nil, err
	}
	return result.figures(), c.wait()
}

// figures: the second relay may add as much as the first, again.
func (r addedResult) figures() []figure {
	const most = 20 // ms
	var figures []figure
	for i, added := range r.Added {
		name := [...]string{"a relay adds p99, 500 viewers", "a relay of a relay adds p99"}[i]
		figures = append(figures, figure{
			name: name, ours: sample{added.P99}, unit: "ms", goal: most,
			note: fmt.Sprintf("p50 %s, most %s, %d parts", number(added.P50), number(added.Max), r.Parts),
		})
	}
	if len(figures) > 1 {
		figures[1].goal = 2 * max(r.Added[0].P99, 0.1)
	}
	return figures
}
