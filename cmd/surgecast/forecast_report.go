package main

import (
	"math"
	"strconv"
	"time"
)

// forecastReport is what a hook is told: JSON for a webhook, and for a command
// the same in its environment.
type forecastReport struct {
	Pool                  string  `json:"pool"`                     // SURGECAST_POOL
	FullInSeconds         float64 `json:"full_in_seconds"`          // SURGECAST_FULL_IN_SECONDS, whole ones
	Relays                int     `json:"relays"`                   // SURGECAST_RELAYS: that deliver
	RelaysWanted          int     `json:"relays_wanted"`            // SURGECAST_RELAYS_WANTED: how many more
	LoadBitsPerSecond     float64 `json:"load_bits_per_second"`     // SURGECAST_LOAD_BITS_PER_SECOND
	CapacityBitsPerSecond float64 `json:"capacity_bits_per_second"` // SURGECAST_CAPACITY_BITS_PER_SECOND
}

// wantedFor is how far ahead relays are asked for, and mostWanted bounds what a
// slope that is mistaken can cost.
const (
	wantedFor  = 10 * time.Minute
	mostWanted = 10
)

// report says how many relays of the pool's mean size it takes for the load that
// is to be expected in ten minutes.
func (p *poolOutlook) report(pool string) forecastReport {
	r := forecastReport{Pool: pool, FullInSeconds: p.FullIn, Relays: len(p.relays)}
	for _, one := range p.relays {
		r.LoadBitsPerSecond += one.load
		r.CapacityBitsPerSecond += one.capacity
	}
	missing := r.LoadBitsPerSecond + max(p.Rising, 0)*wantedFor.Seconds() - usable(p.relays)
	mean := r.CapacityBitsPerSecond / float64(max(r.Relays, 1))
	r.RelaysWanted = int(min(max(math.Ceil(missing/max(mean*usableMost, 1)), 1), mostWanted))
	return r
}

// environment is the report for a command.
func (r forecastReport) environment() []string {
	whole := func(f float64) string { return strconv.FormatFloat(math.Round(f), 'f', 0, 64) }
	return []string{
		"SURGECAST_POOL=" + r.Pool,
		"SURGECAST_FULL_IN_SECONDS=" + whole(r.FullInSeconds),
		"SURGECAST_RELAYS=" + strconv.Itoa(r.Relays),
		"SURGECAST_RELAYS_WANTED=" + strconv.Itoa(r.RelaysWanted),
		"SURGECAST_LOAD_BITS_PER_SECOND=" + whole(r.LoadBitsPerSecond),
		"SURGECAST_CAPACITY_BITS_PER_SECOND=" + whole(r.CapacityBitsPerSecond),
	}
}
