package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"surgecast/relay/hlscheck"
)

// What hls-parser does not look at is held to the checker that the origin's
// tests use too.
func checkOwnRules(_ *recording, before, l *listing) error {
	prev := ""
	if before != nil {
		prev = before.text
	}
	if problems := append(l.problems, hlscheck.Check(prev, l.text)...); len(problems) > 0 {
		return errors.New(strings.Join(problems, ", "))
	}
	return nil
}

func checkDurations(_ *recording, before, l *listing) error {
	for _, s := range l.closed() {
		if s.duration.Round(time.Second) > l.target() || s.duration >= l.target()+time.Second/2 {
			return fmt.Errorf("segment %d of %v", s.msn, s.duration)
		}
	}
	if before != nil && l.target() != before.target() {
		return errors.New("another TARGETDURATION")
	}
	return nil
}

// sameConstants are equal in all lists of all nodes.
func checkConstants(t *testing.T, recordings []*recording) {
	seen := map[string]bool{}
	everySeat(func(_ *testing.T, _ *recording, s *seatRecord) {
		for _, v := range s.versions {
			for _, l := range []*listing{v.full, v.skip, v.v2} {
				seen[l.header["EXT-X-PART-INF"]+" "+l.header["EXT-X-SERVER-CONTROL"]] = true
			}
		}
	})(t, recordings)
	if len(seen) != 1 {
		t.Errorf("the constants change: %v", seen)
	}
}

// The sequences count what left the front, and a list changes in no other way.
func checkSequences(_ *recording, before, l *listing) error {
	if before == nil {
		return nil
	}
	removed := int(l.sequence()) - int(before.sequence())
	if removed < 0 || removed > len(before.closed()) {
		return fmt.Errorf("the media sequence moves by %d", removed)
	}
	discontinuities := before.discontinuitySequence()
	for _, s := range before.segments[:removed] {
		if s.discontinuity {
			discontinuities++
		}
	}
	if l.discontinuitySequence() != discontinuities {
		return fmt.Errorf("DISCONTINUITY-SEQUENCE %d, want %d", l.discontinuitySequence(), discontinuities)
	}
	for i, old := range before.closed()[removed:] {
		now := l.segments[i]
		if old.uri != now.uri || old.init != now.init || old.duration != now.duration || !old.date.Equal(now.date) || old.discontinuity != now.discontinuity {
			return fmt.Errorf("segment %d changed from %v to %v", old.msn, old.lines, now.lines)
		}
	}
	return nil
}

// checkSameEverywhere: one number, one URI, the same bytes, on all seats.
func checkSameEverywhere(t *testing.T, recordings []*recording) {
	for _, r := range recordings {
		uris, bodies, lists := map[string]string{}, map[string]string{}, map[string]string{}
		compared := 0
		same := func(s *seatRecord, seen map[string]string, what, now string) {
			what = s.path() + what
			if before, ok := seen[what]; ok {
				compared++
				if before != now {
					t.Errorf("%s, %s: %s is another", r.name, s.seat, what)
				}
			}
			seen[what] = now
		}
		for _, s := range r.seen {
			for uri, body := range s.media {
				same(s, bodies, uri, body)
			}
			for _, v := range s.versions {
				for _, segment := range v.full.closed() {
					same(s, uris, fmt.Sprint(segment.msn), segment.uri)
				}
				same(s, lists, v.full.hint(), v.full.text) // one position, one text
			}
		}
		if compared < 1000 && !r.slow || compared < 100 {
			t.Errorf("%s: compared only %d objects", r.name, compared)
		}
	}
}

func checkWindowLength(_ *recording, before, l *listing) error {
	if before == nil || l.sequence() == before.sequence() {
		return nil // it still grows
	}
	if len(l.closed()) < 6 {
		return fmt.Errorf("%d segments", len(l.closed()))
	}
	if rest := l.before(0) + l.length(&l.segments[0]); rest < 3*l.target() {
		return fmt.Errorf("%v of media", rest)
	}
	return nil
}

// checkParts: none over PART-TARGET, none under 85 % but the last of a segment,
// an independent one, one with or before a gap.
func checkParts(_ *recording, _, l *listing) error {
	target := l.partTarget()
	for _, s := range l.segments {
		for i, p := range s.parts {
			d := l.seconds(p["DURATION"])
			if d > target {
				return fmt.Errorf("part %d of segment %d lasts %v", i, s.msn, d)
			}
			last := i == len(s.parts)-1
			exempt := p["INDEPENDENT"] == "YES" || p["GAP"] == "YES" || last && s.uri != "" || !last && s.parts[i+1]["GAP"] == "YES"
			if d < target*85/100 && !exempt {
				return fmt.Errorf("part %d of segment %d lasts only %v", i, s.msn, d)
			}
		}
		if sum := (&listing{segments: []listedSegment{{parts: s.parts}}}).before(-1); s.uri != "" && len(s.parts) > 0 && sum != s.duration {
			return fmt.Errorf("segment %d lasts %v, its parts %v", s.msn, s.duration, sum)
		}
	}
	return nil
}

// tagOrder is how the tags of a segment may follow each other.
var tagOrder = []string{"EXT-X-DISCONTINUITY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-GAP", "EXT-X-PART", "EXTINF"}

func checkTagOrder(_ *recording, _, l *listing) error {
	for _, s := range l.segments {
		latest := 0
		for _, tag := range s.tags {
			at := slices.Index(tagOrder, tag)
			if at < latest {
				return fmt.Errorf("segment %d: %v", s.msn, s.tags)
			}
			latest = at
		}
	}
	if l.segments[0].init == "" {
		return errors.New("no EXT-X-MAP in force at the first segment")
	}
	return nil
}

// checkPartsAge: parts stand in the last 3 × TARGETDURATION, and there all do.
func checkPartsAge(_ *recording, _, l *listing) error {
	for i, s := range l.segments {
		after := l.before(i)
		switch {
		case s.uri == "" || s.gap:
		case after >= 3*l.target() && len(s.parts) > 0:
			return fmt.Errorf("segment %d has parts %v from the end", s.msn, after)
		case after < 3*l.target() && len(s.parts) == 0:
			return fmt.Errorf("segment %d has no parts %v from the end", s.msn, after)
		}
	}
	return nil
}

// checkHint: the hint is there and becomes the next part.
func checkHint(_ *recording, before, l *listing) error {
	if len(l.hints) != 1 || l.hint() == "" {
		return fmt.Errorf("hints: %v", l.hints)
	}
	if before == nil || l.hint() == before.hint() {
		return nil
	}
	for _, s := range l.segments {
		for _, p := range s.parts {
			if p["URI"] == before.hint() {
				return nil
			}
		}
	}
	return fmt.Errorf("the hint %s became no part", before.hint())
}

// checkSteady: with parts, a new one within a PART-TARGET of the last. The
// frame that shows where a part ends, and the way, come on top.
func checkSteady(t *testing.T, r *recording, s *seatRecord) {
	if len(s.problems) > 0 {
		t.Errorf("%s, %s: %v", r.name, s.seat, s.problems)
	}
	if len(r.sources) > 1 {
		return
	}
	for i := 1; i < len(s.versions); i++ {
		now := s.versions[i]
		if late := now.at.Sub(s.versions[i-1].at); late > now.full.partTarget()+time.Duration(2*float64(time.Second)/r.fps)+stageHop {
			t.Errorf("%s, %s: a list comes %v after the one before", r.name, s.seat, late)
		}
	}
}

// A report for each other list of the stream, relative, not behind; and all
// lists are in step.
func checkReports(t *testing.T, recordings []*recording) {
	sets := 0
	everySeat(func(t *testing.T, r *recording, s *seatRecord) {
		for _, v := range s.versions {
			if len(v.full.reports) != len(r.renditions)-1 {
				t.Errorf("%s, %s: %d reports:\n%s", r.name, s.seat, len(v.full.reports), v.full.text)
				return
			}
		}
		for _, set := range s.sets {
			sets++
			if problems := hlscheck.CheckSet(set); len(problems) > 0 {
				t.Errorf("%s, %s: %v", r.name, s.seat, problems)
				return
			}
		}
	})(t, recordings)
	if sets == 0 {
		t.Error("no stream of several renditions was recorded")
	}
}
