// Package hlscheck holds media playlists and fMP4 fragments to the rules of
// Low-Latency HLS, as a strict stranger would: it reads with code of its own
// and imports nothing of ours, so that a mistake of the writer is not the
// checker's too. It is for tests.
//
// Each problem is one sentence; no problem is an empty answer.
package hlscheck

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of what the checker lets pass.
const (
	leastSegments = 6                     // of a list from whose front a segment was removed
	rounding      = 2 * time.Microsecond  // between EXTINF and the sum of the parts
	dateOverlap   = time.Second           // by which a later date may lie before the end of the segment before
	dateTolerance = 60 * time.Millisecond // between the dates of one segment in several renditions
)

// Check holds the media playlist next to the rules for a live list, and its
// step from prev, the version before, to those for changes. prev may be empty.
// Both are full lists.
func Check(prev, next string) []string {
	l := read(next)
	l.header()
	for i := range l.segments {
		l.segment(i)
	}
	l.age()
	l.footer()
	if prev != "" {
		l.follows(read(prev))
	}
	return l.problems
}

// header: S1–S4, S12, L2, L3.
func (l *list) header() {
	for _, name := range headerTags {
		if n := l.count[name]; n > 1 {
			l.complain("%s stands %d times", name, n)
		}
	}
	for _, name := range []string{"EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-SERVER-CONTROL"} {
		if l.count[name] == 0 {
			l.complain("no %s", name)
		}
	}
	if v := l.number("EXT-X-VERSION"); v < 6 && l.count["EXT-X-MAP"] > 0 {
		l.complain("version %d with EXT-X-MAP", v)
	}
	if l.target < time.Second || l.target%time.Second != 0 {
		l.complain("TARGETDURATION %v", l.target)
	}
	if l.count["EXT-X-PLAYLIST-TYPE"] > 0 {
		l.complain("a live list with EXT-X-PLAYLIST-TYPE")
	}
	if l.count["EXT-X-SKIP"] > 0 {
		l.complain("a delta where a full list is wanted")
	}
	if l.control["CAN-BLOCK-RELOAD"] != "YES" {
		l.complain("CAN-BLOCK-RELOAD is not YES")
	}
	if l.seconds(l.control["HOLD-BACK"]) < 3*l.target {
		l.complain("HOLD-BACK under 3 × TARGETDURATION")
	}
	if l.seconds(l.control["CAN-SKIP-UNTIL"]) < 6*l.target {
		l.complain("CAN-SKIP-UNTIL under 6 × TARGETDURATION")
	}
	if l.partTarget == 0 && l.count["EXT-X-PART"] > 0 {
		l.complain("parts without PART-INF")
	}
	if l.seconds(l.control["PART-HOLD-BACK"]) < 3*l.partTarget {
		l.complain("PART-HOLD-BACK under 3 × PART-TARGET")
	}
	if l.count["EXT-X-DATERANGE"] > 0 && l.count["EXT-X-PROGRAM-DATE-TIME"] == 0 {
		l.complain("a DATERANGE in a list without dates")
	}
}

// segment: S3, S5, S11, S13, S15, L4, L6.
func (l *list) segment(i int) {
	s := &l.segments[i]
	if s.duration.Round(time.Second) > l.target || s.duration >= l.target+time.Second/2 {
		l.complain("segment %d of %v", s.msn, s.duration)
	}
	if s.init == "" && !s.gap { // there is nothing to be put behind it
		l.complain("segment %d has no EXT-X-MAP in force", s.msn)
	}
	if s.discontinuity && s.init != "" && !slices.Contains(s.tags, "EXT-X-MAP") {
		l.complain("segment %d is a discontinuity without EXT-X-MAP", s.msn)
	}
	if s.date.IsZero() {
		l.complain("segment %d has no date", s.msn)
	}
	if i > 0 && !l.segments[i-1].date.IsZero() {
		before := &l.segments[i-1]
		if end := before.date.Add(before.duration); s.date.Before(end.Add(-dateOverlap)) {
			l.complain("segment %d begins %v before the end of the one before", s.msn, end.Sub(s.date))
		}
	}
	if at := slices.Index(s.tags, "EXT-X-PART"); at >= 0 {
		for _, tag := range s.tags[at:] {
			if tag == "EXT-X-DISCONTINUITY" || tag == "EXT-X-MAP" || tag == "EXT-X-PROGRAM-DATE-TIME" {
				l.complain("segment %d: %s behind its first part", s.msn, tag)
			}
		}
	}
	l.parts(s)
}

func (l *list) parts(s *segment) {
	var sum time.Duration
	for i, p := range s.parts {
		sum += p.duration
		last := i == len(s.parts)-1
		exempt := p.independent || p.gap || last && s.uri != "" || !last && s.parts[i+1].gap
		switch {
		case p.duration <= 0 || p.duration > l.partTarget:
			l.complain("part %s of %v", p.uri, p.duration)
		case p.duration*100 < l.partTarget*85 && !exempt:
			l.complain("part %s of %v, under 85 %% of PART-TARGET", p.uri, p.duration)
		case p.gap && !s.gap:
			l.complain("part %s is a gap, segment %d is none", p.uri, s.msn)
		}
	}
	if s.uri != "" && len(s.parts) > 0 && (sum-s.duration).Abs() > rounding {
		l.complain("segment %d of %v, its parts are %v", s.msn, s.duration, sum)
	}
}

// age: L7. Parts stand in whole segments, in the last 3 × TARGETDURATION.
func (l *list) age() {
	var after time.Duration
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := &l.segments[i]
		if s.uri != "" && l.partTarget > 0 {
			if has := len(s.parts) > 0; has != (after < 3*l.target) {
				l.complain("segment %d, %v from the end: has parts: %v", s.msn, after, has)
			}
		}
		after += s.length()
	}
}

// footer: L8, L11, S12.
func (l *list) footer() {
	if l.ended {
		if len(l.hints) > 0 {
			l.complain("a hint behind the end")
		}
		if len(l.segments) > 0 && l.segments[len(l.segments)-1].uri == "" {
			l.complain("an open segment behind the end")
		}
		return
	}
	if l.partTarget > 0 && (len(l.hints) != 1 || l.hints[0]["TYPE"] != "PART" || l.hints[0]["URI"] == "") {
		l.complain("hints %v, want one of a part", l.hints)
	}
	for _, r := range l.reports {
		if uri := r["URI"]; uri == "" || strings.Contains(uri, "://") || strings.HasPrefix(uri, "/") {
			l.complain("report of %q: want a relative URI", uri)
		}
		if r["LAST-MSN"] == "" || r["LAST-PART"] == "" && l.partTarget > 0 {
			l.complain("report %v: want LAST-MSN and LAST-PART", r)
		}
	}
}

// follows: S3, S4, S6–S8, S14, L3, L7, L8.
func (l *list) follows(q *list) {
	if l.target != q.target || l.text("EXT-X-SERVER-CONTROL") != q.text("EXT-X-SERVER-CONTROL") || l.partTarget != q.partTarget {
		l.complain("the constants changed")
	}
	removed := l.sequence() - q.sequence()
	if removed < 0 || removed > len(q.closed()) {
		l.complain("MEDIA-SEQUENCE %d after %d", l.sequence(), q.sequence())
		return
	}
	discontinuities := q.number("EXT-X-DISCONTINUITY-SEQUENCE")
	for i := range q.segments[:removed] {
		if q.segments[i].discontinuity {
			discontinuities++
		}
	}
	if got := l.number("EXT-X-DISCONTINUITY-SEQUENCE"); got != discontinuities {
		l.complain("DISCONTINUITY-SEQUENCE %d, want %d", got, discontinuities)
	}
	if removed > 0 {
		var left time.Duration
		for i := range l.closed() {
			left += l.segments[i].duration
		}
		if len(l.closed()) < leastSegments || left < 3*l.target {
			l.complain("a removal left %d segments, %v", len(l.closed()), left)
		}
	}
	for i := range q.segments[removed:] {
		l.keeps(&q.segments[removed+i], i)
	}
	l.keepsHint(q)
	l.keepsRanges(q)
	if q.ended && (!l.ended || len(l.segments) != len(q.segments)) {
		l.complain("the list goes on behind its end")
	}
}

// keeps tells whether segment i is what it was.
func (l *list) keeps(old *segment, i int) {
	if i >= len(l.segments) {
		if old.uri != "" || len(old.parts) > 0 {
			l.complain("segment %d is gone", old.msn)
		}
		return
	}
	now := &l.segments[i]
	if old.uri != "" && (now.uri != old.uri || now.duration != old.duration || now.gap != old.gap) ||
		now.init != old.init || !now.date.Equal(old.date) || now.discontinuity != old.discontinuity {
		l.complain("segment %d changed from %+v to %+v", old.msn, *old, *now)
		return
	}
	if len(now.parts) == 0 && old.uri != "" {
		return // its parts grew old; age looks at that
	}
	if len(now.parts) < len(old.parts) || !slices.Equal(now.parts[:len(old.parts)], old.parts) || old.uri != "" && len(now.parts) != len(old.parts) {
		l.complain("the parts of segment %d changed", old.msn)
	}
}

// keepsHint: what was hinted came, unless the list stands.
func (l *list) keepsHint(q *list) {
	if len(q.hints) != 1 || l.ended {
		return
	}
	hinted, msn, part := q.hints[0]["URI"], q.sequence()+len(q.closed()), len(q.open().parts)
	for i := range l.segments {
		s := &l.segments[i]
		if s.msn != msn || len(s.parts) == 0 {
			continue
		}
		if len(s.parts) <= part {
			if s.uri != "" {
				l.complain("segment %d was closed without the hinted %s", msn, hinted)
			}
			return // it is still to come
		}
		if s.parts[part].uri != hinted {
			l.complain("%s was hinted, %s came", hinted, s.parts[part].uri)
		}
		return
	}
}

// keepsRanges: a DATERANGE stays while one of its dates is that of a listed
// segment, and keeps its attributes.
func (l *list) keepsRanges(q *list) {
	if len(l.segments) == 0 {
		return
	}
	for id, old := range q.ranges {
		now, ok := l.ranges[id]
		switch end := old.end(); {
		case ok && now["START-DATE"] != old["START-DATE"]:
			l.complain("DATERANGE %q is used again", id)
		case !ok && (end.IsZero() || end.After(l.segments[0].date)):
			l.complain("DATERANGE %q is gone before its media", id)
		}
	}
}

// CheckSet holds the lists of one multivariant playlist, taken at one moment,
// to what must hold between them. The keys are the names of the renditions; a
// list is at {name}/live.m3u8.
func CheckSet(texts map[string]string) []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	lists := map[string]*list{}
	for name, text := range texts {
		lists[name] = read(text)
	}
	for name, l := range lists {
		seen := map[string]bool{}
		for _, r := range l.reports {
			other := strings.TrimSuffix(strings.TrimPrefix(r["URI"], "../"), "/live.m3u8")
			if lists[other] == nil || other == name || seen[other] {
				complain("%s: a report of %q", name, r["URI"])
				continue
			}
			seen[other] = true
			if behind, ok := lists[other].behind(r); !ok || behind > 1 {
				complain("%s: its report %v is %d parts behind", name, r, behind)
			}
		}
		if !l.ended && len(seen) != len(lists)-1 {
			complain("%s: %d reports, want %d", name, len(seen), len(lists)-1)
		}
		for other, m := range lists {
			if other > name {
				for _, problem := range l.agrees(m) {
					complain("%s and %s: %s", name, other, problem)
				}
			}
		}
	}
	return problems
}

// behind returns how many parts a report lacks of the end of the list. The ends
// of segments do not count: they are short and come close behind another part.
// Not ok: what it names is not in the list.
func (l *list) behind(r attributes) (parts int, ok bool) {
	msn, part := l.decimal(r["LAST-MSN"]), l.decimal(r["LAST-PART"])
	for i := range l.segments {
		s := &l.segments[i]
		for n := range s.parts {
			if ok && (s.uri == "" || n < len(s.parts)-1) {
				parts++
			}
			ok = ok || s.msn == msn && n == part
		}
	}
	return parts, ok
}

// agrees: L1, L12, S13.
func (l *list) agrees(m *list) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if l.target != m.target || l.partTarget != m.partTarget || l.text("EXT-X-SERVER-CONTROL") != m.text("EXT-X-SERVER-CONTROL") {
		complain("other constants")
	}
	if l.ended != m.ended {
		complain("one has ended")
	}
	common := max(l.sequence(), m.sequence())
	if apart := l.from(common) - m.from(common); apart.Abs() > l.partTarget+dateTolerance {
		complain("their ends are %v apart", apart)
	}
	if first := min(l.sequence(), m.sequence()); max(l.from(first)-l.from(common), m.from(first)-m.from(common)) > 3*l.target {
		complain("MEDIA-SEQUENCE %d and %d", l.sequence(), m.sequence())
	}
	for i := range l.segments {
		s := &l.segments[i]
		at := s.msn - m.sequence()
		if at < 0 || at >= len(m.segments) {
			continue
		}
		o := &m.segments[at]
		if s.discontinuity != o.discontinuity {
			complain("segment %d is a discontinuity in one only", s.msn)
		}
		if s.date.Sub(o.date).Abs() > dateTolerance {
			complain("segment %d begins %v apart", s.msn, s.date.Sub(o.date))
		}
	}
	if l.sequence() == m.sequence() && l.number("EXT-X-DISCONTINUITY-SEQUENCE") != m.number("EXT-X-DISCONTINUITY-SEQUENCE") {
		complain("other discontinuity sequences")
	}
	return problems
}
