package relay

import (
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"
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

// A relay whose gossip has lost the origin goes on with it, as long as that
// answers, and asks it anew when the connections break.
func TestARelayGoesOnWithoutGossip(t *testing.T) {
	public, private := keys(t)
	u := newUpstream(t, private)
	var alone atomic.Bool
	f, store := follow(t, u, public, func(c *FollowerConfig) {
		c.Origins = func() []string {
			if alone.Load() {
				return nil
			}
			return []string{u.URL}
		}
	})
	awaitWarm(t, f)
	w := store.Stream("theatre").Window("main")
	alone.Store(true)
	for n := range 2 * feedParts {
		if n == feedParts {
			u.CloseClientConnections()
		}
		u.feed.part()
		awaitText(t, w, u.feed.window.Version().Text)
	}
	limit := time.After(10 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); u.asked()[ControlPath] < 2; {
		select {
		case <-tick:
		case <-limit:
			t.Fatal("the control channel is not opened anew")
		}
	}
}
