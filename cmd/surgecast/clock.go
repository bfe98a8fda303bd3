package main

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"surgecast/cluster"
)

// Keys are chosen by the day, with the neighbour days: a clock that is off by
// more than that makes an island of its node. One that is alone asks others
// for the time, and goes by theirs where its own is far off.
const (
	// clockTolerance is how far off a clock may be before keys are chosen by
	// the pool's time. Much less than a day, for midnight is near for somebody.
	clockTolerance = time.Hour
	// clockWarn is how far off it may be before a person should know: what is
	// told as lag is wrong by as much.
	clockWarn = 2 * time.Second
	// clockAlone and clockJoined are the pauses between two looks.
	clockAlone  = 5 * time.Second
	clockJoined = 10 * time.Minute
	// maxGreeted bounds the nodes that are asked at once.
	maxGreeted = 24
)

// clock is the time by which keys are chosen: the machine's or, where that is
// far off, the pool's, carried on without the machine's date.
type clock struct {
	machine func() time.Time

	mu     sync.Mutex
	offset time.Duration // of the machine to the pool, as measured last
	at     time.Time     // when the pool's time was taken, with its monotonic reading
	pool   time.Time     // the pool's time then; zero: the machine's is used
}

func newClock(machine func() time.Time) *clock { return &clock{machine: machine} }

// Now is safe for concurrent use.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pool.IsZero() {
		return c.machine()
	}
	return c.pool.Add(time.Since(c.at))
}

// Offset is how far the machine is ahead of the pool; negative: behind.
func (c *clock) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// set takes an offset that was measured just now, and says whether that
// changed what Now goes by.
func (c *clock) set(offset time.Duration, correct bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
	corrected := !c.pool.IsZero()
	switch {
	case offset.Abs() < clockTolerance:
		c.pool = time.Time{}
		return corrected
	case correct || corrected:
		c.at, c.pool = time.Now(), c.machine().Add(-offset)
		return !corrected
	}
	return false
}

// keepClock compares the clock with those of others for as long as ctx is on:
// often while the node is alone.
func (n *node) keepClock(ctx context.Context) error {
	for {
		alone := len(n.cluster.Members()) <= 1
		n.compareClocks(n.greeter.all(ctx, n.greeted()), alone)
		wait := clockJoined
		if alone {
			wait = clockAlone
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// greeted are where some other nodes serve: members or, while there are none,
// those that may be, where by our own configuration they would serve.
func (n *node) greeted() []string {
	var at []string
	for _, m := range n.cluster.Members() {
		if !m.Self {
			at = append(at, n.mediaOf(m))
		}
	}
	if len(at) == 0 {
		for _, target := range n.cluster.Targets() {
			at = append(at, netip.AddrPortFrom(target.Addr(), uint16(n.config.Ports.Viewers)).String())
		}
		return at[:min(len(at), maxGreeted)]
	}
	rand.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
	return at[:min(len(at), 3)] // their middle outvotes one that is off
}

// compareClocks warns of a clock that is off, and goes by the pool's time where
// the node can't join without.
func (n *node) compareClocks(answers []hello, alone bool) {
	if alone {
		answers = slices.DeleteFunc(answers, func(a hello) bool { return !a.leads(n.role, n.cluster.Name()) })
	}
	if len(answers) == 0 {
		return
	}
	slices.SortFunc(answers, func(a, b hello) int { return int(a.offset - b.offset) })
	offset := answers[(len(answers)-1)/2].offset
	changed := n.clock.set(offset, alone)
	attributes := []any{"ahead", offset.Round(time.Millisecond)}
	switch {
	case offset.Abs() >= clockTolerance:
		n.log.Error("this machine's clock is wrong, keys are chosen by the pool's time: set the clock", attributes...)
	case offset.Abs() >= clockWarn:
		n.log.Warn("this machine's clock is off, what is told as lag is wrong by as much: set the clock", attributes...)
	}
	if changed {
		n.cluster.Retry()
	}
}

// leads says whether a node that is alone goes by another one's clock: of two
// that are both alone only one does, or they would change places for ever. One
// that is in the pool is right; then an origin; then either.
func (a hello) leads(role cluster.Role, name string) bool {
	switch {
	case !a.Isolated:
		return true
	case (a.Role == cluster.RoleOrigin) != (role == cluster.RoleOrigin):
		return a.Role == cluster.RoleOrigin
	}
	return a.Name < name
}
