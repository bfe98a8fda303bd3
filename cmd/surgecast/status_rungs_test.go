package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"surgecast/origin"
)

func someRungs() []origin.RungStatus {
	return []origin.RungStatus{
		{Stream: "theatre", Rung: "1080", State: origin.RungLeads, Listed: true, Aligned: 10},
		{Stream: "theatre", Rung: "720", State: origin.RungAligned, Listed: true, By: "the encoder's clock", OffsetSeconds: new(0.0213), Aligned: 9},
		{
			Stream: "theatre", Rung: "360", State: origin.RungMisaligned, By: "the moment it came", OffsetSeconds: new(-0.48),
			Misaligned: 4, LastMisaligned: new(time.Now().Add(-3 * time.Second)),
		},
		{Stream: "theatre", Rung: "180", State: origin.RungAway, Misaligned: 1, LastMisaligned: new(time.Now().Add(-time.Minute))},
		{Stream: "ward", Rung: "top", State: origin.RungLeads, Listed: true},
		{Stream: "ward", Rung: "low", State: origin.RungWaits},
	}
}

func TestStatusShowsRungs(t *testing.T) {
	s := &poolStatus{Nodes: []nodeStatus{{Name: "bbbbbbbbcccc", Role: "origin", Rungs: someRungs()}}}
	var out bytes.Buffer
	if err := s.writeRungs(&out, terminal{}); err != nil {
		t.Fatal(err)
	}
	want := `
theatre/1080  rung leads
theatre/720  rung aligned with 1080 by the encoder's clock, key frames +21 ms off
! theatre/360  rung is not aligned with 1080, key frames -480 ms off, missed 4 times, the last 3s ago; not listed
theatre/180  rung away, missed 1 time, the last 1m0s ago; not listed

ward/top  rung leads
ward/low  rung waits; not listed
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}

func TestMetricsOfRungs(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&rungMetrics{someRungs})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() { // labels are in the order of their names
			got[family.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"surgecast_rung_listed 1080": 1, "surgecast_rung_aligned 1080": 1, "surgecast_rung_misaligned_total 1080": 0,
		"surgecast_rung_listed 720": 1, "surgecast_rung_aligned 720": 1, "surgecast_rung_misaligned_total 720": 0, "surgecast_rung_offset_seconds 720": 0.0213,
		"surgecast_rung_listed 360": 0, "surgecast_rung_aligned 360": 0, "surgecast_rung_misaligned_total 360": 4, "surgecast_rung_offset_seconds 360": -0.48,
		"surgecast_rung_listed 180": 0, "surgecast_rung_misaligned_total 180": 1,
		"surgecast_rung_listed top": 1, "surgecast_rung_aligned top": 1, "surgecast_rung_misaligned_total top": 0,
		"surgecast_rung_listed low": 0, "surgecast_rung_aligned low": 0, "surgecast_rung_misaligned_total low": 0,
	}
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %v, want %v", name, v, value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}
