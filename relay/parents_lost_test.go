package relay

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
)

// Gossip can lose all parents at once, at any moment of a fetch.
func TestParentsThatVanish(t *testing.T) {
	var known []string
	r := newFetcher(&Follower{FollowerConfig: FollowerConfig{Parents: func() []string { return known }}},
		NewWindow(DefaultConstants()), "/theatre/main/", slog.New(slog.DiscardHandler))
	if _, err := r.newer(t.Context()); !errors.Is(err, errNoParent) {
		t.Errorf("before any was known: %v", err)
	}
	known = []string{"http://a", "http://b"}
	r.leave("http://a", errLate)
	known = nil
	if got := r.parents.order(); !slices.Equal(got, []string{"http://b", "http://a"}) {
		t.Errorf("when all have vanished: %v", got)
	}
	r.leave("http://b", errLate)
}
