package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// latencyParts is how many parts are timed: a minute of stream.
const latencyParts = 300

// relayLatency measures what a relay adds: both the origin and the relay are
// asked for the part that comes next, and hold the request; the figure is the
// time from the last byte of the origin's answer to that of the relay's.
func relayLatency(ctx context.Context, p *pool) ([]figure, error) {
	current, err := fetchList(ctx, originURL, "", p.bearer)
	if err != nil {
		return nil, err
	}
	added := make([]time.Duration, 0, latencyParts)
	for range latencyParts {
		hint := current.hint()
		if hint == "" {
			return nil, fmt.Errorf("the origin's list has no preload hint")
		}
		var fromOrigin, fromRelay time.Time
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			_, fromOrigin, err = fetch(ctx, originURL+rendition+hint, p.bearer)
			return err
		})
		group.Go(func() (err error) {
			_, fromRelay, err = fetch(ctx, relayURL+rendition+hint, "")
			return err
		})
		group.Go(func() (err error) {
			current, err = fetchList(ctx, originURL, directives(hint), p.bearer)
			return err
		})
		if err := group.Wait(); err != nil {
			return nil, err
		}
		added = append(added, fromRelay.Sub(fromOrigin))
	}
	slices.Sort(added)
	note := fmt.Sprintf("part whole at the origin to last byte from a relay, %d parts, %v to %v",
		len(added), added[0].Round(10*time.Microsecond), added[len(added)-1].Round(10*time.Microsecond))
	return []figure{
		{"latency-relay-p50", milliseconds(percentile(added, 50)), "ms", note},
		{"latency-relay-p99", milliseconds(percentile(added, 99)), "ms", ""},
	}, nil
}

// percentile of sorted values.
func percentile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)-1)*percent/100]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
