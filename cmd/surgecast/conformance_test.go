package main

import (
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// conformanceLine is a promise: either of all that was recorded, or of what is
// asked on a running stage.
type conformanceLine struct {
	line string
	test func(t *testing.T, recordings []*recording)

	act    func(t testing.TB, st *stage)
	window time.Duration // of the stage; 0 for stageWindow
	turn   turn
}

// conformance is the table of what a player may rely on, at an origin, a relay
// and a relay of a relay, over HTTP/1.1 and HTTP/2. The numbers are stable
// names.
var conformance = []conformanceLine{
	{line: "line 01 hls-parser takes every list in strict mode", test: checkStrict},
	{line: "line 02 own rules where hls-parser has none", test: everyVersion(checkOwnRules)},
	{line: "line 03 EXTINF rounds to a constant TARGETDURATION", test: everyVersion(checkDurations)},
	{line: "line 04 constants are equal in all lists", test: checkConstants},
	{line: "line 05 sequences count what left", test: everyVersion(checkSequences)},
	{line: "line 06 one number is one URI and the same bytes everywhere", test: checkSameEverywhere},
	{line: "line 07 the window holds three target durations and six segments", test: everyVersion(checkWindowLength)},
	{line: "line 08 parts fill PART-TARGET", test: everyVersion(checkParts)},
	{line: "line 09 tags stand in their order", test: everyVersion(checkTagOrder)},
	{line: "line 10 parts stand in the last three target durations", test: everyVersion(checkPartsAge)},
	{line: "line 10 a part stays when its tag is gone", act: checkRemovedPart},
	{line: "line 11 a removed segment stays its time, then is 404", act: checkRemovedSegment},
	{line: "line 12 parts one after the other are the segment", test: everySeat(checkPartsAreSegment)},
	{line: "line 13 the hint becomes the part", test: everyVersion(checkHint)},
	{line: "line 13 no list is late", test: everySeat(checkSteady)},
	{line: "line 14 a hinted part is held and comes whole", act: checkHintedHeld},
	{line: "line 15 an unknown part is 404 at once", act: checkUnknownPart},
	{line: "line 16 reports name all other lists", test: checkReports},
	{line: "line 17 held and woken within 50 ms", act: checkSegmentHeld},
	{line: "line 18 a part is held and woken within 50 ms", act: checkPartHeld},
	{line: "line 19 a part beyond a closed segment is the next part 0", act: checkPartBeyondSegment},
	{line: "line 20 an old segment is answered at once", act: checkOldSegment},
	{line: "line 21 a part without a segment is refused", act: checkPartWithoutSegment},
	{line: "line 22 too far ahead is refused at once", act: checkTooFarAhead},
	{line: "line 23 a stalled source gets 503 after three target durations", act: checkStalledSource, turn: feedComesBack},
	{line: "line 24 the end releases all and ignores directives", act: checkEnd, turn: streamEnds},
	{line: "line 25 a delta merges to the full list", test: everySeat(checkDeltas)},
	{line: "line 26 a delta by v2 keeps all date ranges", act: checkDateRanges, window: 30 * time.Second},
	{line: "line 27 junk directives are refused, their order is free", act: checkJunk},
	{line: "line 28 caches keep each answer as long as they may", act: checkCaching, window: 30 * time.Second, turn: feedEnds},
	{line: "line 29 lists are packed, media never", act: checkGzip},
	{line: "line 30 players of other sites are let in", act: checkCORS},
	{line: "line 31 a hundred held reloads on one connection do not block media", act: checkHeldDoNotBlock, turn: feedEnds},
	{line: "line 32 a thousand held reloads are one request upstream", act: checkOneUpstreamRequest},
	{line: "line 33 who leaves frees its hold", act: checkLeavers, turn: feedEnds},
	{line: "line 34 fragments go on, of the sizes that they say", test: everySeat(checkFragments)},
	{line: "line 35 dates are wall time and do not drift", test: everySeat(checkDates)},
	{line: "line 36 sound and picture begin together", test: everySeat(checkSync)},
	{line: "line 41 steering names who serves, to those who know them", test: checkSteering},
	{line: "line 43 no list makes the reader panic", test: checkDecoderFuzz},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some 20 s")
	}
	var recordings []*recording
	for _, p := range programmes() {
		recordings = append(recordings, record(t, p))
	}
	said := playActs(t)
	for _, row := range conformance {
		t.Run(row.line, func(t *testing.T) {
			if row.act != nil {
				said[row.line].tell(t)
				return
			}
			row.test(t, recordings)
		})
	}
}

// programmes are what is recorded for the lines that look at every list. In make
// test each is just long enough for its window to slide, and but for the first
// one looks at each node by one protocol, another one each time.
func programmes() []programme {
	all := []programme{
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
	for i := range all {
		if p := &all[i]; !proving() {
			p.lasts = min(p.lasts, 30*time.Second)
			p.seats = func(s *seat) bool { return i == 0 || s.protocol == (i+s.node)%len(protocols) }
		}
	}
	return all
}
