package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"surgecast/origin"
)

func TestStatusShowsFeeds(t *testing.T) {
	s := &poolStatus{Nodes: []nodeStatus{{Name: "aaaaaaaabbbb", Role: "relay"}, {Name: "bbbbbbbbcccc", Role: "origin", Feeds: []origin.Feed{
		{
			Stream: "theatre", Protocol: "RTSP", Transport: "UDP", Remote: "192.0.2.1:4000", Codecs: []string{"H265", "Opus"},
			Since: time.Now().Add(-time.Minute), Broadcaster: "van", LostPackets: 1, Notes: []string{"H.265 plays in few places"},
			Health: origin.Health{
				BitsPerSecond: 4_020_000, FrameRate: 25, GOPSeconds: 1, KeyFrameAgeSeconds: 0.4, JitterSeconds: 0.003, RTTSeconds: new(0.012),
				ResentPackets: 7, DroppedPackets: 2, DriftPPM: new(-12.0), DriftSeconds: new(-0.003), AVOffsetSeconds: new(0.02), QueuedBytes: 1000,
			},
			Alarms: []origin.Alarm{{Name: "silent_sound", Since: time.Now().Add(-12 * time.Second), Text: "the sound may be silent"}},
		},
		{Stream: "ward", Protocol: "RTSPS", Transport: "TCP", Remote: "192.0.2.2:4000", Codecs: []string{"H264", "H264"}, Rungs: []string{"top", "low"}, Since: time.Now().Add(-time.Hour), Standing: &origin.Standing{Input: origin.Primary, OnAir: true}},
		{Stream: "ward", Branch: "backup", Protocol: "SRT", Transport: "UDP", Remote: "192.0.2.3:4000", Codecs: []string{"H264"}, Since: time.Now().Add(-time.Hour), Standing: &origin.Standing{Input: origin.Backup, Bytes: origin.SameYes, BehindSeconds: 0.1204}},
		{Stream: "yard", Protocol: "SRT", Transport: "UDP", Remote: "192.0.2.3:4000", Codecs: []string{"H264"}, Since: time.Now().Add(-time.Hour), Standing: &origin.Standing{Input: origin.Primary, Bytes: origin.SameNo}},
	}}}}
	var out bytes.Buffer
	if err := s.writeFeeds(&out, terminal{}); err != nil {
		t.Fatal(err)
	}
	want := `
theatre  RTSP UDP from 192.0.2.1:4000, H265 and Opus, for 1m0s, by van; 1 packet lost, 0 units damaged, 0 packets refused
  4.02 Mbit/s, 25 frames/s, GOP 1.0 s, key frame 0.4 s ago, jitter 3 ms, round trip 12 ms, 7 packets resent, 2 too late, clock -12 ppm, -3 ms so far, sound +20 ms to the picture, queue 1 kB
! silent_sound, for 12s: the sound may be silent
! H.265 plays in few places

ward  RTSPS TCP from 192.0.2.2:4000, H264 and H264, for 1h0m0s, its pictures are top, low, on air
  0.00 Mbit/s, jitter 0 ms, queue 0 kB

ward/backup  SRT UDP from 192.0.2.3:4000, H264, for 1h0m0s, stands by with the same bytes, +120 ms
  0.00 Mbit/s, jitter 0 ms, queue 0 kB

yard  SRT UDP from 192.0.2.3:4000, H264, for 1h0m0s, stands by with other bytes
  0.00 Mbit/s, jitter 0 ms, queue 0 kB
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}

// While an encoder is changed there are two feeds on one input: the scrape has
// the newer one, and what can't be known is not there.
func TestMetricsOfFeeds(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&feedMetrics{func() []origin.Feed {
		return []origin.Feed{
			{Stream: "theatre", Health: origin.Health{BitsPerSecond: 1}},
			{Stream: "theatre", Health: origin.Health{BitsPerSecond: 2}, Alarms: []origin.Alarm{{Name: "no_sound"}}},
			{Stream: "theatre", Branch: "backup", Health: origin.Health{BitsPerSecond: 3, RTTSeconds: new(0.5)}},
		}
	}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"surgecast_feed_bits_per_second primary": 2, "surgecast_feed_bits_per_second backup": 3,
		"surgecast_feed_alarms primary": 1, "surgecast_feed_rtt_seconds backup": 0.5,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if _, ok := got["surgecast_feed_rtt_seconds primary"]; ok {
		t.Error("a round trip that nobody knows")
	}
}
