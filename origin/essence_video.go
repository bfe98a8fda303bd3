package origin

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

const (
	videoClockRate = 90000

	// A picture beyond these is refused: 8 MiB, what decoders of level 5.1 may
	// ever see, and more slices than any encoder makes.
	maxPictureBytes = h264.MaxAccessUnitSize
	maxPictureNALUs = 512

	// maxReorderTicks is how far PTS may be ahead of DTS: 16 pictures of 5 fps.
	// The distance comes from fields that the encoder writes freely.
	maxReorderTicks = 16 * videoClockRate / 5
)

// naluKind is what a NAL unit is to us, over all video codecs.
type naluKind int

const (
	naluVPS naluKind = iota // the first three are indexes into parameterSets
	naluSPS
	naluPPS
	naluOther    // kept where it stands: SEI and the like
	naluPicture  // a slice
	naluRandom   // a slice of a picture that decoding can start at
	naluUnwanted // delimiters and filler: they have no place in MP4
)

// parameterSets are the newest ones of each kind: VPS, SPS, PPS.
type parameterSets [3][][]byte

// videoCodec is what differs between H.264, H.265 and AV1.
type videoCodec interface {
	kind(nalu []byte) naluKind
	// open tells whether a NAL unit is a sign of an open GOP.
	open(nalu []byte) openSign
	// codec returns nil while a parameter set is missing.
	codec(sets parameterSets) codecs.Codec
	newDTSExtractor() dtsExtractor
}

type dtsExtractor interface {
	Extract(au [][]byte, pts int64) (int64, error)
}

// videoForm forms pictures. ffmpeg tells the parameter sets over RTSP in the SDP
// only, others send them in front of each key picture: here they always come
// out in front of each key picture.
type videoForm struct {
	video videoCodec
	sets  parameterSets

	extractor dtsExtractor
	stale     bool // the extractor has counted on pictures that got lost
	last      int64
	lastKnown bool
}

func newVideoForm(video videoCodec, sets parameterSets) *videoForm {
	return &videoForm{video: video, sets: sets, extractor: video.newDTSExtractor()}
}

func (v *videoForm) codec() codecs.Codec { return v.video.codec(v.sets) }

// shape leaves out what has no place in MP4. Of a unit that holds parameter sets
// only nothing is left: these are remembered for the next key picture.
func (v *videoForm) shape(u *timedUnit) (shaped, error) {
	v.stale = v.stale || u.afterLoss
	size := 0
	for _, nalu := range u.payload {
		size += len(nalu)
	}
	if size > maxPictureBytes || len(u.payload) > maxPictureNALUs {
		v.stale = true
		return shaped{}, fmt.Errorf("picture of more than %d bytes or %d NAL units", maxPictureBytes, maxPictureNALUs)
	}
	var own parameterSets
	var slices [][]byte
	var picture, random bool
	var sliceBytes int
	var open openSign
	for _, nalu := range u.payload {
		switch kind := v.video.kind(nalu); kind {
		case naluVPS, naluSPS, naluPPS:
			own[kind] = append(own[kind], nalu)
		case naluUnwanted:
		default:
			picture = picture || kind == naluPicture || kind == naluRandom
			random = random || kind == naluRandom
			open = max(open, v.video.open(nalu))
			if kind != naluOther {
				sliceBytes += len(nalu)
			}
			slices = append(slices, nalu)
		}
	}
	changed := v.remember(own)
	if !picture {
		return shaped{changed: changed}, nil
	}
	sets := own
	if random {
		sets = v.sets
	}
	return shaped{payload: sets.before(slices), random: random, changed: changed, sliceBytes: sliceBytes, open: open}, nil
}

// remember keeps the parameter sets for later pictures, in memory of their
// own: what they came in is shared with whole pictures.
func (v *videoForm) remember(own parameterSets) (changed bool) {
	for kind, sets := range own {
		if len(sets) == 0 || slices.EqualFunc(sets, v.sets[kind], bytes.Equal) {
			continue
		}
		changed = true
		v.sets[kind] = nil
		for _, set := range sets {
			v.sets[kind] = append(v.sets[kind], bytes.Clone(set))
		}
	}
	return changed
}

func (s parameterSets) before(slices [][]byte) [][]byte {
	payload := make([][]byte, 0, len(s[naluVPS])+len(s[naluSPS])+len(s[naluPPS])+len(slices))
	for _, sets := range s {
		payload = append(payload, sets...)
	}
	return append(payload, slices...)
}

var (
	errBack    = errors.New("time goes back")
	errReorder = errors.New("pictures are reordered too far")
)

// dts takes the decoding time that the protocol tells, or finds it in the
// pictures.
func (v *videoForm) dts(s shaped, t unitTimes) (int64, error) {
	dts := t.dts
	if !t.dtsKnown {
		if s.random && v.stale {
			// The extractor counts pictures; after a loss it would take the gap
			// for reordering, and never come back from it.
			v.extractor, v.stale = v.video.newDTSExtractor(), false
		}
		var err error
		if dts, err = v.extractor.Extract(s.payload, t.pts); err != nil {
			return 0, err
		}
	}
	if v.lastKnown {
		dts = max(dts, v.last+1)
	}
	// While it learns how far pictures are reordered the extractor doesn't
	// check its results.
	if dts > t.pts {
		return 0, errBack
	}
	if t.pts-dts > maxReorderTicks {
		v.stale = true
		return 0, errReorder
	}
	v.last, v.lastKnown = dts, true
	return dts, nil
}
