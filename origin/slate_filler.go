package origin

import (
	"errors"
	"time"
)

const (
	// slateStep is how often a slate goes on: a part comes at most so late.
	slateStep = 80 * time.Millisecond
	// soundLead is how much silence is made before the picture that it is for.
	soundLead = 300 * time.Millisecond
)

// slateFiller publishes a slate in place of the programme: its pictures again
// and again, and silence on the stream's audio tracks, through a packager of
// its own. Of a stream without pictures it is silence alone.
type slateFiller struct {
	packager *packager
	from     time.Time // date of the first picture
	clip     *slateClip
	shown    int // pictures
	sounds   []silentTrack
}

// silentTrack is an audio track that is silent.
type silentTrack struct {
	id    int
	rate  int
	frame []byte
	ticks int64 // of a frame
	next  int64 // PTS of the next one
}

// newSlateFiller begins with clip, which is nil for a stream without pictures,
// and with silence on the tracks.
func newSlateFiller(s *stream, clip *slateClip, tracks map[int]Track) (*slateFiller, error) {
	f := &slateFiller{clip: clip, from: s.timeline.date.end}
	byID, index := map[int]Track{}, map[int]int{}
	if clip != nil {
		byID[videoID], index[videoID] = Track{Codec: clip.codec, ClockRate: videoClockRate}, videoID
	}
	for id, t := range tracks {
		if id == videoID {
			continue
		}
		byID[id], index[id] = t, id
		if frame := silence(t.Codec); frame != nil {
			ticks := frameTicks(t.Codec, t.ClockRate, frame)
			f.sounds = append(f.sounds, silentTrack{id: id, rate: t.ClockRate, frame: frame, ticks: ticks})
		} else if clip == nil {
			return nil, errors.New("no silence can be made of the stream's audio codec")
		}
	}
	f.packager = newPackager(s.timeline, s.Constants, s.leading(byID), index)
	f.packager.sounds = s.sounds(byID)
	if clip != nil {
		f.packager.rungs = s.slateRungs(byID[videoID])
	}
	f.packager.closed = func(closedSegment) { s.journal.note(s.Name, s.record()) }
	return f, nil
}

func (f *slateFiller) step() time.Duration { return slateStep }

// advance publishes what is shown before upTo.
func (f *slateFiller) advance(upTo time.Duration) error {
	for i := range f.sounds {
		if err := f.sounds[i].advance(f, upTo+soundLead); err != nil {
			return err
		}
	}
	for f.clip != nil {
		p := &f.clip.pictures[f.shown%len(f.clip.pictures)]
		round := int64(f.shown/len(f.clip.pictures)) * f.clip.length
		at := ticksDuration(p.dts+round, videoClockRate)
		if at >= upTo {
			return nil
		}
		f.shown++
		u := Unit{
			Track: videoID, PTS: p.pts + round, DTS: p.dts + round, Random: p.random, Payload: p.payload,
			WallTime: f.from.Add(ticksDuration(p.pts+round, videoClockRate)),
		}
		if err := f.packager.write(u); err != nil {
			return err
		}
		for _, r := range f.packager.rungs {
			if err := f.packager.pushRung(r, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// slateRungs are the renditions beside the leading one: all have the same slate.
// What the multivariant playlist says of them stays.
func (s *stream) slateRungs(track Track) (all []*rung) {
	for _, p := range s.pictures {
		if p.timeline == s.timeline {
			continue
		}
		shown := &picture{timeline: p.timeline}
		r := newRung(shown, s.Constants, track.ClockRate, s.logger)
		r.join(track, true)
		all = append(all, r)
	}
	return all
}

func (t *silentTrack) advance(f *slateFiller, upTo time.Duration) error {
	if f.clip == nil {
		upTo -= soundLead // it leads itself
	}
	for {
		at := ticksDuration(t.next, t.rate)
		if at >= upTo {
			return nil
		}
		u := Unit{Track: t.id, PTS: t.next, DTS: t.next, Random: true, Payload: [][]byte{t.frame}, WallTime: f.from.Add(at)}
		t.next += t.ticks
		if err := f.packager.write(u); err != nil {
			return err
		}
	}
}

func (f *slateFiller) end() error { return f.packager.seal() }
