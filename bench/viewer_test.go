package main

import (
	"testing"
	"time"
)

// A picture that stands still goes on where it stopped, later behind live than
// before.
func TestPlayer(t *testing.T) {
	start := time.Unix(1000, 0)
	after := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	p := player{from: after(0), end: after(-300)}
	for _, step := range []struct {
		end, now int // put: the buffer's end, the time
		stalled  time.Duration
		latency  time.Duration
		started  bool
	}{
		{0, 600, 0, 0, false},
		{200, 610, 0, 610 * time.Millisecond, true},
		{400, 800, 0, 610 * time.Millisecond, true},
		{600, 1060, 50 * time.Millisecond, 660 * time.Millisecond, true},
		{800, 1200, 0, 660 * time.Millisecond, true},
	} {
		stalled := p.put(after(step.end), after(step.now))
		if stalled != step.stalled || p.latency != step.latency || p.started != step.started {
			t.Errorf("at %d ms: stalled %v, latency %v, started %v; want %v, %v, %v",
				step.now, stalled, p.latency, p.started, step.stalled, step.latency, step.started)
		}
	}
}
