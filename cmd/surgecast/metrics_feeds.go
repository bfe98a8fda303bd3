package main

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"surgecast/origin"
)

// feedMetrics tell how the feeds of an origin are. Of two on one input, as while
// an encoder is changed, the newer is told.
type feedMetrics struct{ feeds func() []origin.Feed }

// feedMetric is one figure of a feed; value is nil while it can't be known.
type feedMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(f *origin.Feed) *float64
}

func newFeedMetric(name, help string, kind prometheus.ValueType, value func(f *origin.Feed) *float64) feedMetric {
	return feedMetric{prometheus.NewDesc("surgecast_feed_"+name, help, []string{"stream", "input"}, nil), kind, value}
}

var feedFigures = []feedMetric{
	newFeedMetric("alarms", "How many alarms are on? surgecast status names them.", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return new(float64(len(f.Alarms))) }),
	newFeedMetric("bits_per_second", "How much comes in?", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return &f.Health.BitsPerSecond }),
	newFeedMetric("frame_rate", "How many pictures a second, by the encoder's clock?", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return &f.Health.FrameRate }),
	newFeedMetric("gop_seconds", "How long is it from one key frame to the next?", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return &f.Health.GOPSeconds }),
	newFeedMetric("key_frame_age_seconds", "How old is the newest key frame?", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return &f.Health.KeyFrameAgeSeconds }),
	newFeedMetric("jitter_seconds", "How unevenly does it come? RFC 3550.", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return &f.Health.JitterSeconds }),
	newFeedMetric("rtt_seconds", "How far is the encoder? Round trip, by SRT and TCP.", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return f.Health.RTTSeconds }),
	newFeedMetric("queue_bytes", "Does the origin keep up? The most that waited.", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return new(float64(f.Health.QueuedBytes)) }),
	newFeedMetric("clock_drift_ratio", "How much faster is the encoder's clock than ours? 1e-6 is 1 ppm.", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 {
			if f.Health.DriftPPM == nil {
				return nil
			}
			return new(*f.Health.DriftPPM / 1e6)
		}),
	newFeedMetric("av_offset_seconds", "How much later than its picture does the sound come in?", prometheus.GaugeValue,
		func(f *origin.Feed) *float64 { return f.Health.AVOffsetSeconds }),
	newFeedMetric("lost_total", "How many packets were lost, and units damaged, since it connected?", prometheus.CounterValue,
		func(f *origin.Feed) *float64 {
			return new(float64(f.LostPackets + f.DamagedUnits + f.Health.DroppedPackets))
		}),
}

// Describe is of prometheus.Collector.
func (*feedMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, m := range feedFigures {
		descriptions <- m.desc
	}
}

// Collect is of prometheus.Collector.
func (m *feedMetrics) Collect(metrics chan<- prometheus.Metric) {
	type input struct{ stream, branch string }
	newest := map[input]*origin.Feed{}
	for _, f := range m.feeds() { // by age, the newest last
		newest[input{f.Stream, f.Branch}] = &f
	}
	for at, f := range newest {
		for _, figure := range feedFigures {
			if value := figure.value(f); value != nil {
				metrics <- prometheus.MustNewConstMetric(figure.desc, figure.kind, *value, at.stream, cmp.Or(at.branch, string(origin.Primary)))
			}
		}
	}
}
