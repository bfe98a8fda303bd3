package main

import (
	"log/slog"
	"path/filepath"
	"testing"

	"surgecast/cluster"
)

// The order that begins a drain wakes the watch too. Whichever of them looks
// first, the relay goes straight from its service into the drain: one that had
// been taken out before would end at once when nobody watches just then.
func TestTheWatchLeavesADrainToItself(t *testing.T) {
	orders, err := openDrainOrders(filepath.Join(t.TempDir(), drainFileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := orders.take(true); err != nil {
		t.Fatal(err)
	}
	for _, status := range []cluster.Status{cluster.StatusServing, cluster.StatusFull} {
		r := &relayNode{node: &node{orders: orders, log: slog.New(slog.DiscardHandler)}}
		r.announced.Status = status
		r.takeOut("it was told to drain")
		if got := r.status(); got != status {
			t.Errorf("a relay that was %s and is to drain is %s", status, got)
		}
	}
}
