package main

import (
	"cmp"
	"slices"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// reserve keeps room in the pool for the viewers of its fullest relay. The rule:
//
//	keep     while the other relays together have less room, up to 95 % of each,
//	         than the fullest one has load, all relays that are over 40 % full
//	         count as full for new sessions; until there is room up to 90 %
//	rescue   for a minute after a relay stopped to deliver (killed, stuck, leaving)
//	         all take new sessions up to 95 %: its viewers come, and nothing tells
//	         them from others
//
// With n equal relays the pool thus fills to 95 % × (n-1)/n of its capacity, and
// to no more than 85 %. A relay alone has nobody to keep room for, and one whose
// capacity nobody knows is taken to have room for all.
type reserve struct {
	delivering []string // names, as of the last look
	lost       time.Time
	keeping    bool
}

// Lines of the rule, in percent of each relay's capacity.
const (
	keepUnder = 95
	openOver  = 90
)

// rescueTime is how long the viewers of a lost relay may take to come: their
// players' retries, their resolvers' caches.
const rescueTime = time.Minute

// poolRelay is a relay that delivers.
type poolRelay struct {
	name     string
	capacity float64 // bits/s; 0: not known
	load     float64 // bits/s
}

// hearsay is what a node makes of the others' loads, which come by steps.
type hearsay struct {
	told map[string]toldLoad // by name; of those that deliver
}

type toldLoad struct {
	percent int
	since   time.Time
}

// relays are those that have viewers and do not leave. Of itself the node knows
// the load, own, in bits/s, and by how many percent it rises each second; the
// others are taken to have risen as much since they told theirs, but not to their
// next step, which they would have told.
func (h *hearsay) relays(now time.Time, members []cluster.Member, own, rising float64) (relays []poolRelay) {
	before := h.told
	h.told = make(map[string]toldLoad, len(members))
	for _, m := range members {
		s := m.State
		if s.Role != cluster.RoleRelay || s.Status != cluster.StatusServing && s.Status != cluster.StatusFull {
			continue
		}
		told, known := before[m.Name]
		if !known || told.percent != s.Load {
			told = toldLoad{s.Load, now}
		}
		h.told[m.Name] = told
		since := now.Sub(told.since)
		percent := float64(s.Load) + min(max(rising*since.Seconds(), 0), untold(since, len(members)))
		r := poolRelay{name: m.Name, capacity: float64(s.Capacity), load: float64(s.Capacity) * percent / 100}
		if m.Self {
			r.load = own
		}
		relays = append(relays, r)
	}
	return relays
}

// untold is by how many percent a load may have risen at most, that long after it
// was told to a pool of so many nodes.
func untold(since time.Duration, nodes int) float64 {
	if since > fineAfter(nodes)+loadKnown*time.Second {
		return fineStep
	}
	return loadStep
}

// look tells what the pool asks of its relays; self is this node's name. It is
// called each second.
func (r *reserve) look(now time.Time, self string, relays []poolRelay) relay.Pressure {
	var names []string
	for _, one := range relays {
		names = append(names, one.name)
	}
	for _, name := range r.delivering {
		if name != self && !slices.Contains(names, name) {
			r.lost = now
		}
	}
	r.delivering = names
	line := float64(keepUnder)
	if r.keeping {
		line = openOver
	}
	r.keeping = !roomForFullest(relays, line)
	switch {
	case !r.lost.IsZero() && now.Sub(r.lost) < rescueTime:
		return relay.Rescuing
	case r.keeping:
		return relay.Keeping
	}
	return relay.Usual
}

// roomForFullest tells whether the others have room for what the fullest relay
// sends, each up to a line of its capacity.
func roomForFullest(relays []poolRelay, line float64) bool {
	if len(relays) < 2 || slices.ContainsFunc(relays, func(r poolRelay) bool { return r.capacity == 0 }) {
		return true
	}
	fullest := slices.MaxFunc(relays, func(a, b poolRelay) int { return cmp.Compare(a.load, b.load) })
	var room float64
	for _, r := range relays {
		if r.name != fullest.name {
			room += max(0, r.capacity*line/100-r.load)
		}
	}
	return room >= fullest.load
}

// usable is how much of the relays' capacity new sessions can fill together,
// bits/s, when each has its share: the rule of the reserve, and 85 %. 0: nobody
// knows, or there is no relay.
func usable(relays []poolRelay) float64 {
	var total, largest float64
	for _, r := range relays {
		if r.capacity == 0 {
			return 0
		}
		total += r.capacity
		largest = max(largest, r.capacity)
	}
	if len(relays) < 2 {
		return total * usableMost
	}
	return total * min(max(keepUnder/100.*(1-largest/total), usableLeast), usableMost)
}

// The bounds of what is usable: where a relay is full by itself, and below which
// it never is.
const (
	usableMost  = 0.85
	usableLeast = 0.40
)
