package main

import (
	"cmp"
	"slices"
	"time"
)

// spare looks for a relay that the pool could do without. Nothing is done about
// it: that is advice.
type spare struct {
	since time.Time // when the pool began to be as empty; zero: it is not
	Name  string    // of the relay; "": none
}

const (
	// spareUnder is the load of the whole pool, in percent of its capacity, below
	// which one relay may go.
	spareUnder = 40
	// spareAfter is how long it must have been so: an interval is no end.
	spareAfter = 15 * time.Minute
	// spareRelays is what stays in any case.
	spareRelays = 2
)

// look takes the relays as of now; began tells that the advice begins with this.
func (s *spare) look(now time.Time, relays []poolRelay) (began bool) {
	name := dispensable(relays)
	switch {
	case name == "":
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = now
	}
	was := s.Name
	s.Name = ""
	if !s.since.IsZero() && now.Sub(s.since) >= spareAfter {
		s.Name = name
	}
	return s.Name != "" && was == ""
}

// dispensable is the relay with the least to do, when the pool is nearly empty
// and would neither be full without it nor lack the room that is kept; else "".
func dispensable(relays []poolRelay) string {
	var load, capacity float64
	for _, r := range relays {
		load += r.load
		capacity += r.capacity
	}
	if len(relays) <= spareRelays || usable(relays) == 0 || load*100 >= capacity*spareUnder {
		return ""
	}
	least := slices.MinFunc(relays, func(a, b poolRelay) int {
		return cmp.Or(cmp.Compare(a.load, b.load), cmp.Compare(a.name, b.name))
	})
	rest := slices.DeleteFunc(slices.Clone(relays), func(r poolRelay) bool { return r.name == least.name })
	if load > 0.9*usable(rest) {
		return ""
	}
	return least.name
}
