package origin

import "time"

const (
	// matchRun is how many units in a row must be the same before two inputs are
	// held to be: a third of a second of pictures. maxMatchRun bounds how far back
	// a run is followed.
	matchRun    = 8
	maxMatchRun = 64

	// maxLag is how far an input may be behind or ahead of the programme. It must
	// be less than what is kept of it.
	maxLag = 3 * time.Second

	// pairTolerance: times of one unit, after the shift between two inputs, may
	// differ by the rounding of RTMP, twice a millisecond.
	pairTolerance = 3 * time.Millisecond

	// soundTolerance is less than half an audio frame: of several found where
	// sound may lie, that is the one which goes with the pictures.
	soundTolerance = 8 * time.Millisecond

	// maxSkew is how far sound that is found by itself may be from where the
	// pictures say: inputs may differ in what they know of lip sync.
	maxSkew = 500 * time.Millisecond

	// matchTimeout ends what was found when nothing has confirmed it for so long.
	matchTimeout = 5 * time.Second
)

// SameBytes tells whether a standby input sends what is on air.
type SameBytes string

const (
	SameNotKnown  SameBytes = ""          // not enough has come
	SameYes       SameBytes = "same"      // it can take over without a trace
	SameNo        SameBytes = "other"     // it takes over with a discontinuity
	SameAmbiguous SameBytes = "ambiguous" // the same picture and silence again and again: as other
)

// match knows how an input lies to the programme.
type match struct {
	verdict  SameBytes
	tracks   []trackMatch
	began    time.Time
	verified time.Time     // when units were found to be the same last
	behind   time.Duration // how much later than the programme's its units come; negative: sooner
}

// trackMatch leads from a track's times to the programme's. It is meaningful
// while the verdict is SameYes, and of the input on air.
type trackMatch struct {
	rate     int64
	pts, dts int64 // to be added, in ticks
	next     int   // number of the input's first mark that was not compared yet
	differ   int   // units in a row that were compared and are not the same
}

func newMatch(tracks []Track) match {
	m := match{tracks: make([]trackMatch, len(tracks)), began: time.Now()}
	for i, t := range tracks {
		m.tracks[i].rate = int64(t.ClockRate)
	}
	return m
}

// compare brings the verdict up to what both have by now.
func (m *match) compare(input, programme []trackMarks, now time.Time) {
	if m.verdict == SameYes {
		m.verify(input, programme, now)
	}
	if m.verdict != SameYes {
		m.search(input, programme, now)
	}
}

// verify compares what is new in the input with what the programme has at that
// time. A unit that one of both lost is passed over.
func (m *match) verify(input, programme []trackMarks, now time.Time) {
	for i := range m.tracks {
		t := &m.tracks[i]
		for t.next = max(t.next, input[i].first); t.next < input[i].next(); t.next++ {
			own := input[i].at(t.next)
			its := programme[i].with(own.pts+t.pts, t.ticks(pairTolerance))
			if its == nil {
				if last := programme[i].last(); last == nil || own.dts+t.dts > last.dts {
					break // the programme has not come to it
				}
				continue
			}
			if own.hash != its.hash {
				t.differ++
				continue
			}
			t.differ = 0
			t.pts += (its.pts - own.pts - t.pts) / 8
			t.dts = its.dts - own.dts
			m.verified = now
			m.behind += (own.arrival.Sub(its.arrival) - m.behind) / 8
		}
		if t.differ >= matchRun {
			m.verdict = SameNo
		}
	}
	if now.Sub(m.verified) > matchTimeout {
		m.verdict = SameNo
	}
}

// alignment is where the units of a track may lie in the programme.
type alignment struct {
	shift   int // from numbers of the input's marks to the programme's
	run     int // units in a row that are the same there, up to the newest
	settled bool
	pts     int64         // mean of what is to be added to PTS, in ticks
	offset  time.Duration // the same
}

// search finds where the runs of all tracks are the same, at one place only.
func (m *match) search(input, programme []trackMarks, now time.Time) {
	found := make([][]alignment, len(m.tracks))
	var sure *alignment // pictures first
	for i := range m.tracks {
		if len(input[i].list) == 0 && len(programme[i].list) == 0 {
			continue // announced, and sent by neither
		}
		if len(input[i].list) < 2*matchRun || len(programme[i].list) < 2*matchRun {
			return
		}
		found[i] = m.tracks[i].alignments(&input[i], &programme[i])
		if len(found[i]) == 0 {
			if m.verdict != SameNotKnown || now.Sub(m.began) > maxLag { // else it may be ahead
				m.verdict = SameNo
			}
			return
		}
		if len(found[i]) == 1 && sure == nil {
			sure = &found[i][0]
		}
	}
	if sure == nil {
		m.verdict = SameAmbiguous
		return
	}
	chosen := make([]*alignment, len(m.tracks))
	for i := range m.tracks {
		if found[i] == nil {
			continue
		}
		if chosen[i] = nearest(found[i], sure.offset); chosen[i] == nil {
			m.verdict = SameAmbiguous
			return
		}
	}
	for i := len(chosen) - 1; i >= 0; i-- { // the pictures last
		if chosen[i] != nil {
			m.behind = m.tracks[i].settle(chosen[i], &input[i], &programme[i])
		}
	}
	m.verdict, m.verified = SameYes, now
}

// nearest picks the alignment that goes with an offset found in another track; nil
// if none does.
func nearest(found []alignment, offset time.Duration) *alignment {
	if len(found) == 1 && (found[0].offset-offset).Abs() <= maxSkew {
		return &found[0]
	}
	for i := range found {
		if (found[i].offset - offset).Abs() <= soundTolerance {
			return &found[i]
		}
	}
	return nil
}

// alignments lists where the newest units of both that could be the same are, over
// matchRun units at least. An alignment is out when another run is longer by
// matchRun and its own has ended at a unit that differs.
func (t *trackMatch) alignments(input, programme *trackMarks) []alignment {
	var all []alignment
	longest := 0
	for shift := programme.first - input.next() + 1; shift < programme.next()-input.first; shift++ {
		if p := t.align(input, programme, shift); p.run >= matchRun {
			all = append(all, p)
			longest = max(longest, p.run)
		}
	}
	kept := all[:0]
	for _, p := range all {
		if !p.settled || p.run+matchRun > longest {
			kept = append(kept, p)
		}
	}
	return kept
}

// align follows the run at a shift back from the newest units that both have.
func (t *trackMatch) align(input, programme *trackMarks, shift int) alignment {
	newest := min(input.next()-1, programme.next()-1-shift)
	oldest := max(input.first, programme.first-shift)
	p := alignment{shift: shift}
	if newest < oldest || input.at(newest).arrival.Sub(programme.at(newest+shift).arrival).Abs() > maxLag {
		return p
	}
	first := programme.at(newest+shift).pts - input.at(newest).pts
	var sum int64
	for n := newest; n >= oldest && p.run < maxMatchRun; n-- {
		own, its := input.at(n), programme.at(n+shift)
		difference := its.pts - own.pts - first
		if own.hash != its.hash || max(difference, -difference) > t.ticks(pairTolerance) {
			p.settled = true
			break
		}
		sum += difference
		p.run++
	}
	if p.run > 0 {
		p.pts = first + sum/int64(p.run)
		p.offset = ticksToDuration(p.pts, t.rate)
	}
	return p
}

// settle takes an alignment, and returns how far the input is behind there.
func (t *trackMatch) settle(p *alignment, input, programme *trackMarks) time.Duration {
	newest := min(input.next()-1, programme.next()-1-p.shift)
	own, its := input.at(newest), programme.at(newest+p.shift)
	t.pts, t.dts = p.pts, its.dts-own.dts
	t.next, t.differ = newest+1, 0
	return own.arrival.Sub(its.arrival)
}

// due tells whether a unit comes after all that the programme has of the track.
// Half a step is left for decoding times that the inputs know by other ways; a
// unit from before that is one that the programme has lost.
func (t *trackMatch) due(pts, dts int64, programme *trackMarks) bool {
	last := programme.last()
	if last == nil {
		return true
	}
	return dts+t.dts > last.dts-programme.longestStep()/2 && programme.with(pts+t.pts, t.ticks(pairTolerance)) == nil
}

func (t *trackMatch) ticks(d time.Duration) int64 { return durationToTicks(d, t.rate) }
