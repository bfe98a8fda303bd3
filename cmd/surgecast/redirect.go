package main

import (
	"math/rand/v2"
	"slices"

	"surgecast/cluster"
)

// director sends new sessions from the origin to the pool.
type director struct {
	members func() []cluster.Member
	by      func(relays []cluster.Member, second bool) []cluster.Member // leaves those that the viewers reach; nil: all
	second  bool                                                        // they come to the origin's second address
}

// Redirect returns the base URL of a serving relay, the emptier of two that are
// drawn by what each has left; "" when the pool is empty. A full pool is not an
// empty one: its relays tell viewers by themselves when to come again.
func (d *director) Redirect() string {
	members := d.members()
	if base := draw(d.reached(cluster.Serving(members)), 2); base != "" {
		return base
	}
	return draw(d.reached(slices.DeleteFunc(slices.Clone(members), func(m cluster.Member) bool {
		return m.State.Role != cluster.RoleRelay || m.State.Status != cluster.StatusFull
	})), 2)
}

func (d *director) reached(relays []cluster.Member) []cluster.Member {
	if d.by == nil {
		return relays
	}
	return d.by(relays, d.second)
}

// draw returns the base URL of the emptiest of so many that are drawn of the
// relays, "" when there is none.
func draw(relays []cluster.Member, of int) string {
	drawn, ok := cluster.Emptiest(rand.New(shared{}), relays, of)
	if !ok {
		return ""
	}
	return "http://" + drawn.PublicMedia()
}

// shared is the process's own source of chance, safe for many goroutines.
type shared struct{}

// Uint64 implements rand.Source.
func (shared) Uint64() uint64 { return rand.Uint64() }
