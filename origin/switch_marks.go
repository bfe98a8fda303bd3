package origin

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// maxTrackMarks bounds the marks of a track: 20 s of pictures, 10 s of sound. The
// oldest are forgotten.
const maxTrackMarks = 512

// mark is what is remembered of an access unit: enough to find it again in what
// another input sends.
type mark struct {
	hash     uint64
	pts, dts int64 // ticks of the track
	arrival  time.Time
}

// trackMarks are those of one track, in the order of decoding, counted from the
// first that there ever was.
type trackMarks struct {
	first int // number of the oldest that is kept
	list  []mark
}

func (m *trackMarks) add(a mark) {
	if len(m.list) == 2*maxTrackMarks {
		m.first += maxTrackMarks
		m.list = append(m.list[:0], m.list[maxTrackMarks:]...)
	}
	m.list = append(m.list, a)
}

// next is the number of the one to come.
func (m *trackMarks) next() int { return m.first + len(m.list) }

func (m *trackMarks) at(n int) *mark { return &m.list[n-m.first] }

// last is nil while there is none.
func (m *trackMarks) last() *mark {
	if len(m.list) == 0 {
		return nil
	}
	return &m.list[len(m.list)-1]
}

// with returns the newest one that is shown at pts, within a tolerance in ticks;
// nil if there is none.
func (m *trackMarks) with(pts, tolerance int64) *mark {
	for i := len(m.list) - 1; i >= 0; i-- {
		if d := m.list[i].pts - pts; d <= tolerance && d >= -tolerance {
			return &m.list[i]
		}
	}
	return nil
}

// longestStep is the longest time between the decoding of two of the last units,
// in ticks.
func (m *trackMarks) longestStep() (longest int64) {
	for i := max(len(m.list)-8, 1); i < len(m.list); i++ {
		longest = max(longest, m.list[i].dts-m.list[i-1].dts)
	}
	return longest
}

// unitSeed makes hashes that nobody outside can make collide.
var unitSeed = maphash.MakeSeed()

// hashUnit is over what an encoder has coded: of a picture its slices, since
// each protocol has its own way with parameter sets and messages around them.
func hashUnit(codec codecs.Codec, payload [][]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(unitSeed)
	video := videoCodecOf(codec)
	for _, p := range payload {
		if video != nil {
			if kind := video.kind(p); kind != naluPicture && kind != naluRandom {
				continue
			}
		}
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(p)))
		_, _ = h.Write(length[:]) // a hash never fails
		_, _ = h.Write(p)
	}
	return h.Sum64()
}

// videoCodecOf is nil for sound.
func videoCodecOf(c codecs.Codec) videoCodec {
	switch c.(type) {
	case *codecs.H264:
		return h264Codec{}
	case *codecs.H265:
		return h265Codec{}
	case *codecs.AV1:
		return av1Codec{}
	}
	return nil
}
