package relay

import (
	"slices"
	"sync"
	"time"
)

// parents keeps the order in which a window's follower asks its upstreams: the
// configured one, with those that failed at the end. One that failed is asked
// again by itself only after a probe found it well, so that a dead parent is
// paid for once, and not by viewers.
type parents struct {
	all func() []string // base URLs, best first

	mu     sync.Mutex
	last   []string            // all that there were when there were any
	failed map[string]*failure // by base URL
	giver  string              // has what the newest list names, when it may be that others have not
	ids    map[string]string   // of nodes, by base URL; at most maxFailed
}

// failure is what is known of a parent that failed.
type failure struct {
	out   bool          // asked only when all others failed too
	probe time.Time     // when to look after it
	pause time.Duration // from a failure to the next probe
}

// A parent that fails again and again is looked after ever more rarely; one
// that did well for steadyAfter starts anew.
const (
	firstProbe  = 2 * time.Second
	lastProbe   = time.Minute
	steadyAfter = time.Minute
	maxFailed   = 64 // remembered; beyond it all start anew
)

func newParents(all func() []string) *parents {
	return &parents{all: all, failed: map[string]*failure{}, ids: map[string]string{}}
}

// order returns all parents, the best first. When none is known any more, as
// when gossip has lost the origin, those are asked that were known last.
func (p *parents) order() []string {
	all := slices.Clone(p.all())
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(all) > 0 {
		p.last = slices.Clone(all)
	} else {
		all = slices.Clone(p.last)
	}
	slices.SortStableFunc(all, func(a, b string) int {
		fa, fb := p.failed[a], p.failed[b]
		outA, outB := fa != nil && fa.out, fb != nil && fb.out
		switch {
		case outA == outB && outA:
			return fa.probe.Compare(fb.probe)
		case outA == outB:
			return 0
		case outA:
			return 1
		}
		return -1
	})
	return all
}

// fail puts a parent behind the others, and tells whether it was well before.
func (p *parents) fail(base string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	f := p.failed[base]
	if f == nil {
		if len(p.failed) >= maxFailed {
			clear(p.failed)
		}
		f = &failure{}
		p.failed[base] = f
	}
	wasWell := !f.out
	if now.Sub(f.probe) > steadyAfter {
		f.pause = 0
	}
	if wasWell || !now.Before(f.probe) {
		f.pause = min(max(2*f.pause, firstProbe), lastProbe)
		f.probe = now.Add(f.pause)
	}
	f.out = true
	return wasWell
}

// gave notes who gave the newest list; "": whoever is the best parent has all
// that it names.
func (p *parents) gave(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giver = base
}

// forMedia is order for who wants what the newest list names.
func (p *parents) forMedia() []string {
	all := p.order()
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(all, p.giver)
	if f := p.failed[p.giver]; i > 0 && (f == nil || !f.out) {
		all = slices.Insert(slices.Delete(all, i, i+1), 0, p.giver)
	}
	return all
}

// isOut tells whether a parent failed and was not found well since.
func (p *parents) isOut(base string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.failed[base]
	return f != nil && f.out
}

// wellOf counts those that have not failed, or were found well since.
func (p *parents) wellOf(bases []string) (n int) {
	for _, base := range bases {
		if !p.isOut(base) {
			n++
		}
	}
	return n
}

// well puts a parent back to its place.
func (p *parents) well(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.failed[base]; f != nil {
		f.out = false
	}
}

// know notes which node a parent is; "": it did not tell.
func (p *parents) know(base, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ids) >= maxFailed {
		clear(p.ids)
	}
	p.ids[base] = id
}

// id returns which node a parent is, or "".
func (p *parents) id(base string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ids[base]
}

// doubtful returns a parent to be looked after now, or "". It is not returned
// again before its next turn.
func (p *parents) doubtful() string {
	all := p.order()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for i, base := range all {
		if f := p.failed[base]; i > 0 && f != nil && f.out && !now.Before(f.probe) {
			f.pause = min(2*f.pause, lastProbe)
			f.probe = now.Add(f.pause)
			return base
		}
	}
	return ""
}

// slack is what a parent may be late by, before another one is asked.
func (c Constants) slack() time.Duration { return max(250*time.Millisecond, c.PartTarget/2) }

// lateness is when an answer that waits for the next part is late: the part
// takes PART-TARGET to be made.
func (c Constants) lateness() time.Duration { return c.PartTarget + c.slack() }

// standstill is when a list that does not move tells that something is wrong
// with its source.
func (c Constants) standstill() time.Duration { return c.TargetDuration * 3 / 2 }
