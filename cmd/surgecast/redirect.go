package main

import (
	"math/rand/v2"

	"surgecast/cluster"
)

// director sends new sessions from the origin to the pool.
type director struct {
	members func() []cluster.Member
}

// Redirect returns the base URL of a serving relay, drawn at random by what
// each has left, as the DNS draws; "" when there is none.
func (d *director) Redirect() string {
	drawn := cluster.Pick(rand.New(shared{}), cluster.Serving(d.members()))
	if len(drawn) == 0 {
		return ""
	}
	return "http://" + drawn[0].PublicMedia()
}

// shared is the process's own source of chance, safe for many goroutines.
type shared struct{}

// Uint64 implements rand.Source.
func (shared) Uint64() uint64 { return rand.Uint64() }
