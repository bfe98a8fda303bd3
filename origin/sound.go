package origin

import "surgecast/relay"

const (
	// soundPrefix stands before the number of an audio rendition.
	soundPrefix = "audio-"
	// maxSounds bounds the audio renditions of a stream. An encoder's further
	// audio tracks are dropped.
	maxSounds = 8
	// soundPatience is how far sound may be behind the picture, in part targets,
	// before it is taken for lost. Meanwhile its list stands; a frame that comes
	// even later is dropped.
	soundPatience = 4
)

// sound makes an audio rendition beside the leading one, from an audio track of
// the leading publication.
type sound struct {
	follower
	track Track
	queue []Unit // in the order of arrival, maxQueuedAudio at most
	shift int64  // of the run: from the unit's PTS to media time
}

func newSound(t *timeline, c relay.Constants, track Track, m *meter) *sound {
	s := &sound{track: track}
	s.follower = follower{
		source: s, timeline: t, meter: m, id: audioID, rate: track.ClockRate, segmenter: newFollowerSegmenter(c, track.ClockRate),
	}
	s.patience = soundPatience * s.segmenter.partMax
	return s
}

// push queues a frame. When the queue is full, since the picture stands still,
// the oldest is dropped.
func (s *sound) push(u Unit) {
	if len(s.queue) == maxQueuedAudio {
		s.queue = append(s.queue[:0], s.queue[1:]...)
	}
	s.queue = append(s.queue, u)
}

// begin starts a run with the lead; shift leads from a unit's PTS to media time,
// start is the media time of the lead's first picture.
func (s *sound) begin(shift, start int64) error {
	init, err := initSegment(map[int]Track{audioID: s.track})
	if err != nil {
		return err
	}
	s.shift, s.next, s.lost = shift, start, false
	s.timeline.beginSideRun(init, s.rate)
	return nil
}

// take moves the frames that begin before limit into parts. Times within half a
// frame of where the frame before ended are taken as that; what begins before is
// dropped.
func (s *sound) take(limit int64) (waiting bool, err error) {
	n := 0
	for ; n < len(s.queue); n++ {
		u := &s.queue[n]
		at, usual := u.PTS+s.shift, frameTicks(s.track.Codec, s.rate, u.Payload[0])
		gap := at - s.next
		switch {
		case gap < -usual/2:
			continue
		case gap <= usual/2:
			at = s.next
		}
		if at >= limit {
			waiting = true
			break
		}
		if s.lost {
			if err := s.gap(at); err != nil {
				return false, err
			}
			s.lost = false
		}
		s.usual = usual
		s.next = at + usual
		if err := s.emit(s.segmenter.push(frame{dts: at, random: true, payload: u.Payload[0]})); err != nil {
			return false, err
		}
	}
	rest := append(s.queue[:0], s.queue[n:]...)
	clear(s.queue[len(rest):])
	s.queue = rest
	return waiting, nil
}

// seal ends the run.
func (s *sound) seal() error {
	err := s.follower.seal()
	s.queue = nil
	return err
}
