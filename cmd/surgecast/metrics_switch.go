package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"surgecast/origin"
)

// inputMetrics tell which input of each stream is on air, and how it came there.
type inputMetrics struct {
	feeds    func() []origin.Feed
	switches func() map[string]map[origin.SwitchCount]int64
}

var (
	onAirDesc = prometheus.NewDesc("surgecast_input_on_air",
		"Which input is published? 1 for the one on air, 0 for one that stands by.", []string{"stream", "input"}, nil)
	sameBytesDesc = prometheus.NewDesc("surgecast_input_same_bytes",
		"Can the input that stands by take over without a trace? 1 or 0.", []string{"stream", "input"}, nil)
	behindDesc = prometheus.NewDesc("surgecast_input_behind_seconds",
		"How much later than those on air do its units come? Of an input with the same bytes.", []string{"stream", "input"}, nil)
	switchesDesc = prometheus.NewDesc("surgecast_input_switches_total",
		"How often went an input on air in the place of the other, and why?", []string{"stream", "input", "trigger", "hitless"}, nil)
)

// Describe is of prometheus.Collector.
func (*inputMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{onAirDesc, sameBytesDesc, behindDesc, switchesDesc} {
		descriptions <- d
	}
}

// Collect is of prometheus.Collector.
func (m *inputMetrics) Collect(metrics chan<- prometheus.Metric) {
	seen := map[[2]string]bool{} // an encoder that was replaced may still be leaving
	for _, f := range m.feeds() {
		if f.Standing == nil || f.Standing.Gone || seen[[2]string{f.Stream, string(f.Standing.Input)}] {
			continue
		}
		seen[[2]string{f.Stream, string(f.Standing.Input)}] = true
		value := func(d *prometheus.Desc, v float64) {
			metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, f.Stream, string(f.Standing.Input))
		}
		value(onAirDesc, bit(f.Standing.OnAir))
		if !f.Standing.OnAir {
			value(sameBytesDesc, bit(f.Standing.Bytes == origin.SameYes && !f.Standing.Silent))
		}
		if f.Standing.Bytes == origin.SameYes {
			value(behindDesc, f.Standing.BehindSeconds)
		}
	}
	for stream, counts := range m.switches() {
		for how, n := range counts {
			metrics <- prometheus.MustNewConstMetric(switchesDesc, prometheus.CounterValue, float64(n),
				stream, string(how.To), string(how.Trigger), strconv.FormatBool(how.Hitless))
		}
	}
}
