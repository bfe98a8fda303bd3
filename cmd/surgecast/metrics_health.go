package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"surgecast/cluster"
)

// health tells what the node's probes find, and what the pool makes of it.
type health struct{ node *node }

var (
	probesDesc = prometheus.NewDesc("surgecast_probes_total",
		"How did the relays that this node probes answer?", []string{"result"}, nil)
	probedDesc = prometheus.NewDesc("surgecast_probed_relays",
		"What does this node think of the relays that it probes?", []string{"opinion"}, nil)
	withdrawnDesc = prometheus.NewDesc("surgecast_withdrawn_relays",
		"How many relays in the pool say that they serve, and are found not to?", nil, nil)
	doubtDesc = prometheus.NewDesc("surgecast_doubt",
		"Is it cut off itself, perhaps? 1 while it leaves verdicts to others, since it lost many relays at once.", nil, nil)
)

// Describe is of prometheus.Collector.
func (*health) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{probesDesc, probedDesc, withdrawnDesc, doubtDesc} {
		descriptions <- d
	}
}

// Collect is of prometheus.Collector. Each result occurs, so that a graph shows
// a zero and not a gap.
func (h *health) Collect(metrics chan<- prometheus.Metric) {
	found := h.node.prober.Snapshot()
	count := func(f cluster.Failure, result string) {
		metrics <- prometheus.MustNewConstMetric(probesDesc, prometheus.CounterValue, float64(found.Results[f]), result)
	}
	count("", "ok")
	for _, f := range cluster.Failures {
		count(f, string(f))
	}
	value := func(d *prometheus.Desc, v float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	value(probedDesc, float64(found.Up), string(cluster.OpinionUp))
	value(probedDesc, float64(found.Down), string(cluster.OpinionDown))
	withdrawn := 0
	for _, m := range cluster.Serving(h.node.cluster.Members()) {
		if !h.node.healthy(m) {
			withdrawn++
		}
	}
	value(withdrawnDesc, float64(withdrawn))
	value(doubtDesc, bit(found.Doubt))
}
