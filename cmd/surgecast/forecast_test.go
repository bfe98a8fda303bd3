package main

import (
	"math"
	"testing"
	"time"
)

var evening0 = time.Date(2026, 11, 24, 19, 0, 0, 0, time.UTC)

// rise lets a load go from one value to another by equal steps, one a second,
// and returns how the last look was.
func rise(o *outlook, from, to float64, seconds int, line float64) (began bool) {
	start := evening0
	if o.trend.n > 0 {
		start = o.trend.from.Add(time.Duration(o.trend.n) * time.Second)
	}
	for i := range seconds {
		load := from + (to-from)*float64(i)/float64(max(seconds-1, 1))
		began = o.look(start.Add(time.Duration(i)*time.Second), load, line) || began
	}
	return began
}

func near(a, b float64) bool { return a == b || math.Abs(a-b) <= 1e-6*max(math.Abs(a), math.Abs(b)) }

func TestForecastOfASteadyRise(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name     string
		from, to float64
		seconds  int
		line     float64
		want     float64
	}{
		{"1 Mbit/s each second, 26 from the line", 0, 59e6, 60, 85e6, 26},
		{"the last minute counts", 0, 119e6, 120, 850e6, 731},
		{"ten seconds are enough", 0, 9e6, 10, 85e6, 76},
		{"nine are chance", 0, 8e6, 9, 85e6, inf},
		{"no rise", 40e6, 40e6, 60, 85e6, inf},
		{"a fall", 60e6, 1e6, 60, 85e6, inf},
		{"more than an hour", 0, 59, 60, 85e6, inf},
		{"full", 85e6, 85e6, 1, 85e6, 0},
		{"a capacity that nobody knows", 0, 59e6, 60, 0, inf},
	} {
		o := &outlook{}
		rise(o, c.from, c.to, c.seconds, c.line)
		if !near(o.FullIn, c.want) {
			t.Errorf("%s: full in %v s, want %v", c.name, o.FullIn, c.want)
		}
		if seconds := o.seconds(); (seconds == nil) != math.IsInf(c.want, 1) {
			t.Errorf("%s: in JSON %v", c.name, seconds)
		}
	}
}

// A rise by steps, as gossip tells loads: 10 Mbit/s more all ten seconds. The
// slope of a minute of it is that of the line through the steps: exactly
// 1.0 × 3500/3599 of a smooth one.
func TestForecastOfSteps(t *testing.T) {
	o := &outlook{}
	for i := range 60 {
		o.look(evening0.Add(time.Duration(i)*time.Second), float64(i/10)*10e6, 85e6)
	}
	if want := 1e6 * 3500 / 3599; !near(o.Rising, want) || !near(o.FullIn, (85e6-50e6)/want) {
		t.Errorf("rising by %v each second, full in %v", o.Rising, o.FullIn)
	}
}

// The alarm begins once, under 300 s, and ends over 450.
func TestAlarmHasSlack(t *testing.T) {
	const line = 1000e6
	soon := false
	for _, step := range []struct {
		fullIn      float64
		began, soon bool
	}{{301, false, false}, {299, true, true}, {301, false, true}, {450, false, true}, {299, false, true}, {451, false, false}, {400, false, false}, {10, true, true}} {
		o := &outlook{Soon: soon}
		load := line - step.fullIn*1e6
		for i := range 59 { // by 1 Mbit/s each second
			o.trend.add(evening0.Add(time.Duration(i)*time.Second), load+float64(i-59)*1e6)
		}
		began := o.look(evening0.Add(59*time.Second), load, line)
		if soon = o.Soon; !near(o.FullIn, step.fullIn) || began != step.began || soon != step.soon {
			t.Errorf("want %+v: full in %v, alarm %v, began %v", step, o.FullIn, soon, began)
		}
	}
}

func TestUsable(t *testing.T) {
	for _, c := range []struct {
		capacities []float64
		want       float64
	}{
		{nil, 0},
		{[]float64{100}, 85},
		{[]float64{100, 100}, 95},            // each to 47.5 %
		{[]float64{100, 100, 100, 100}, 285}, // 71.25 %
		{[]float64{100, 100, 100, 100, 100, 100, 100, 100, 100, 100}, 850}, // 85.5 % would be kept
		{[]float64{1000, 10}, 404}, // 40 % in any case
		{[]float64{100, 0}, 0},
	} {
		var relays []poolRelay
		for _, capacity := range c.capacities {
			relays = append(relays, poolRelay{capacity: capacity})
		}
		if got := usable(relays); !near(got, c.want) {
			t.Errorf("%v: %v, want %v", c.capacities, got, c.want)
		}
	}
}

func TestRelaysWanted(t *testing.T) {
	four := []poolRelay{{"a", 100e6, 60e6}, {"b", 100e6, 60e6}, {"c", 100e6, 60e6}, {"d", 100e6, 60e6}}
	for _, c := range []struct {
		rising float64 // Mbit/s each second
		want   int
	}{{0, 1}, {0.1, 1}, {0.25, 2}, {0.3, 2}, {1, 7}, {5, 10}, {-1, 1}} {
		p := poolOutlook{outlook: outlook{Rising: c.rising * 1e6, FullIn: 45}, relays: four}
		r := p.report("surgecast")
		if r.RelaysWanted != c.want || r.Relays != 4 || r.LoadBitsPerSecond != 240e6 || r.CapacityBitsPerSecond != 400e6 {
			t.Errorf("rising by %v Mbit/s each second: %+v, want %d more", c.rising, r, c.want)
		}
	}
}

// A pool under 40 % for 15 minutes can do without its emptiest relay, if the
// others still have room for their fullest one then.
func TestSpareRelay(t *testing.T) {
	pool := func(loads ...float64) (relays []poolRelay) {
		for i, load := range loads {
			relays = append(relays, poolRelay{string(rune('a' + i)), 100, load})
		}
		return relays
	}
	for _, c := range []struct {
		name   string
		relays []poolRelay
		want   string
	}{
		{"five at 20 %", pool(20, 20, 10, 30, 20), "c"},
		{"five at 40 %", pool(40, 40, 40, 40, 40), ""},
		{"two stay", pool(0, 0), ""},
		{"three at 35 %: two would be full", pool(35, 35, 35), ""},
		{"three at 28 %", pool(28, 28, 28), "a"},
		{"a capacity is not known", append(pool(1, 1), poolRelay{name: "z"}), ""},
	} {
		if got := dispensable(c.relays); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	s := &spare{}
	at := func(d time.Duration, relays []poolRelay) bool { return s.look(evening0.Add(d), relays) }
	few, many := pool(10, 10, 10), pool(80, 80, 80)
	for _, step := range []struct {
		at    time.Duration
		pool  []poolRelay
		began bool
		name  string
	}{
		{0, few, false, ""},
		{14*time.Minute + 59*time.Second, few, false, ""},
		{15 * time.Minute, few, true, "a"},
		{16 * time.Minute, few, false, "a"},
		{17 * time.Minute, many, false, ""},
		{18 * time.Minute, few, false, ""},
		{32 * time.Minute, few, false, ""},
		{33 * time.Minute, few, true, "a"},
	} {
		if began := at(step.at, step.pool); began != step.began || s.Name != step.name {
			t.Errorf("after %v: %q, began %v", step.at, s.Name, began)
		}
	}
}
