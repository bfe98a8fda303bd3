package origin

import "time"

const (
	// soundLead is how much silence is made before the picture that it is for.
	soundLead = 300 * time.Millisecond
	// soundStep is how far silence may be off the picture before it begins anew
	// there: the picture's times have jumped.
	soundStep = 2 * time.Second
)

// silentTrack is an audio track that is promised to players, and of which nothing
// comes.
type silentTrack struct {
	id    int
	rate  int
	frame []byte
	ticks int64 // of a frame
	next  int64 // PTS of the next one
	begun bool
}

// silentTracks are the audio tracks among tracks that the index leads nothing to,
// and those of which nothing has come yet. Where no silence can be made of a
// codec its track is left out: what it lacks is a gap.
func silentTracks(tracks map[int]Track, index map[int]int) (all []*silentTrack) {
	sent := map[int]bool{}
	for _, id := range index {
		sent[id] = !tracks[id].Missing
	}
	for id := audioID; id < audioID+maxSounds; id++ {
		t, ok := tracks[id]
		if !ok || sent[id] {
			continue
		}
		if frame := silence(t.Codec); frame != nil {
			all = append(all, &silentTrack{id: id, rate: t.ClockRate, frame: frame, ticks: frameTicks(t.Codec, t.ClockRate, frame)})
		}
	}
	return all
}

// until returns the frames that begin before upTo on the clock of all tracks.
func (t *silentTrack) until(upTo time.Duration) (units []Unit) {
	if at := ticksDuration(t.next, t.rate); !t.begun || at < upTo-soundStep || at > upTo+soundStep {
		t.begun, t.next = true, durationToTicks(upTo-2*soundLead, int64(t.rate))
	}
	for ticksDuration(t.next, t.rate) < upTo {
		units = append(units, Unit{Track: t.id, PTS: t.next, DTS: t.next, Random: true, Payload: [][]byte{t.frame}})
		t.next += t.ticks
	}
	return units
}

// hush queues silence for the tracks that lack sound, as far as the picture u
// needs it.
func (p *packager) hush(u Unit) error {
	for _, t := range p.silent {
		for _, frame := range t.until(ticksDuration(u.PTS, p.tracks[p.lead].ClockRate) + soundLead) {
			if err := p.pushAudio(t.id, frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// sounded tells that something has come for an audio track.
func (p *packager) sounded(id int) {
	for i, t := range p.silent {
		if t.id == id {
			p.silent = append(p.silent[:i:i], p.silent[i+1:]...)
			return
		}
	}
}
