package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

type h265Video struct {
	decoder *rtph265.Decoder
}

func newH265Depacketizer(f *format.H265) (depacketizer, int, error) {
	if f.MaxDONDiff != 0 {
		return nil, 0, errors.New("interleaved H.265 (sprop-max-don-diff) is not supported: turn it off on the encoder")
	}
	var sets parameterSets
	if vps, sps, pps := f.SafeParams(); len(vps) > 0 && len(sps) > 0 && len(pps) > 0 {
		sets = parameterSets{{vps}, {sps}, {pps}}
	}
	video := &h265Video{}
	video.reset()
	d := newVideoDepacketizer(video, sets)
	return d, videoClockRate, checkCodec(d.codec())
}

func (v *h265Video) reset() {
	v.decoder = &rtph265.Decoder{}
	_ = v.decoder.Init() // fails for MaxDONDiff only
}

// nalus marks each packet for the same reason as with H.264.
func (v *h265Video) nalus(packet *rtp.Packet) ([][]byte, error) {
	marked := *packet
	marked.Marker = true
	nalus, err := v.decoder.Decode(&marked)
	if errors.Is(err, rtph265.ErrMorePacketsNeeded) {
		return nil, nil
	}
	return nalus, err
}

func (*h265Video) kind(nalu []byte) naluKind {
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

func (*h265Video) codec(sets parameterSets) codecs.Codec {
	if len(sets[naluVPS]) == 0 || len(sets[naluSPS]) == 0 || len(sets[naluPPS]) == 0 {
		return nil
	}
	return &codecs.H265{VPS: sets[naluVPS][0], SPS: sets[naluSPS][0], PPS: sets[naluPPS][0]}
}

func (*h265Video) newDTSExtractor() dtsExtractor {
	e := &h265.DTSExtractor{}
	e.Initialize()
	return e
}

// checkH265 lets through what Safari and, with hardware, Chromium decode: Main
// and Main 10.
func checkH265(c *codecs.H265) error {
	var sps h265.SPS
	if err := sps.Unmarshal(c.SPS); err != nil {
		return fmt.Errorf("H.265 sequence parameter set: %w", err)
	}
	if sps.ChromaFormatIdc > 1 || sps.BitDepthLumaMinus8 > 2 || sps.BitDepthChromaMinus8 > 2 {
		return errors.New("H.265 4:2:2, 4:4:4 or with 12 bits does not play in browsers: set the encoder to profile Main (yuv420p)")
	}
	return nil
}
