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

const opusClockRate = 48000

// audioDepacketizer yields audio frames. Those that come together in one
// packet are frameTicks apart.
type audioDepacketizer struct {
	description codecs.Codec
	frameTicks  uint32

	// newDecoder returns what turns packets into audio frames. With
	// errMorePackets it asks for the rest of a frame.
	newDecoder func() func(*rtp.Packet) ([][]byte, error)
	decode     func(*rtp.Packet) ([][]byte, error)

	inFragment      bool // the decoder holds the beginning of a frame
	broken          bool // the frame with brokenTimestamp is dropped
	brokenTimestamp uint32
	last            int64
	lastKnown       bool
}

var errMorePackets = errors.New("more packets needed")

func newAudioDepacketizer(c codecs.Codec, frameTicks uint32, newDecoder func() func(*rtp.Packet) ([][]byte, error)) *audioDepacketizer {
	return &audioDepacketizer{description: c, frameTicks: frameTicks, newDecoder: newDecoder, decode: newDecoder()}
}

func (d *audioDepacketizer) codec() codecs.Codec { return d.description }

// lost drops the rest of a frame whose beginning is known to be fragmented;
// any other packet holds whole frames.
func (d *audioDepacketizer) lost(packet *rtp.Packet) {
	d.broken, d.brokenTimestamp = d.inFragment, packet.Timestamp
	d.decode, d.inFragment = d.newDecoder(), false
}

func (d *audioDepacketizer) depacketize(packet *rtp.Packet) ([]accessUnit, error) {
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
	units := make([]accessUnit, 0, len(payloads))
	for i, payload := range payloads {
		if len(payload) > 0 {
			units = append(units, accessUnit{timestamp: packet.Timestamp + uint32(i)*d.frameTicks, random: true, payload: [][]byte{payload}})
		}
	}
	return units, nil
}

func (d *audioDepacketizer) dts(_ accessUnit, pts int64) (int64, error) {
	if d.lastKnown && pts <= d.last {
		return 0, errors.New("time goes back")
	}
	d.last, d.lastKnown = pts, true
	return pts, nil
}

// aacFrameTicks is the length of an AAC-LC frame in samples.
const aacFrameTicks = 1024

// newAACDepacketizer is for AAC as of RFC 3640, what nearly all encoders send.
func newAACDepacketizer(f *format.MPEG4Audio) (depacketizer, int, error) {
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
	c := &codecs.MPEG4Audio{Config: *f.Config}
	return newAudioDepacketizer(c, aacFrameTicks, newDecoder), f.Config.SampleRate, checkCodec(c)
}

// newLATMDepacketizer is for AAC as of RFC 6416, with its description in the
// SDP.
func newLATMDepacketizer(f *format.MPEG4AudioLATM) (depacketizer, int, error) {
	if f.CPresent || f.StreamMuxConfig == nil || len(f.StreamMuxConfig.Programs) != 1 || len(f.StreamMuxConfig.Programs[0].Layers) != 1 {
		return nil, 0, errors.New("this form of AAC (LATM with its description in the stream) is not supported: set the encoder to AAC-LC without LATM (mpeg4-generic)")
	}
	newDecoder := func() func(*rtp.Packet) ([][]byte, error) {
		decoder := &rtpfragmented.Decoder{}
		_ = decoder.Init() // has no way to fail
		return func(packet *rtp.Packet) ([][]byte, error) {
			return decodeLATM(decoder, f.StreamMuxConfig, packet)
		}
	}
	c := &codecs.MPEG4Audio{Config: *f.StreamMuxConfig.Programs[0].Layers[0].AudioSpecificConfig}
	return newAudioDepacketizer(c, aacFrameTicks, newDecoder), c.Config.SampleRate, checkCodec(c)
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

func newOpusDepacketizer(f *format.Opus) (depacketizer, int, error) {
	newDecoder := func() func(*rtp.Packet) ([][]byte, error) {
		return func(packet *rtp.Packet) ([][]byte, error) { return [][]byte{packet.Payload}, nil }
	}
	c := &codecs.Opus{ChannelCount: f.ChannelCount}
	return newAudioDepacketizer(c, 0, newDecoder), opusClockRate, checkCodec(c)
}

// checkCodec refuses what browsers can't play, with what to set instead. A
// codec that isn't known yet (nil) passes; it is checked again later.
func checkCodec(c codecs.Codec) error {
	switch c := c.(type) {
	case *codecs.H264:
		return checkH264(c)
	case *codecs.H265:
		return checkH265(c)
	case *codecs.MPEG4Audio:
		return checkAAC(c.Config)
	case *codecs.Opus:
		if c.ChannelCount < 1 || c.ChannelCount > 2 {
			return errors.New("opus with more than two channels is not supported: set the encoder to stereo")
		}
	}
	return nil
}

func checkAAC(c mpeg4audio.AudioSpecificConfig) error {
	if c.Type != mpeg4audio.ObjectTypeAACLC || c.ExtensionType != 0 || c.FrameLengthFlag || c.SampleRate == 0 {
		// HE-AAC: RTP may count at either of its two rates, and the SDP
		// doesn't say which, so that lip sync would be a guess.
		return errors.New("only AAC-LC with frames of 1024 samples is supported: set the encoder's audio to AAC-LC (not HE-AAC), 48 kHz stereo")
	}
	if c.ChannelConfig < 1 || c.ChannelConfig > 7 {
		return errors.New("the AAC channel layout is not supported: set the encoder's audio to stereo")
	}
	return nil
}
