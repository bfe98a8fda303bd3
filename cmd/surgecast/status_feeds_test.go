package main

import (
	"bytes"
	"testing"
	"time"

	"surgecast/origin"
)

func TestStatusShowsFeeds(t *testing.T) {
	s := &poolStatus{Nodes: []nodeStatus{{Name: "aaaaaaaabbbb", Role: "relay"}, {Name: "bbbbbbbbcccc", Role: "origin", Feeds: []origin.Feed{
		{
			Stream: "theatre", Protocol: "RTSP", Transport: "UDP", Remote: "192.0.2.1:4000", Codecs: []string{"H265", "Opus"},
			Since: time.Now().Add(-time.Minute), Broadcaster: "van", LostPackets: 1, Notes: []string{"H.265 plays in few places"},
		},
		{Stream: "ward", Protocol: "RTSPS", Transport: "TCP", Remote: "192.0.2.2:4000", Codecs: []string{"H264"}, Since: time.Now().Add(-time.Hour), Standing: &origin.Standing{Input: origin.Primary, OnAir: true}},
		{Stream: "ward", Branch: "backup", Protocol: "SRT", Transport: "UDP", Remote: "192.0.2.3:4000", Codecs: []string{"H264"}, Since: time.Now().Add(-time.Hour), Standing: &origin.Standing{Input: origin.Backup, Bytes: origin.SameYes, BehindSeconds: 0.1204}},
		{Stream: "yard", Protocol: "SRT", Transport: "UDP", Remote: "192.0.2.3:4000", Codecs: []string{"H264"}, Since: time.Now().Add(-time.Hour), Standing: &origin.Standing{Input: origin.Primary, Bytes: origin.SameNo}},
	}}}}
	var out bytes.Buffer
	if err := s.writeFeeds(&out, terminal{}); err != nil {
		t.Fatal(err)
	}
	want := `
theatre  RTSP UDP from 192.0.2.1:4000, H265 and Opus, for 1m0s, by van; 1 packet lost, 0 units damaged, 0 packets refused
! H.265 plays in few places

ward  RTSPS TCP from 192.0.2.2:4000, H264, for 1h0m0s, on air

ward/backup  SRT UDP from 192.0.2.3:4000, H264, for 1h0m0s, stands by with the same bytes, +120 ms

yard  SRT UDP from 192.0.2.3:4000, H264, for 1h0m0s, stands by with other bytes
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}
