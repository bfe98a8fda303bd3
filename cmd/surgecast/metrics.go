package main

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"

	"surgecast/cluster"
)

// metric is one family of the Prometheus text format.
type metric struct {
	name, kind, help string
	samples          []sample
}

type sample struct {
	labels string // as they stand in the format: {state="serving"}
	value  float64
}

func one(value float64) []sample { return []sample{{value: value}} }

// metrics serves what is asked of a node over time. Each family answers one
// question, which its help says; labels never hold a viewer or a URL.
func (n *node) metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		for _, m := range n.families() {
			m.write(w)
		}
	})
}

func (n *node) families() []metric {
	own, load := n.ownStatus(), n.load.Snapshot()
	families := []metric{
		{"surgecast_node", "gauge", "Which node is this, and what is it doing? Always 1.", []sample{{
			labels: fmt.Sprintf("{name=%q,role=%q,state=%q,version=%q}", own.Name, own.Role, own.State, own.Version), value: 1,
		}}},
		{"surgecast_uptime_seconds", "gauge", "How long has it been running?", one(own.UptimeSeconds)},
		{"surgecast_viewers", "gauge", "How many are watching here? Media seconds sent per second.", one(load.Viewers)},
		{"surgecast_sent_bytes_total", "counter", "How much does it send? To viewers and to other nodes.", one(float64(load.Total.Bytes))},
		{"surgecast_requests_total", "counter", "How often is it asked?", one(float64(load.Total.Requests))},
		{"surgecast_capacity_bits_per_second", "gauge", "How much could it send? 0: not known.", one(float64(n.config.Capacity))},
		{"surgecast_isolated", "gauge", "Is it alone? 1 while no other node is seen.", one(bit(n.cluster.Isolated()))},
		{"surgecast_members", "gauge", "Who is in the pool, as this node sees it?", countMembers(n.cluster.Members())},
		{"surgecast_goroutines", "gauge", "Does anything leak?", one(float64(runtime.NumGoroutine()))},
	}
	if own.LagSeconds != nil {
		families = append(families, metric{"surgecast_lag_seconds", "gauge", "Is it late? Age of the newest media, of the stream farthest behind.", one(*own.LagSeconds)})
	}
	return families
}

// countMembers counts by role and state; each pair occurs, so that a graph
// shows a zero and not a gap.
func countMembers(members []cluster.Member) []sample {
	var samples []sample
	for _, role := range []cluster.Role{cluster.RoleOrigin, cluster.RoleRelay} {
		for _, status := range []cluster.Status{cluster.StatusJoining, cluster.StatusWarming, cluster.StatusServing, cluster.StatusDraining} {
			count := 0
			for _, m := range members {
				if m.State.Role == role && m.State.Status == status {
					count++
				}
			}
			samples = append(samples, sample{fmt.Sprintf("{role=%q,state=%q}", role, status), float64(count)})
		}
	}
	return samples
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// write writes the family; the asker's leaving is nobody's concern.
func (m metric) write(w io.Writer) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
	for _, s := range m.samples {
		fmt.Fprintf(w, "%s%s %s\n", m.name, s.labels, strconv.FormatFloat(s.value, 'g', -1, 64))
	}
}
