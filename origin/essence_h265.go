package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

type h265Codec struct{}

func (h265Codec) kind(nalu []byte) naluKind {
	if len(nalu) < 3 {
		return naluUnwanted
	}
	switch kind := h265.NALUType(nalu[0] >> 1 & 0x3f); {
	case kind == h265.NALUType_VPS_NUT:
		return naluVPS
	case kind == h265.NALUType_SPS_NUT:
		return naluSPS
	case kind == h265.NALUType_PPS_NUT:
		return naluPPS
	case kind >= h265.NALUType_BLA_W_LP && kind <= h265.NALUType_CRA_NUT:
		return naluRandom
	case kind <= h265.NALUType_RASL_R:
		return naluPicture
	case kind == h265.NALUType_PREFIX_SEI_NUT || kind == h265.NALUType_SUFFIX_SEI_NUT:
		return naluOther
	}
	return naluUnwanted
}

func (h265Codec) open(nalu []byte) openSign {
	switch h265.NALUType(nalu[0] >> 1 & 0x3f) {
	case h265.NALUType_RASL_N, h265.NALUType_RASL_R:
		return openSurely
	}
	return openNo
}

func (h265Codec) codec(sets parameterSets) codecs.Codec {
	if len(sets[naluVPS]) == 0 || len(sets[naluSPS]) == 0 || len(sets[naluPPS]) == 0 {
		return nil
	}
	return &codecs.H265{VPS: sets[naluVPS][0], SPS: sets[naluSPS][0], PPS: sets[naluPPS][0]}
}

func (h265Codec) newDTSExtractor() dtsExtractor {
	e := &h265.DTSExtractor{}
	e.Initialize()
	return e
}

// checkH265 lets through what Safari and, with hardware, Chromium decode: Main
// and Main 10.
func checkH265(c *codecs.H265) error {
	if len(c.SPS) == 0 {
		return nil // it will come in the stream
	}
	var sps h265.SPS
	if err := sps.Unmarshal(c.SPS); err != nil {
		return fmt.Errorf("H.265 sequence parameter set: %w: %w", errUnreadable, err)
	}
	if sps.ChromaFormatIdc > 1 || sps.BitDepthLumaMinus8 > 2 || sps.BitDepthChromaMinus8 > 2 {
		return errors.New("H.265 4:2:2, 4:4:4 or with 12 bits does not play in browsers: set the encoder to profile Main (yuv420p)")
	}
	return nil
}
