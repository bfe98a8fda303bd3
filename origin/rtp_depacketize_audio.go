package origin

import (
	"errors"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpfragmented"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

// audioDepacketizer yields audio frames. Those that come together in one
// packet are frameTicks apart.
type audioDepacketizer struct {
	frameTicks uint32

	// newDecoder returns what turns packets into audio frames. With
	// errMorePackets it asks for the rest of a frame.
	newDecoder func() func(*rtp.Packet) ([][]byte, error)
	decode     func(*rtp.Packet) ([][]byte, error)

	inFragment      bool // the decoder holds the beginning of a frame
	broken          bool // the frame with brokenTimestamp is dropped
	brokenTimestamp uint32
}

var errMorePackets = errors.New("more packets needed")

func newAudioDepacketizer(frameTicks uint32, newDecoder func() func(*rtp.Packet) ([][]byte, error)) *audioDepacketizer {
	return &audioDepacketizer{frameTicks: frameTicks, newDecoder: newDecoder, decode: newDecoder()}
}

// lost drops the rest of a frame whose beginning is known to be fragmented;
// any other packet holds whole frames.
func (d *audioDepacketizer) lost(packet *rtp.Packet) {
	d.broken, d.brokenTimestamp = d.inFragment, packet.Timestamp
	d.decode, d.inFragment = d.newDecoder(), false
}

func (d *audioDepacketizer) depacketize(packet *rtp.Packet) ([]rtpUnit, error) {
	if d.broken && packet.Timestamp == d.brokenTimestamp {
		return nil, errLost
	}
	d.broken = false
	payloads, err := d.decode(packet)
	d.inFragment = errors.Is(err, errMorePackets)
	if d.inFragment {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	units := make([]rtpUnit, 0, len(payloads))
	for i, payload := range payloads {
		if len(payload) > 0 {
			units = append(units, rtpUnit{timestamp: packet.Timestamp + uint32(i)*d.frameTicks, payload: [][]byte{payload}})
		}
	}
	return units, nil
}

// aacFrameTicks is the length of an AAC-LC frame in samples.
const aacFrameTicks = 1024

// newAACDepacketizer is for AAC as of RFC 3640, what nearly all encoders send.
func newAACDepacketizer(f *format.MPEG4Audio) (depacketizer, codecs.Codec, error) {
	newDecoder := func() func(*rtp.Packet) ([][]byte, error) {
		decoder := &rtpmpeg4audio.Decoder{SizeLength: f.SizeLength, IndexLength: f.IndexLength, IndexDeltaLength: f.IndexDeltaLength}
		_ = decoder.Init() // has no way to fail
		return func(packet *rtp.Packet) ([][]byte, error) {
			frames, err := decoder.Decode(packet)
			if errors.Is(err, rtpmpeg4audio.ErrMorePacketsNeeded) {
				return nil, errMorePackets
			}
			return frames, err
		}
	}
	return newAudioDepacketizer(aacFrameTicks, newDecoder), &codecs.MPEG4Audio{Config: *f.Config}, nil
}

// newLATMDepacketizer is for AAC as of RFC 6416, with its description in the
// SDP.
func newLATMDepacketizer(f *format.MPEG4AudioLATM) (depacketizer, codecs.Codec, error) {
	if f.CPresent || f.StreamMuxConfig == nil || len(f.StreamMuxConfig.Programs) != 1 || len(f.StreamMuxConfig.Programs[0].Layers) != 1 {
		return nil, nil, errors.New("this form of AAC (LATM with its description in the stream) is not supported: set the encoder to AAC-LC without LATM (mpeg4-generic)")
	}
	mux := plainLATM(f.StreamMuxConfig)
	newDecoder := func() func(*rtp.Packet) ([][]byte, error) {
		decoder := &rtpfragmented.Decoder{}
		_ = decoder.Init() // has no way to fail
		return func(packet *rtp.Packet) ([][]byte, error) {
			return decodeLATM(decoder, mux, packet)
		}
	}
	config := *mux.Programs[0].Layers[0].AudioSpecificConfig
	return newAudioDepacketizer(aacFrameTicks, newDecoder), &codecs.MPEG4Audio{Config: config}, nil
}

// plainLATM mends the description that GStreamer sends of ffmpeg's AAC: it puts
// all of the encoder's AudioSpecificConfig into it, with an extension at the end
// that says "no SBR" and that this form has no room for, so that what follows is
// read from wrong bits. AAC has no other frameLengthType than 0 and 1.
func plainLATM(c *mpeg4audio.StreamMuxConfig) *mpeg4audio.StreamMuxConfig {
	layer := *c.Programs[0].Layers[0]
	if layer.FrameLengthType < 2 {
		return c
	}
	layer.FrameLengthType = 0
	return &mpeg4audio.StreamMuxConfig{Programs: []*mpeg4audio.StreamMuxConfigProgram{{Layers: []*mpeg4audio.StreamMuxConfigLayer{&layer}}}}
}

func decodeLATM(decoder *rtpfragmented.Decoder, config *mpeg4audio.StreamMuxConfig, packet *rtp.Packet) ([][]byte, error) {
	whole, err := decoder.Decode(packet)
	if errors.Is(err, rtpfragmented.ErrMorePacketsNeeded) {
		return nil, errMorePackets
	}
	if err != nil {
		return nil, err
	}
	element := mpeg4audio.AudioMuxElement{StreamMuxConfig: config}
	if err := element.Unmarshal(whole); err != nil {
		return nil, err
	}
	var frames [][]byte
	for _, subframe := range element.Payloads {
		frames = append(frames, subframe[0][0])
	}
	return frames, nil
}

func newOpusDepacketizer(f *format.Opus) (depacketizer, codecs.Codec, error) {
	newDecoder := func() func(*rtp.Packet) ([][]byte, error) {
		return func(packet *rtp.Packet) ([][]byte, error) { return [][]byte{packet.Payload}, nil }
	}
	return newAudioDepacketizer(0, newDecoder), &codecs.Opus{ChannelCount: f.ChannelCount}, nil
}
