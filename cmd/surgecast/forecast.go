package main

import (
	"math"
	"time"
)

// trend is the course of a load over the last minute.
type trend struct {
	at   [trendSamples]float64 // seconds since the first sample
	load [trendSamples]float64 // bits/s
	from time.Time
	n    int // samples so far
}

const (
	// trendSamples at one a second are a minute: less shows who comes and goes,
	// more shows a crowd too late.
	trendSamples = 60
	// leastSamples is below which a slope is chance.
	leastSamples = 10
)

// add notes the load at a moment.
func (t *trend) add(now time.Time, bitsPerSecond float64) {
	if t.n == 0 {
		t.from = now
	}
	t.at[t.n%trendSamples], t.load[t.n%trendSamples] = now.Sub(t.from).Seconds(), bitsPerSecond
	t.n++
}

// slope is by how much the load rises, in bits/s each second: that of the line
// with the least squares. 0 while nothing can be said.
func (t *trend) slope() float64 {
	n := min(t.n, trendSamples)
	if n < leastSamples {
		return 0
	}
	var at, load float64
	for i := range n {
		at += t.at[i] / float64(n)
		load += t.load[i] / float64(n)
	}
	var covariance, variance float64
	for i := range n {
		covariance += (t.at[i] - at) * (t.load[i] - load)
		variance += (t.at[i] - at) * (t.at[i] - at)
	}
	if variance == 0 {
		return 0
	}
	return covariance / variance
}

// outlook tells when a load will reach a line.
type outlook struct {
	trend trend

	FullIn float64 // seconds; 0: now; +Inf: not within an hour
	Rising float64 // bits/s each second
	Soon   bool    // the alarm: there is little time
}

const (
	// farthest is as far as the slope of a minute is worth looking.
	farthest = time.Hour
	// soonUnder is about the time that it takes to clone a machine and to have
	// it listed, with some room; the alarm ends over soonOver.
	soonUnder = 300 * time.Second
	soonOver  = 450 * time.Second
)

// look notes the load as of now against the line, both in bits/s; a line of 0
// is none. began tells that the alarm begins with this.
func (o *outlook) look(now time.Time, load, line float64) (began bool) {
	o.trend.add(now, load)
	o.Rising, o.FullIn = o.trend.slope(), math.Inf(1)
	switch {
	case line == 0:
	case load >= line:
		o.FullIn = 0
	case o.Rising > 0 && (line-load)/o.Rising < farthest.Seconds():
		o.FullIn = (line - load) / o.Rising
	}
	was := o.Soon
	o.Soon = o.FullIn < soonUnder.Seconds() || was && o.FullIn <= soonOver.Seconds()
	return o.Soon && !was
}

// seconds is FullIn for JSON, which knows no infinity: nil.
func (o *outlook) seconds() *float64 {
	if math.IsInf(o.FullIn, 1) {
		return nil
	}
	return &o.FullIn
}
