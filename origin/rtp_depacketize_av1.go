package origin

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpav1"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

// av1Packets turns RTP packets into OBUs.
type av1Packets struct {
	decoder *rtpav1.Decoder
}

// newAV1Depacketizer is for AV1, whose sequence header never stands in the SDP.
func newAV1Depacketizer(*format.AV1) (depacketizer, codecs.Codec, error) {
	packets := &av1Packets{}
	packets.reset()
	return &videoDepacketizer{packets: packets}, &codecs.AV1{}, nil
}

func (p *av1Packets) reset() {
	p.decoder = &rtpav1.Decoder{}
	_ = p.decoder.Init() // has no way to fail
}

// nalus marks each packet for the same reason as with H.264.
func (p *av1Packets) nalus(packet *rtp.Packet) ([][]byte, error) {
	marked := *packet
	marked.Marker = true
	obus, err := p.decoder.Decode(&marked)
	if errors.Is(err, rtpav1.ErrMorePacketsNeeded) {
		return nil, nil
	}
	return obus, err
}
