package main

import (
	"context"
	"log/slog"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// How a serving relay watches itself.
const (
	watchTick  = time.Second
	watchFalls = 3 // failures in a row that take it out
)

// untilSeen waits until enough others have seen the relay from outside.
func (r *relayNode) untilSeen(ctx context.Context) error {
	verdicts := r.cluster.Verdicts()
	for {
		said, came := verdicts.Changed(), r.cluster.Changed() // before the look, as in until
		if verdicts.Proved(r.cluster.Name()) {
			return nil
		}
		select {
		case <-said:
		case <-came:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// answerable tells whether a window has a list to give. One whose source is lost
// has not, and says so by 503: no fault of the relay's own.
func answerable(w *relay.Window) bool {
	_, err := w.Newest()
	return err == nil
}

// watchSelf returns when the relay does not serve rightly any more: when its own
// listener fails three times in a row, or when its probers find its media older
// than those of the others, which it can't see by itself. It also returns when
// the relay was told to drain, or to warm up anew.
func (r *relayNode) watchSelf(ctx context.Context) (reason string, err error) {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for failures := 0; failures < watchFalls; {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-r.orders.Changed():
		case <-tick.C:
		}
		if r.orders.drains() {
			return "it was told to drain", nil
		}
		if r.cluster.Verdicts().Failure(r.cluster.Name()) == cluster.FailureStale {
			return "its media are older than those of the pool", nil
		}
		if r.status() == cluster.StatusWarming {
			return "it was told to", nil
		}
		err := r.prove(ctx, watchTick, answerable)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		reason = err.Error()
		r.log.Debug("own listener failed", "in a row", failures, "err", err)
	}
	return reason, nil
}

// takeOut makes a relay that serves, and is to go on, prove itself anew.
func (r *relayNode) takeOut(reason string) {
	if r.setStatus(cluster.StatusWarming, cluster.StatusServing, cluster.StatusFull) {
		r.log.Warn("relay takes itself out until it serves rightly again", slog.String("reason", reason))
	}
}
