package origin

import (
	"slices"
	"time"
)

// The beginning of a publication: units are held back until there is a key
// picture, something of each track, and it is known how the tracks belong
// together.

// heldUnit is a unit that is ready to be published.
type heldUnit struct {
	timedUnit
	shaped
	track *ingestTrack
}

// hold keeps a unit until the publication begins. Video begins with a key
// picture, each of several; of audio the newest is kept, so that it is there when
// one comes.
func (in *ingest) hold(unit heldUnit) {
	if unit.track.video && !in.holds(unit.track) && (!unit.random || unit.track.form.codec() == nil) {
		return
	}
	in.held = append(in.held, unit)
	in.heldBytes += unit.bytes()
	for in.first() == nil && in.holdsTooMuch() {
		in.heldBytes -= in.held[0].bytes()
		in.held = in.held[1:]
	}
}

func (in *ingest) holdsTooMuch() bool {
	return in.heldBytes > maxHeldBytes || len(in.held) > maxHeldUnits
}

// holds tells whether something of a track is kept.
func (in *ingest) holds(track *ingestTrack) bool {
	return slices.ContainsFunc(in.held, func(unit heldUnit) bool { return unit.track == track })
}

// first is the unit that the publication begins with: the first key picture,
// or the first frame of a publication without video.
func (in *ingest) first() *heldUnit {
	for i, unit := range in.held {
		if unit.track == in.tracks[0] || !in.tracks[0].video {
			return &in.held[i]
		}
	}
	return nil
}

// start begins the publication as soon as there is a unit to begin with and it
// is known how the tracks belong together.
func (in *ingest) start(now time.Time) error {
	if in.sink != nil || in.begun.IsZero() {
		return nil
	}
	first := in.first()
	if first == nil {
		if now.Sub(in.begun) > startTimeout {
			return errNoPicture
		}
		return nil
	}
	if now.Sub(in.begun) < in.patience() && !in.holdsTooMuch() {
		return nil
	}
	in.settle()
	in.synchronize(*first)
	tracks, err := in.describe()
	if err != nil {
		return err
	}
	if in.sink, err = in.publish(tracks); err != nil {
		return err
	}
	held := in.held
	in.held, in.heldBytes = nil, 0
	for _, unit := range held {
		if err := in.write(unit); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long the publication waits for what is missing, from the first
// unit on; 0 when all is there.
func (in *ingest) patience() time.Duration {
	for _, track := range in.tracks {
		if !track.seen {
			return startWait
		}
	}
	switch {
	case in.tie == nil || in.tie.known():
		return 0
	case len(in.tracks) > 1:
		return reportWait
	}
	return startWait
}

// settle dates what was held by the unit of its track that came soonest after its
// time: what an encoder had queued while it connected comes in one burst, and
// dates of its arrival would be too late by as much.
func (in *ingest) settle() {
	zero := map[*ingestTrack]time.Time{} // when the track's clock was 0
	for _, unit := range in.held {
		at := unit.arrival.Add(-unit.clock())
		if z, ok := zero[unit.track]; !ok || at.Before(z) {
			zero[unit.track] = at
		}
	}
	for i := range in.held {
		unit := &in.held[i]
		unit.arrival = zero[unit.track].Add(unit.clock())
	}
}

// clock is the unit's time in the order of sending, as far as it is known.
func (u heldUnit) clock() time.Duration {
	if u.dtsKnown {
		return u.dts
	}
	return u.pts
}

// synchronize lays the common zero of all tracks onto the first unit. It is
// done once: what is learned later moves wall times, never a PTS.
func (in *ingest) synchronize(first heldUnit) {
	in.zero = first.pts
	if in.tie == nil {
		return
	}
	in.tie.synchronize(first.track.announced, first.pts)
	for _, track := range in.tracks {
		if track.seen {
			in.anchor(track)
		}
	}
}

// anchor fixes where a track's PTS counts from. A track that sends its first
// unit later than the others is anchored then.
func (in *ingest) anchor(track *ingestTrack) {
	track.anchored, track.offset = true, in.zero
	if in.tie != nil {
		track.offset = in.tie.offset(track.announced)
		track.apart = in.zero - track.offset
	}
	if in.sink != nil { // what jumped before was the zero's own count
		track.offset += in.jump.moved
	}
}

// describe returns the tracks of the publication. All codecs are known by now:
// audio's from the announcement, and without parameter sets there is no first
// picture; a further one that has not come is as announced.
func (in *ingest) describe() ([]Track, error) {
	tracks := make([]Track, len(in.tracks))
	for i, track := range in.tracks {
		c := track.form.codec()
		if c == nil {
			c = track.codec
		}
		if err := checkCodec(c); err != nil {
			return nil, err
		}
		tracks[i] = Track{Codec: c, ClockRate: int(track.clockRate), Missing: !track.seen}
	}
	return tracks, nil
}

// write gives a unit to the publication. Units from before the zero are left
// out: sound before the first picture, pictures that refer to one before it.
func (in *ingest) write(unit heldUnit) error {
	track := unit.track
	if !track.anchored {
		in.anchor(track)
	}
	ticks := unitTimes{pts: durationToTicks(unit.pts-track.offset, track.clockRate), dtsKnown: unit.dtsKnown}
	if ticks.pts < 0 {
		return nil
	}
	if unit.dtsKnown {
		ticks.dts = durationToTicks(unit.dts-track.offset, track.clockRate)
	}
	dts, err := track.form.dts(unit.shaped, ticks)
	if err != nil {
		in.reception.damage(unit.arrival, err)
		return nil
	}
	in.units.Add(1)
	return in.sink.Write(Unit{
		Track:    track.index,
		PTS:      ticks.pts,
		DTS:      dts,
		WallTime: in.wallTime(unit),
		Clock:    unit.pts + track.apart,
		Random:   unit.random,
		Payload:  unit.shaped.payload,
	})
}

// wallTime is when the unit was captured, as far as the encoder tells, else when
// it came.
func (in *ingest) wallTime(unit heldUnit) time.Time {
	wall := unit.wall
	if in.jump.count > 0 {
		return unit.arrival // what was told about the clock was about the old count
	}
	if wall.IsZero() && in.tie != nil {
		wall = in.tie.wallTime(unit.track.announced, unit.pts)
	}
	if wall.IsZero() {
		return unit.arrival
	}
	return wall
}
