package origin

import (
	"errors"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// maxAudioFrameBytes is more than any codec makes of a frame.
const maxAudioFrameBytes = 64 << 10

var errAudioFrame = errors.New("not one audio frame of reasonable size")

// audioForm forms audio frames, each of which decoding can start at.
type audioForm struct {
	description codecs.Codec
	last        int64
	lastKnown   bool
}

func (a *audioForm) codec() codecs.Codec { return a.description }

func (a *audioForm) shape(u *timedUnit) (shaped, error) {
	if len(u.payload) != 1 || len(u.payload[0]) == 0 || len(u.payload[0]) > maxAudioFrameBytes {
		return shaped{}, errAudioFrame
	}
	return shaped{payload: u.payload, random: true}, nil
}

// dts is the PTS: audio frames are not reordered.
func (a *audioForm) dts(_ shaped, t unitTimes) (int64, error) {
	if a.lastKnown && t.pts <= a.last {
		return 0, errBack
	}
	a.last, a.lastKnown = t.pts, true
	return t.pts, nil
}
