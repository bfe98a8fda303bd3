package main

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// conformance is the table of what a player may rely on, at an origin, a relay
// and a relay of a relay, over HTTP/1.1 and HTTP/2. The numbers are stable
// names.
var conformance = []struct {
	line string
	test func(t *testing.T, recordings []*recording)
}{
	{"line 01 hls-parser takes every list in strict mode", checkStrict},
	{"line 02 own rules where hls-parser has none", everyVersion(checkOwnRules)},
	{"line 03 EXTINF rounds to a constant TARGETDURATION", everyVersion(checkDurations)},
	{"line 04 constants are equal in all lists", checkConstants},
	{"line 05 sequences count what left", everyVersion(checkSequences)},
	{"line 06 one number is one URI and the same bytes everywhere", checkSameEverywhere},
	{"line 07 the window holds three target durations and six segments", everyVersion(checkWindowLength)},
	{"line 08 parts fill PART-TARGET", everyVersion(checkParts)},
	{"line 09 tags stand in their order", everyVersion(checkTagOrder)},
	{"line 10 parts stand in the last three target durations", everyVersion(checkPartsAge)},
	{"line 10 a part stays when its tag is gone", onStage(checkRemovedPart)},
	{"line 11 a removed segment stays its time, then is 404", onStage(checkRemovedSegment)},
	{"line 12 parts one after the other are the segment", everySeat(checkPartsAreSegment)},
	{"line 13 the hint becomes the part", everyVersion(checkHint)},
	{"line 13 no list is late", everySeat(checkSteady)},
	{"line 14 a hinted part is held and comes whole", onStage(checkHintedHeld)},
	{"line 15 an unknown part is 404 at once", onStage(checkUnknownPart)},
	{"line 16 reports name all other lists", checkReports},
	{"line 17 held and woken within 50 ms", onStage(checkSegmentHeld)},
	{"line 18 a part is held and woken within 50 ms", onStage(checkPartHeld)},
	{"line 19 a part beyond a closed segment is the next part 0", onStage(checkPartBeyondSegment)},
	{"line 20 an old segment is answered at once", onStage(checkOldSegment)},
	{"line 21 a part without a segment is refused", onStage(checkPartWithoutSegment)},
	{"line 22 too far ahead is refused at once", onStage(checkTooFarAhead)},
	{"line 23 a stalled source gets 503 after three target durations", onStage(checkStalledSource)},
	{"line 24 the end releases all and ignores directives", onStage(checkEnd)},
	{"line 25 a delta merges to the full list", everySeat(checkDeltas)},
	{"line 26 a delta by v2 keeps all date ranges", onStageOf(30*time.Second, checkDateRanges)},
	{"line 27 junk directives are refused, their order is free", onStage(checkJunk)},
	{"line 28 caches keep each answer as long as they may", onStageOf(30*time.Second, checkCaching)},
	{"line 29 lists are packed, media never", onStage(checkGzip)},
	{"line 30 players of other sites are let in", onStage(checkCORS)},
	{"line 31 a hundred held reloads on one connection do not block media", onStage(checkHeldDoNotBlock)},
	{"line 32 a thousand held reloads are one request upstream", onStage(checkOneUpstreamRequest)},
	{"line 33 who leaves frees its hold", onStage(checkLeavers)},
	{"line 34 fragments go on, of the sizes that they say", everySeat(checkFragments)},
	{"line 35 dates are wall time and do not drift", everySeat(checkDates)},
	{"line 36 sound and picture begin together", everySeat(checkSync)},
	{"line 41 steering names who serves, to those who know them", checkSteering},
	{"line 43 no list makes the reader panic", checkDecoderFuzz},
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 20 s")
	}
	defer goleak.VerifyNone(t)
	var recordings []*recording
	for _, p := range programmes() {
		recordings = append(recordings, record(t, p))
	}
	for _, row := range conformance {
		t.Run(row.line, func(t *testing.T) { row.test(t, recordings) })
	}
}

// programmes are what is recorded for the lines that look at every list.
func programmes() []programme {
	return []programme{
		{name: "29.97 frames/s", lasts: time.Minute, renditions: []string{"main"}, sources: []*origintest.Source{
			{FPS: 29.97, GOP: 60, Audio: true},
		}},
		{name: "three encoders", lasts: time.Minute, renditions: []string{"main"}, sources: []*origintest.Source{
			{FPS: 25, GOP: 25, Audio: true},
			{FPS: 25, GOP: 25, Audio: true, Width: 128},
			{FPS: 25, GOP: 50, Audio: true, Width: 128},
		}},
		{name: "sound apart", lasts: 30 * time.Second, renditions: []string{"main", "audio-0"}, sources: []*origintest.Source{
			{FPS: 25, GOP: 25, Audio: true},
		}, tune: func(c *StreamConfig) { c.Audio = AudioMode(origin.AudioSeparate) }},
		{name: "59.94 frames/s, one key frame", lasts: 20 * time.Second, renditions: []string{"main"}, sources: []*origintest.Source{
			{FPS: 59.94, GOP: -1, Audio: true},
		}},
		{name: "sound alone", lasts: 20 * time.Second, renditions: []string{"main"}, sources: []*origintest.Source{
			{FPS: 48000. / 1024, AudioOnly: true},
		}},
	}
}
