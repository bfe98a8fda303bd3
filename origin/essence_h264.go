package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

type h264Codec struct{}

func (h264Codec) kind(nalu []byte) naluKind {
	if len(nalu) < 2 {
		return naluUnwanted
	}
	switch h264.NALUType(nalu[0] & 0x1f) {
	case h264.NALUTypeIDR:
		return naluRandom
	case h264.NALUTypeNonIDR, h264.NALUTypeDataPartitionA, h264.NALUTypeDataPartitionB, h264.NALUTypeDataPartitionC:
		return naluPicture
	case h264.NALUTypeSPS:
		return naluSPS
	case h264.NALUTypePPS:
		return naluPPS
	case h264.NALUTypeSEI:
		return naluOther
	}
	return naluUnwanted
}

func (h264Codec) open(nalu []byte) openSign {
	if h264.NALUType(nalu[0]&0x1f) == h264.NALUTypeSEI && hasRecoveryPoint(nalu[1:]) {
		return openPerhaps
	}
	return openNo
}

// hasRecoveryPoint looks through the messages of an SEI: type and size, each in
// as many bytes of 255 as it takes and one more. Bytes against start codes are
// skipped.
func hasRecoveryPoint(sei []byte) bool {
	const recoveryPoint = 6
	zeros := 0
	next := func() (b byte, ok bool) {
		if zeros >= 2 && len(sei) > 0 && sei[0] == 3 {
			sei, zeros = sei[1:], 0
		}
		if len(sei) == 0 {
			return 0, false
		}
		b, sei = sei[0], sei[1:]
		if zeros++; b != 0 {
			zeros = 0
		}
		return b, true
	}
	number := func() (n int, ok bool) {
		for {
			b, ok := next()
			if n += int(b); !ok || b != 255 {
				return n, ok
			}
		}
	}
	for {
		kind, ok := number()
		size, sized := number()
		if !ok || !sized {
			return false
		}
		if kind == recoveryPoint && size > 0 {
			return true
		}
		for range size {
			if _, ok := next(); !ok {
				return false
			}
		}
	}
}

func (h264Codec) codec(sets parameterSets) codecs.Codec {
	if len(sets[naluSPS]) == 0 || len(sets[naluPPS]) == 0 {
		return nil
	}
	return &codecs.H264{SPS: sets[naluSPS][0], PPS: sets[naluPPS][0]}
}

func (h264Codec) newDTSExtractor() dtsExtractor {
	e := &h264.DTSExtractor{}
	e.Initialize()
	return e
}

// checkH264 refuses what no browser decodes.
func checkH264(c *codecs.H264) error {
	if len(c.SPS) == 0 {
		return nil // it will come in the stream
	}
	var sps h264.SPS
	if err := sps.Unmarshal(c.SPS); err != nil {
		return fmt.Errorf("H.264 sequence parameter set: %w: %w", errUnreadable, err)
	}
	// High 4:4:4 and the intra profiles may still be 4:2:0 with 8 bits, and
	// then they play; only the samples count. 0 stands for an absent field.
	if sps.ProfileIdc >= 100 && sps.ChromaFormatIdc > 1 {
		return errors.New("H.264 4:2:2 or 4:4:4 does not play in browsers: set the encoder's pixel format to 4:2:0 8 bit (yuv420p, profile High)")
	}
	if sps.BitDepthLumaMinus8 > 0 || sps.BitDepthChromaMinus8 > 0 {
		return errors.New("H.264 with 10 bits does not play in browsers: set the encoder's pixel format to 4:2:0 8 bit (yuv420p, profile High)")
	}
	return nil
}
