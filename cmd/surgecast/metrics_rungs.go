package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"surgecast/origin"
)

// rungMetrics tell how the rungs of each stream lie to the one that leads.
type rungMetrics struct{ rungs func() []origin.RungStatus }

var (
	rungListedDesc = prometheus.NewDesc("surgecast_rung_listed",
		"Is it in the multivariant playlist? 1 or 0.", []string{"stream", "rung"}, nil)
	rungAlignedDesc = prometheus.NewDesc("surgecast_rung_aligned",
		"Are its key frames where those of the leading rung are? 1 or 0, of a rung that is published.", []string{"stream", "rung"}, nil)
	rungOffsetDesc = prometheus.NewDesc("surgecast_rung_offset_seconds",
		"How much later than the nearest of the leading rung is its newest key frame?", []string{"stream", "rung"}, nil)
	rungMisalignedDesc = prometheus.NewDesc("surgecast_rung_misaligned_total",
		"How often was a key frame missing where the leading rung had one, or had no counterpart?", []string{"stream", "rung"}, nil)
)

// Describe is of prometheus.Collector.
func (*rungMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{rungListedDesc, rungAlignedDesc, rungOffsetDesc, rungMisalignedDesc} {
		descriptions <- d
	}
}

// Collect is of prometheus.Collector.
func (m *rungMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, r := range m.rungs() {
		value := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			metrics <- prometheus.MustNewConstMetric(d, kind, v, r.Stream, r.Rung)
		}
		value(rungListedDesc, prometheus.GaugeValue, bit(r.Listed))
		value(rungMisalignedDesc, prometheus.CounterValue, float64(r.Misaligned))
		if r.State != origin.RungAway {
			value(rungAlignedDesc, prometheus.GaugeValue, bit(r.State == origin.RungLeads || r.State == origin.RungAligned))
		}
		if r.OffsetSeconds != nil {
			value(rungOffsetDesc, prometheus.GaugeValue, *r.OffsetSeconds)
		}
	}
}
