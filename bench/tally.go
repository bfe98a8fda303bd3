package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// tally is what the viewers of a swarm went through.
type tally struct {
	requests, bytes int64
	stalls, stale   int
	skipped         int
	stalled         time.Duration
	faults          map[string]int

	join    times // from the first request to the first picture
	latency times // between a date and its being shown, at each part
	receipt times // from a part's date to its last byte
	answers times // from a part's request to its last byte
	parts   arrivals
	lists   arrivals
}

func newTally() *tally {
	return &tally{faults: map[string]int{}, parts: arrivals{}, lists: arrivals{}}
}

// measure forgets what is measured by time, so that the rush at the beginning
// is not in it; stalls, faults and joins count from the first moment.
func (t *tally) measure() {
	t.requests, t.bytes = 0, 0
	t.latency, t.receipt, t.answers, t.parts, t.lists = nil, nil, nil, arrivals{}, arrivals{}
}

func (t *tally) request(a *answer) {
	t.requests++
	t.bytes += int64(a.size)
}

func (t *tally) fault(err error) { t.faults[err.Error()]++ }

// times are durations in the order in which they were measured.
type times []time.Duration

func (t *times) add(d time.Duration) { *t = append(*t, d) }

// quantile q of 0 to 1; 0 of none.
func (t times) quantile(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(q*float64(len(sorted)-1))]
}

// arrivals are the first and the last viewer's receipt of each part or list.
type arrivals map[position]*arrival

type arrival struct {
	first, last time.Time
	count       int
}

func (a arrivals) came(p position, at time.Time) {
	one := a[p]
	if one == nil {
		one = &arrival{first: at, last: at}
		a[p] = one
	}
	one.count++
	if at.Before(one.first) {
		one.first = at
	}
	if at.After(one.last) {
		one.last = at
	}
}

// spreads are the times from the first viewer to the last, of what nearly all
// have received; the ends of a run are left out by that.
func (a arrivals) spreads(viewers int) times {
	var all times
	for _, one := range a {
		if one.count >= viewers*9/10 {
			all.add(one.last.Sub(one.first))
		}
	}
	return all
}

// swarmResult is what "bench swarm" prints, as JSON; times are in milliseconds.
type swarmResult struct {
	Viewers        int
	Seconds        float64
	Requests       int64
	Bytes          int64
	Stalls         int
	StalledSeconds float64
	Stale          int // blocking reloads that were answered without news
	Skipped        int // parts that had left the list before they were loaded
	Faults         map[string]int
	Joined         int
	Join           spread
	Latency        spread
	Receipt        spread // from a part's start to its last byte
	Answer         spread // from a part's request to its last byte
	PartSpread     spread // first to last viewer
	ListSpread     spread
	Busy           float64 // share of a core that this process used
}

// spread is a distribution, in milliseconds.
type spread struct{ P50, P99, Max float64 }

func (t times) spread() spread {
	return spread{milliseconds(t.quantile(0.5)), milliseconds(t.quantile(0.99)), milliseconds(t.quantile(1))}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func (t *tally) result(viewers int, lasted, cpu time.Duration) swarmResult {
	return swarmResult{
		Viewers: viewers, Seconds: lasted.Seconds(), Requests: t.requests, Bytes: t.bytes,
		Stalls: t.stalls, StalledSeconds: t.stalled.Seconds(), Stale: t.stale, Skipped: t.skipped,
		Faults: t.faults, Joined: len(t.join), Join: t.join.spread(), Latency: t.latency.spread(),
		Receipt: t.receipt.spread(), Answer: t.answers.spread(), PartSpread: t.parts.spreads(viewers).spread(), ListSpread: t.lists.spreads(viewers).spread(),
		Busy: float64(cpu) / float64(lasted),
	}
}

// worstFault is the fault that occurred most often, for a note.
func (r swarmResult) worstFault() string {
	worst := ""
	for text, count := range r.Faults {
		if worst == "" || cmp.Or(cmp.Compare(count, r.Faults[worst]), cmp.Compare(worst, text)) > 0 {
			worst = text
		}
	}
	if worst == "" {
		return ""
	}
	return fmt.Sprintf("%d × %s", r.Faults[worst], worst)
}
