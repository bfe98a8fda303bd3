package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
)

// cacheConfig is what nginx runs with as a cache before the origin.
//
//go:embed nginx_cache.conf
var cacheConfig string

// watchCache lets the same 500 viewers watch through nginx, and compares what
// they cost with what they cost the relay.
func (p *pool) watchCache(ctx context.Context, ours sample) ([]figure, error) {
	address := originHost + ":" + viewerPort
	config := strings.NewReplacer("ORIGIN", address, "BEARER", p.bearer).Replace(cacheConfig)
	n, err := startNginx(ctx, p.dir, []byte(config))
	if err != nil {
		return nil, err
	}
	defer n.end()
	w, err := watchServer(ctx, n.worker, loadCore, swarmArguments(nginxAddress(plain), plain, 500, watchTime/2))
	if err != nil {
		return nil, fmt.Errorf("viewers of nginx as a cache: %w", err)
	}
	cost := figure{
		name: "relay CPU a viewer-second against nginx as a cache", ours: ours, nginx: sample{w.perViewer()}, unit: "ms", goal: noGoal,
		note: fmt.Sprintf("its viewers: receipt p99 %.0f ms, spread p50 %.0f ms, %d stalls; %s", w.Receipt.P99, w.PartSpread.P50, w.Stalls, w.troubles()),
	}
	if w.Busy > maxBusy {
		cost.note += "; load too busy: void"
	}
	return []figure{cost}, nil
}
