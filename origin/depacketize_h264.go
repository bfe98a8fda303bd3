package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

type h264Video struct {
	packetizationMode int
	decoder           *rtph264.Decoder
}

func newH264Depacketizer(f *format.H264) (depacketizer, int, error) {
	if f.PacketizationMode > 1 {
		return nil, 0, errors.New("interleaved H.264 (packetization-mode 2) is not supported: set packetization-mode 1 on the encoder")
	}
	var sets parameterSets
	if sps, pps := f.SafeParams(); len(sps) > 0 && len(pps) > 0 {
		sets[naluSPS], sets[naluPPS] = [][]byte{sps}, [][]byte{pps}
	}
	video := &h264Video{packetizationMode: f.PacketizationMode}
	video.reset()
	d := newVideoDepacketizer(video, sets)
	return d, videoClockRate, checkCodec(d.codec())
}

func (v *h264Video) reset() {
	v.decoder = &rtph264.Decoder{PacketizationMode: v.packetizationMode}
	_ = v.decoder.Init() // fails for packetization modes that were refused above
}

// nalus returns the NAL units that end in the packet. The decoder's own
// grouping is passed by with a marker on each packet: it returns a picture
// without marker only together with the next one, whose timestamp it is not.
func (v *h264Video) nalus(packet *rtp.Packet) ([][]byte, error) {
	marked := *packet
	marked.Marker = true
	nalus, err := v.decoder.Decode(&marked)
	if errors.Is(err, rtph264.ErrMorePacketsNeeded) {
		return nil, nil
	}
	return nalus, err
}

func (*h264Video) kind(nalu []byte) naluKind {
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

func (*h264Video) codec(sets parameterSets) codecs.Codec {
	if len(sets[naluSPS]) == 0 || len(sets[naluPPS]) == 0 {
		return nil
	}
	return &codecs.H264{SPS: sets[naluSPS][0], PPS: sets[naluPPS][0]}
}

func (*h264Video) newDTSExtractor() dtsExtractor {
	e := &h264.DTSExtractor{}
	e.Initialize()
	return e
}

// checkH264 refuses what no browser decodes.
func checkH264(c *codecs.H264) error {
	var sps h264.SPS
	if err := sps.Unmarshal(c.SPS); err != nil {
		return fmt.Errorf("H.264 sequence parameter set: %w", err)
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
