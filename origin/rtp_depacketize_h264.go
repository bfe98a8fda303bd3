package origin

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

// h264Packets turns RTP packets into NAL units of H.264.
type h264Packets struct {
	packetizationMode int
	decoder           *rtph264.Decoder
}

func newH264Depacketizer(f *format.H264) (depacketizer, codecs.Codec, error) {
	if f.PacketizationMode > 1 {
		return nil, nil, errors.New("interleaved H.264 (packetization-mode 2) is not supported: set packetization-mode 1 on the encoder")
	}
	packets := &h264Packets{packetizationMode: f.PacketizationMode}
	packets.reset()
	sps, pps := f.SafeParams()
	return &videoDepacketizer{packets: packets}, &codecs.H264{SPS: sps, PPS: pps}, nil
}

func (v *h264Packets) reset() {
	v.decoder = &rtph264.Decoder{PacketizationMode: v.packetizationMode}
	_ = v.decoder.Init() // fails for packetization modes that were refused above
}

// nalus returns the NAL units that end in the packet. The decoder's own
// grouping is passed by with a marker on each packet: it returns a picture
// without marker only together with the next one, whose timestamp it is not.
func (v *h264Packets) nalus(packet *rtp.Packet) ([][]byte, error) {
	marked := *packet
	marked.Marker = true
	nalus, err := v.decoder.Decode(&marked)
	if errors.Is(err, rtph264.ErrMorePacketsNeeded) {
		return nil, nil
	}
	return nalus, err
}
