package main

import (
	"sync"
	"testing"
)

// longEvening is a test that mostly waits, in real time, and is held to seconds.
type longEvening struct {
	name string
	test func(t *testing.T)
}

// longEvenings are three rows beside each other, the tests of a row one after the
// other. Conformance takes eleven minutes and is work only in the first one and at
// the end; the other rows are filled up to as much.
var longEvenings = [][]longEvening{
	{{"Conformance", watchConformance}},
	{{"RelayCutOff", testRelayCutOff}, {"LossInARealPlayer", testLossInARealPlayer}, {"ArrivalInAGap", testArrivalInAGap}},
	{
		{"FFmpegPushesAndReads", pushAndRead},
		{"Partition", testPartition},
		{"GossipAndDNSKilled", testGossipAndDNSKilled},
		{"DrainByOrder", testDrainByOrder},
		{"KilledOriginInARealPlayer", testKilledOriginInARealPlayer},
	},
}

// TestLongEvenings is what make prove runs side by side: a machine of two cores is
// then half busy. What is held to less than a second is not among them, and runs
// alone. Stories on fake time are nothing but work, and come last, as many at once as
// there are cores.
func TestLongEvenings(t *testing.T) {
	if !proving() {
		t.Skip("takes eleven minutes: make prove runs it")
	}
	// Not by t.Parallel, which is for as many as there are cores, in any order.
	var rows sync.WaitGroup
	for _, row := range longEvenings {
		rows.Go(func() {
			for _, e := range row {
				t.Run(e.name, e.test)
			}
		})
	}
	rows.Wait()
}
