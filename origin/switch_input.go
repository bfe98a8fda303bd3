package origin

import "time"

// switchInput is what one encoder sends to a stream's inputSwitch, on air or
// standing by: the publication that an ingest sees. All is guarded by the
// switch's mutex.
type switchInput struct {
	owner  *inputSwitch
	name   Input
	tracks []Track
	lead   int // index of the leading track: video if there is any
	done   chan struct{}
	err    error // why it has ended

	marks  []trackMarks // of all that came
	latest time.Time    // when a unit of the leading track came
	ring   standbyRing  // while it stands by
	match  match

	// joined: a unit of the track was published since it went on air. Until then
	// those that the programme has already are left out.
	joined []bool
}

var _ publication = (*switchInput)(nil)

func newSwitchInput(owner *inputSwitch, name Input, tracks []Track) *switchInput {
	in := &switchInput{
		owner: owner, name: name, tracks: tracks, done: make(chan struct{}),
		marks: make([]trackMarks, len(tracks)), latest: time.Now(), match: newMatch(tracks),
	}
	for i := len(tracks) - 1; i >= 0; i-- {
		if tracks[i].Codec != nil && tracks[i].Codec.IsVideo() {
			in.lead = i
		}
	}
	return in
}

// Write is that of publication.
func (in *switchInput) Write(u Unit) error {
	in.owner.mu.Lock()
	defer in.owner.mu.Unlock()
	if in.err == nil && u.Track >= 0 && u.Track < len(in.tracks) {
		in.owner.take(in, in.note(u, time.Now()))
	}
	return in.err
}

// Close is that of publication.
func (in *switchInput) Close() {
	in.owner.mu.Lock()
	defer in.owner.mu.Unlock()
	in.owner.leave(in, ErrClosed)
}

// Done is that of publication.
func (in *switchInput) Done() <-chan struct{} { return in.done }

// note marks a unit.
func (in *switchInput) note(u Unit, now time.Time) standbyUnit {
	marks := &in.marks[u.Track]
	m := mark{hash: hashUnit(in.tracks[u.Track].Codec, u.Payload), pts: u.PTS, dts: u.DTS, arrival: now}
	marks.add(m)
	if u.Track == in.lead {
		in.latest = now
	}
	return standbyUnit{Unit: u, mark: m, number: marks.next() - 1}
}

// late is how long a picture may fail to come, bound or two pictures' time.
func (in *switchInput) late(bound time.Duration) time.Duration {
	step := ticksToDuration(in.marks[in.lead].longestStep(), int64(in.tracks[in.lead].ClockRate))
	step = min(step, 4*in.owner.part) // a jump of its clock is not its rate
	return max(bound, 2*step)
}

// silent tells whether nothing comes of what should.
func (in *switchInput) silent(now time.Time) bool {
	return now.Sub(in.latest) > in.late(in.owner.patience())
}

// alike tells whether two inputs have the same tracks, as far as is announced.
func (in *switchInput) alike(other *switchInput) bool {
	if len(in.tracks) != len(other.tracks) {
		return false
	}
	for i, t := range in.tracks {
		if o := other.tracks[i]; family(t.Codec) != family(o.Codec) || t.ClockRate != o.ClockRate {
			return false
		}
	}
	return true
}

// covers tells whether nothing would be missing if the input went on with the
// programme: of each track it keeps the unit that comes next, or that has still
// to come.
func (in *switchInput) covers(programme []trackMarks) bool {
	seen := make([]bool, len(in.tracks))
	for _, u := range in.ring.units {
		t, marks := &in.match.tracks[u.Track], &in.marks[u.Track]
		if seen[u.Track] || !t.due(u.PTS, u.DTS, &programme[u.Track]) {
			continue
		}
		seen[u.Track] = true
		if programme[u.Track].last() == nil {
			continue
		}
		if u.number <= marks.first {
			return false // what was before it is forgotten, or never came
		}
		if before := marks.at(u.number - 1); t.due(before.pts, before.dts, &programme[u.Track]) {
			return false
		}
	}
	return true
}

// ahead tells whether it has pictures that the programme lacks.
func (in *switchInput) ahead(programme []trackMarks) bool {
	last := in.marks[in.lead].last()
	return last != nil && in.match.tracks[in.lead].due(last.pts, last.dts, &programme[in.lead])
}

// rebase makes a unit the zero of the programme.
func (in *switchInput) rebase(first Unit) {
	in.match = newMatch(in.tracks)
	for i := range in.tracks {
		t := &in.match.tracks[i]
		t.pts = -rescale(first.PTS, in.tracks[in.lead].ClockRate, in.tracks[i].ClockRate)
		t.dts = t.pts
	}
}

// standDown begins to keep units, when another input has gone on air; with the
// same bytes it is known how the two lie to each other.
func (in *switchInput) standDown(same bool) {
	if !same {
		in.match = newMatch(in.tracks)
		return
	}
	in.match.verdict, in.match.verified = SameYes, time.Now()
	for i := range in.match.tracks {
		in.match.tracks[i].next, in.match.tracks[i].differ = in.marks[i].next(), 0
	}
}
