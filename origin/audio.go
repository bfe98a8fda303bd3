package origin

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// maxQueuedAudio bounds the frames that wait for a part of the video, some 10 s
// of AAC. When it is full, since the video stands still, the oldest are
// dropped: the video will go on with newer ones.
const maxQueuedAudio = 480

// audioQueue holds audio frames until the video's part that they belong to is
// complete. A frame that comes too late for its part goes into a later one,
// with its own decode time.
type audioQueue struct {
	codec codecs.Codec
	rate  int
	units []Unit // in the order of arrival

	// Of the run, set by begin.
	begun bool  // and not cleared since
	shift int64 // from the unit's PTS to media time
	next  int64 // media time at which the next frame is due
}

func (q *audioQueue) push(u Unit) {
	if len(q.units) == maxQueuedAudio {
		q.units = append(q.units[:0], q.units[1:]...)
	}
	q.units = append(q.units, u)
}

// begin starts a run whose media begin at media time start, and whose first
// picture is shown at first. What is queued from before that is left out when it
// is taken; but where the run before was not cleared, as at a change of size,
// the sound goes on where it came to. With B-frames a picture comes some time
// before it is shown, and the sound that is heard meanwhile comes behind it.
func (q *audioQueue) begin(shift, start, first int64) {
	from := first
	if q.begun {
		from = min(max(q.next+shift-q.shift, start), first)
	}
	q.begun, q.shift, q.next = true, shift, from
}

// clear forgets all that waits, and the run.
func (q *audioQueue) clear() { q.units, q.begun = nil, false }

// take removes and returns the frames that begin before media time end. Times
// within half a frame of where the frame before ended are taken as that, so
// that a tick of rounding is neither a gap nor an overlap; a frame that begins
// before what was taken already is dropped, a gap stays one.
func (q *audioQueue) take(end int64) []frame {
	var out []frame
	rest := q.units[:0]
	for _, u := range q.units {
		at := u.PTS + q.shift
		if at >= end {
			rest = append(rest, u)
			continue
		}
		duration := frameTicks(q.codec, q.rate, u.Payload[0])
		switch gap := at - q.next; {
		case gap < -duration/2:
			continue
		case gap <= duration/2:
			at = q.next
		}
		if n := len(out); n > 0 {
			out[n-1].duration = at - out[n-1].dts
		}
		out = append(out, frame{dts: at, duration: duration, random: true, payload: u.Payload[0]})
		q.next = at + duration
	}
	clear(q.units[len(rest):])
	q.units = rest
	return out
}

// frameTicks returns how long an audio frame lasts, in ticks of a clock of rate
// a second.
func frameTicks(codec codecs.Codec, rate int, payload []byte) int64 {
	switch c := codec.(type) {
	case *codecs.MPEG4Audio:
		return int64(mpeg4audio.SamplesPerAccessUnit) * int64(rate) / int64(max(c.Config.SampleRate, 1))
	case *codecs.Opus:
		return max(opus.PacketDuration2(payload)*int64(rate)/48000, 1)
	}
	return 1
}
