package main

import (
	"log/slog"
	"slices"
	"testing"

	"surgecast/simnet"
)

// The configuration is the same on every clone, so a parent's clone finds
// itself in it.
func TestANodeIsNotItsOwnParent(t *testing.T) {
	listener, err := simnet.New(simnet.Config{}).Host("10.0.0.2").Listen(":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := &relayNode{node: &node{viewers: listener, log: slog.New(slog.DiscardHandler)}}
	got := r.parents([]BaseURL{"http://10.0.0.2:8080", "http://10.0.0.1:8080"}, nil)()
	if want := []string{"http://10.0.0.1:8080"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
