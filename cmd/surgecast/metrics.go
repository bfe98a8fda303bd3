package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"surgecast/cluster"
	"surgecast/relay"
)

// metrics serves what is asked of a node over time. Each metric answers one
// question, which its help says; labels never hold a viewer or a URL.
func (n *node) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("surgecast_viewers", "How many are watching here? Media seconds sent per second.",
			func() float64 { return n.load.Snapshot().Viewers }),
		total("surgecast_sent_bytes_total", "How much does it send, to viewers and to other nodes?",
			func(t relay.LoadTotals) int64 { return t.Bytes }, n.load),
		total("surgecast_requests_total", "How often is it asked?",
			func(t relay.LoadTotals) int64 { return t.Requests }, n.load),
		gauge("surgecast_capacity_bits_per_second", "How much could it send? 0: not known.",
			func() float64 { return float64(n.headroom.known) }),
		gauge("surgecast_isolated", "Is it alone? 1 while it knows of other nodes and sees none.",
			func() float64 { return bit(n.cluster.Isolated()) }),
		gauge("surgecast_clone", "Did it find at its start that its disk is a copy of another machine's? 1 or 0.",
			func() float64 { return bit(n.kin.CloneOf.IsValid()) }),
		gauge("surgecast_clock_offset_seconds", "How far is the machine's clock ahead of the pool's? Measured each 10 minutes.",
			func() float64 { return n.clock.Offset().Seconds() }),
		counter("surgecast_renames_total", "How often did it find that another node has its name?",
			func() float64 { return float64(n.cluster.Renames()) }),
		counter("surgecast_join_tries_total", "How often did it ask a node to let it join?",
			func() float64 { return float64(n.cluster.Joins().Tried) }),
		counter("surgecast_join_failures_total", "How often was there no answer to that, or one in another key?",
			func() float64 { return float64(n.cluster.Joins().Failed) }),
		gauge("surgecast_connections", "How many connections of viewers and relays are there?",
			func() float64 { return float64(n.gate.Snapshot().Connections) }),
		gauge("surgecast_connections_limit", "How many can there be?",
			func() float64 { return float64(n.gate.Snapshot().Seats) }),
		counter("surgecast_connections_refused_total", "How many were turned away, since no seat or descriptor was free?",
			func() float64 { return float64(n.gate.Snapshot().Refused) }),
		counter("surgecast_connections_purged_total", "How many idle ones were closed to make room?",
			func() float64 { return float64(n.gate.Snapshot().Purged) }),
		gauge("surgecast_tier", "How many hops do its media come from the origin? 0 on an origin, and while there are none.",
			func() float64 { return float64(n.tier()) }),
		gauge("surgecast_children", "How many other nodes does it feed?",
			func() float64 { return float64(n.slots.Room().Used) }),
		gauge("surgecast_children_limit", "How many would it feed?",
			func() float64 { return float64(n.slots.Room().Best) }),
		&lateness{n.store},
		&membership{n.cluster.Members},
		&health{n},
	)
	if n.dvr != nil {
		registry.MustRegister(gauge("surgecast_dvr_bytes", "How much does it keep on disk for looking back?",
			func() float64 { return float64(n.dvr.Usage().Bytes) }))
	}
	if n.dns != nil {
		registry.MustRegister(dnsMetrics(n.dns)...)
	}
	if n.inputs != nil {
		registry.MustRegister(n.inputs)
	}
	if n.journal != nil {
		registry.MustRegister(counter("surgecast_media_journal_failures_total",
			"How often did the disk begin to refuse the live lists, by which a restart goes on?",
			func() float64 { return float64(n.journal()) }))
	}
	registry.MustRegister(n.headroomMetrics()...)
	if n.feeds != nil {
		registry.MustRegister(&feedMetrics{n.feeds}, &rungMetrics{n.rungs})
	}
	if n.follower != nil {
		registry.MustRegister(counter("surgecast_parent_switches_total", "How often did it change the node that feeds it?",
			func() float64 { return float64(n.follower.Switches()) }))
	}
	if n.tls != nil {
		registry.MustRegister(gauge("surgecast_certificate_expiry_seconds", "When does the certificate end? Unix time.",
			func() float64 { return float64(n.tls.Certificate().Expires().Unix()) }))
	}
	labels := prometheus.Labels{"role": string(n.role), "version": version()}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "surgecast_info", Help: "What is it? Always 1.", ConstLabels: labels,
	}, func() float64 { return 1 }))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func total(name, help string, pick func(relay.LoadTotals) int64, load *relay.Load) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
		func() float64 { return float64(pick(load.Snapshot().Total)) })
}

func counter(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// lateness tells how old the newest media is; nothing while there is none, for
// a zero would say that all is well.
type lateness struct{ store *relay.Store }

var lagDesc = prometheus.NewDesc("surgecast_lag_seconds",
	"Is it late? Age of the newest media, of the stream that is farthest behind.", nil, nil)

// Describe is of prometheus.Collector.
func (*lateness) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- lagDesc }

// Collect is of prometheus.Collector.
func (l *lateness) Collect(metrics chan<- prometheus.Metric) {
	if lag, ok := l.store.Lag(); ok {
		metrics <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, lag.Seconds())
	}
}

// membership counts the pool by role and state. Each pair occurs, so that a
// graph shows a zero and not a gap.
type membership struct{ members func() []cluster.Member }

var membersDesc = prometheus.NewDesc("surgecast_members",
	"Who is in the pool, as this node sees it?", []string{"role", "state"}, nil)

// Describe is of prometheus.Collector.
func (*membership) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- membersDesc }

// Collect is of prometheus.Collector.
func (m *membership) Collect(metrics chan<- prometheus.Metric) {
	type pair struct {
		role   cluster.Role
		status cluster.Status
	}
	counts := map[pair]int{}
	for _, one := range m.members() {
		counts[pair{one.State.Role, one.State.Status}]++
	}
	for _, role := range []cluster.Role{cluster.RoleOrigin, cluster.RoleRelay, cluster.RoleNameServer} {
		for _, status := range cluster.Statuses {
			metrics <- prometheus.MustNewConstMetric(membersDesc, prometheus.GaugeValue,
				float64(counts[pair{role, status}]), string(role), string(status))
		}
	}
}
