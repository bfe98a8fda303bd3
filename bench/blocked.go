package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	blockedViewers = 10_000
	blockedRounds  = 10
	equalViewers   = 1000
)

// blocked is what thousands cost who wait for one list.
func blocked(ctx context.Context, s *session) ([]figure, error) {
	spec := watchSpec(serverCore)
	spec.young = true // the list grows while requests for it are counted
	p, err := s.pool(ctx, spec)
	if err != nil {
		return nil, err
	}
	equal, err := p.equalRequests(ctx)
	if err != nil {
		return nil, err
	}
	figures, err := p.hold(ctx)
	if err != nil {
		return nil, err
	}
	bare, err := p.holdBare(ctx)
	cost := slices.IndexFunc(figures, func(f figure) bool { return strings.HasPrefix(f.name, wokenCost) })
	return append(figures, equal, figure{
		name: fmt.Sprintf("the same against a bare loop, %d held", blockedViewers), ours: figures[cost].ours, nginx: bare, unit: "µs", goal: bareRatio,
		note: "in nginx's column a loop that knows no HTTP: what this machine asks of any Go server",
	}), err
}

// wokenCost names the figure that is compared with the bare loop.
const wokenCost = "CPU a woken viewer"

// bareRatio is the goal against the bare loop: 16 µs where that loop was
// measured at 12 to 14 when the goal was set.
const bareRatio = 16.0 / 13

// heldList is the list that is waited for.
const heldList = "/theatre/main/live.m3u8"

// relayState is what the relay uses at one moment.
type relayState struct {
	at         time.Time
	cpu        time.Duration
	resident   int64
	goroutines float64
}

func (p *pool) look(ctx context.Context) (state relayState, err error) {
	if state.goroutines, err = p.relay.metric(ctx, "go_goroutines"); err != nil {
		return state, err
	}
	if state.resident, err = residentBytes(p.relay.pid()); err != nil {
		return state, err
	}
	state.cpu, state.at, err = cpuNow(p.relay.pid())
	return state, err
}

// hold measures memory, wake-up and leaving of blockedViewers.
func (p *pool) hold(ctx context.Context) ([]figure, error) {
	idle, err := share(ctx, p.relay.pid(), 3*time.Second)
	if err != nil {
		return nil, err
	}
	before, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	h := &holding{look: p.look, idle: idle, before: before}
	if err := h.run(ctx, relayURL+heldList); err != nil {
		return nil, err
	}
	left, err := p.goroutinesAfter(ctx, before.goroutines)
	if err != nil {
		return nil, err
	}
	return h.figures(left), nil
}

// holding is the measurement of held viewers under way.
type holding struct {
	look   func(ctx context.Context) (relayState, error)
	idle   float64
	before relayState

	memory, cost, wake, spread sample
	lists                      int
	busiest                    float64
}

// run lets the load hold its requests at a URL.
func (h *holding) run(ctx context.Context, url string) error {
	c, err := startChild(ctx, loadCore, "held", "-viewers", strconv.Itoa(blockedViewers),
		"-rounds", strconv.Itoa(blockedRounds), "-url", url)
	if err != nil {
		return err
	}
	if err := h.follow(ctx, c); err != nil {
		c.kill()
		return err
	}
	return c.wait()
}

// follow measures at each event of the load, to its end.
func (h *holding) follow(ctx context.Context, c *child) error {
	var last relayState
	for {
		var event heldEvent
		if err := c.next(&event); err != nil {
			return err
		}
		now, err := h.look(ctx)
		if err != nil {
			return err
		}
		switch event.Event {
		case "connected":
			last = now
		case "asked":
			h.memory = append(h.memory, float64(now.resident-h.before.resident)/1000/blockedViewers)
			h.wake = append(h.wake, h.spent(last, now)) // replaced at the wake
			h.cost, last = append(h.cost, h.spent(last, now)), now
		case "woken":
			waking := h.spent(last, now)
			h.wake[len(h.wake)-1] = waking
			h.cost[len(h.cost)-1] += waking
			h.spread = append(h.spread, event.SpreadMS)
			h.lists, h.busiest, last = max(h.lists, event.Lists), max(h.busiest, event.Busy), now
		case "left":
			return nil
		}
	}
}

// spent is the relay's CPU time between two looks, in microseconds a viewer.
func (h *holding) spent(from, to relayState) float64 {
	beyond := float64(to.cpu-from.cpu) - h.idle*float64(to.at.Sub(from.at))
	return beyond / 1e3 / blockedViewers
}

func (h *holding) figures(left figure) []figure {
	name := func(what string) string { return fmt.Sprintf("%s, %d held", what, blockedViewers) }
	load := fmt.Sprintf("load %.0f %% busy", 100*h.busiest)
	return []figure{
		{name: name("resident memory a viewer"), ours: h.memory, unit: "kB", goal: 8},
		{
			name: name(wokenCost), ours: h.cost, unit: "µs", goal: 16,
			note: fmt.Sprintf("request, hold and answer; wake and answer alone %s; %s", number(h.wake.median()), load),
		},
		{
			name: name("first answer to last"), ours: h.spread, unit: "ms", goal: noGoal,
			note: fmt.Sprintf("%d different list a wake-up at most; %s", h.lists, load),
		},
		left,
	}
}

// goroutineSlack is how many may be more than before: those of the node's own
// work come and go.
const goroutineSlack = 5

// goroutinesAfter tells how many goroutines are left a second after all
// viewers have gone.
func (p *pool) goroutinesAfter(ctx context.Context, before float64) (figure, error) {
	if err := pause(ctx, time.Second); err != nil {
		return figure{}, err
	}
	now, err := p.look(ctx)
	return figure{
		name: "goroutines 1 s after all left", ours: sample{now.goroutines}, goal: before + goroutineSlack,
		note: fmt.Sprintf("%.0f before, a few come and go", before),
	}, err
}

// equalRequests counts what the origin is asked while equalViewers hold equal
// requests: for each version of the list once, and for its part once.
func (p *pool) equalRequests(ctx context.Context) (figure, error) {
	c, err := startChild(ctx, loadCore, "held", "-viewers", strconv.Itoa(equalViewers),
		"-rounds", strconv.Itoa(blockedRounds+1), "-url", relayURL+heldList)
	if err != nil {
		return figure{}, err
	}
	from, to, err := p.countRounds(ctx, c)
	if err != nil {
		c.kill()
		return figure{}, err
	}
	versions := float64(to.parts - from.parts)
	each := (to.requests-from.requests)/versions - 1
	return figure{
		// Two counters are not read in one moment: one of 50 may be the next.
		name: "upstream requests a list, 1000 held", ours: sample{math.Round(each*20) / 20}, goal: 1,
		note: fmt.Sprintf("%.0f requests for %.0f versions and a part of each", to.requests-from.requests, versions),
	}, c.wait()
}

// count is how far the origin is.
type count struct {
	requests float64
	parts    uint64
}

// countRounds returns the count after the first and after the last round.
func (p *pool) countRounds(ctx context.Context, c *child) (from, to count, err error) {
	for {
		var event heldEvent
		if err := c.next(&event); err != nil {
			return from, to, err
		}
		if event.Event == "left" {
			return from, to, nil
		}
		if event.Event != "woken" {
			continue
		}
		if to, err = p.count(ctx); err != nil {
			return from, to, err
		}
		if from.parts == 0 {
			from = to
		}
	}
}

func (p *pool) count(ctx context.Context) (count, error) {
	requests, err := p.origin.metric(ctx, "surgecast_requests_total")
	if err != nil {
		return count{}, err
	}
	current, err := fetchList(ctx, relayURL, "/theatre/main/", "", "")
	if err != nil {
		return count{}, err
	}
	m, err := parseMedia(current.text)
	if err != nil {
		return count{}, err
	}
	const partsOfSegment = 5
	return count{requests, m.next.msn*partsOfSegment + uint64(m.next.part)}, nil
}
