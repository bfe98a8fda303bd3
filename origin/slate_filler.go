package origin

import (
	"errors"
	"time"
)

// slateStep is how often a slate goes on: a part comes at most so late.
const slateStep = 80 * time.Millisecond

// slateFiller publishes a slate in place of the programme: its pictures again
// and again, and silence on the stream's audio tracks, through a packager of
// its own. Of a stream without pictures it is silence alone.
type slateFiller struct {
	packager *packager
	from     time.Time // date of the first picture
	clip     *slateClip
	shown    int          // pictures
	sound    *silentTrack // that leads where there is no clip
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
		if id != videoID {
			byID[id] = t
		}
	}
	silent := silentTracks(byID, index)
	if clip == nil { // the first of them leads
		if len(silent) == 0 {
			return nil, errors.New("no silence can be made of the stream's audio codec")
		}
		f.sound, silent = silent[0], silent[1:]
		index[f.sound.id] = f.sound.id
	}
	f.packager = newPackager(s.timeline, s.Constants, s.leading(byID), index)
	f.packager.sounds, f.packager.silent = s.sounds(byID), silent
	if clip != nil {
		f.packager.rungs = s.slateRungs(byID[videoID])
	}
	f.packager.closed = func(closedSegment) { s.journal.note(s.Name, s.record()) }
	return f, nil
}

func (f *slateFiller) step() time.Duration { return slateStep }

// advance publishes what is shown before upTo.
func (f *slateFiller) advance(upTo time.Duration) error {
	if f.clip == nil {
		return f.advanceSound(upTo)
	}
	for {
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
}

// advanceSound is advance for a stream without pictures.
func (f *slateFiller) advanceSound(upTo time.Duration) error {
	f.sound.begun = true
	for _, u := range f.sound.until(upTo) {
		u.WallTime = f.from.Add(ticksDuration(u.PTS, f.sound.rate))
		if err := f.packager.write(u); err != nil {
			return err
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

func (f *slateFiller) end() error { return f.packager.seal() }
