package origin

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

// h265Packets turns RTP packets into NAL units of H.265.
type h265Packets struct {
	decoder *rtph265.Decoder
}

func newH265Depacketizer(f *format.H265) (depacketizer, codecs.Codec, error) {
	if f.MaxDONDiff != 0 {
		return nil, nil, errors.New("interleaved H.265 (sprop-max-don-diff) is not supported: turn it off on the encoder")
	}
	packets := &h265Packets{}
	packets.reset()
	vps, sps, pps := f.SafeParams()
	return &videoDepacketizer{packets: packets}, &codecs.H265{VPS: vps, SPS: sps, PPS: pps}, nil
}

func (v *h265Packets) reset() {
	v.decoder = &rtph265.Decoder{}
	_ = v.decoder.Init() // fails for MaxDONDiff only
}

// nalus marks each packet for the same reason as with H.264.
func (v *h265Packets) nalus(packet *rtp.Packet) ([][]byte, error) {
	marked := *packet
	marked.Marker = true
	nalus, err := v.decoder.Decode(&marked)
	if errors.Is(err, rtph265.ErrMorePacketsNeeded) {
		return nil, nil
	}
	return nalus, err
}
