package origin

import "time"

// The beginning of a publication: units are held back until there is a key
// picture and the sender reports have told how the tracks belong together.

// hold keeps a unit until the publication begins. Video begins with a key
// picture; of audio the newest is kept, so that it is there when one comes.
func (in *ingest) hold(unit heldUnit) {
	if in.tracks[unit.track].video && in.first() == nil && (!unit.random || in.tracks[unit.track].depack.codec() == nil) {
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

// first is the unit that the publication begins with: the first key picture,
// or the first frame of a publication without video.
func (in *ingest) first() *heldUnit {
	for i, unit := range in.held {
		if in.tracks[unit.track].video || !in.tracks[0].video {
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
	if !in.allReported() && now.Sub(in.begun) < reportWait && !in.holdsTooMuch() {
		return nil
	}
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

// allReported says whether every track has packets and a sender report.
func (in *ingest) allReported() bool {
	for _, track := range in.tracks {
		if track.clock.packets == 0 || !track.clock.reported {
			return false
		}
	}
	return true
}

// synchronize lays the common zero of all tracks onto the first unit. It is
// done once: later sender reports move wall times, never a PTS.
func (in *ingest) synchronize(first heldUnit) {
	clock := &in.tracks[first.track].clock
	in.byReports = in.reportsAgree()
	in.zeroHere = clock.earliest.wallTime(first.timestamp, clock.clockRate)
	in.zero = in.zeroHere
	if in.byReports {
		in.zero = clock.report.wallTime(first.timestamp, clock.clockRate)
	}
	for _, track := range in.tracks {
		if track.clock.packets > 0 {
			in.anchor(track)
		}
	}
	if !in.byReports && len(in.tracks) > 1 {
		in.logger.Warn("no usable RTCP sender reports, audio and video are synchronized by arrival",
			"waited", reportWait)
	}
}

// reportsAgree says whether all tracks that send have sender reports and these
// tell of about the same latency.
func (in *ingest) reportsAgree() bool {
	var least, most time.Duration
	var seen bool
	for _, track := range in.tracks {
		clock := &track.clock
		if clock.packets == 0 {
			continue
		}
		if !clock.reported {
			return false
		}
		latency := clock.earliest.wall.Sub(clock.report.wallTime(clock.earliest.timestamp, clock.clockRate))
		if !seen {
			least, most, seen = latency, latency, true
		}
		least, most = min(least, latency), max(most, latency)
	}
	return most-least <= maxLatencySpread
}

// anchor fixes where a track's PTS counts from. A track that sends its first
// packet later than the others is anchored then.
func (in *ingest) anchor(track *ingestTrack) {
	clock := &track.clock
	track.anchored = true
	if in.byReports && clock.reported {
		track.offset = clock.report.timestampAt(in.zero, clock.clockRate)
		return
	}
	track.offset = clock.earliest.timestampAt(in.zeroHere, clock.clockRate)
}

// describe returns the tracks of the publication. All codecs are known by now:
// audio's from the SDP, and without parameter sets there is no first picture.
func (in *ingest) describe() ([]Track, error) {
	tracks := make([]Track, len(in.tracks))
	for i, track := range in.tracks {
		c := track.depack.codec()
		if err := checkCodec(c); err != nil {
			return nil, err
		}
		tracks[i] = Track{Codec: c, ClockRate: int(track.clock.clockRate), Missing: track.clock.packets == 0}
	}
	return tracks, nil
}

// write gives a unit to the publication. Units from before the zero are left
// out: sound before the first picture, pictures that refer to one before it.
func (in *ingest) write(unit heldUnit) error {
	track := in.tracks[unit.track]
	if !track.anchored {
		in.anchor(track)
	}
	pts := unit.timestamp - track.offset
	if pts < 0 {
		return nil
	}
	dts, err := track.depack.dts(unit.accessUnit, pts)
	if err != nil {
		in.damage(unit.arrival, err)
		return nil
	}
	in.units++
	return in.sink.Write(Unit{
		Track:    unit.track,
		PTS:      pts,
		DTS:      dts,
		WallTime: track.clock.wallTime(unit.timestamp, unit.arrival),
		Random:   unit.random,
		Payload:  unit.payload,
	})
}
