package origin

import (
	"bytes"
	"fmt"

	"github.com/abema/go-mp4"
	"github.com/bluenviron/gortmplib/pkg/message"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// What the sequence headers of RTMP say of a track: those of plain RTMP, and
// those of enhanced RTMP, which names codecs by four letters.

// unsupported is what can't be taken.
func unsupported(kind essenceKind, name string) essence {
	return essence{kind: kind, name: name, problem: fmt.Errorf("%s %w", name, errUnsupported)}
}

// legacyVideo reads a sequence header of plain RTMP.
func legacyVideo(m *message.Video) essence {
	switch {
	case m.AVCConfig != nil:
		return h264Essence(m.AVCConfig.SequenceParameterSets[0].NALUnit, m.AVCConfig.PictureParameterSets[0].NALUnit)
	case m.HEVCConfig != nil:
		return h265Essence(m.HEVCConfig)
	}
	return newEssence(&codecs.H264{}) // the sets come in the pictures
}

func enhancedVideo(m *message.VideoExSequenceStart) essence {
	switch {
	case m.AVCConfig != nil:
		return h264Essence(m.AVCConfig.SequenceParameterSets[0].NALUnit, m.AVCConfig.PictureParameterSets[0].NALUnit)
	case m.HEVCConfig != nil:
		return h265Essence(m.HEVCConfig)
	case m.FourCC == message.FourCCAV1:
		return newEssence(&codecs.AV1{}) // the sequence header comes with key pictures
	}
	return unsupported(essenceVideo, "VP9")
}

func enhancedAudio(m *message.AudioExSequenceStart) essence {
	switch {
	case m.AACConfig != nil:
		return newEssence(&codecs.MPEG4Audio{Config: *m.AACConfig})
	case m.OpusConfig != nil:
		return newEssence(&codecs.Opus{ChannelCount: int(m.OpusConfig.ChannelCount)})
	}
	return unsupported(essenceAudio, "other than AAC and Opus")
}

// plainSoundName is the name of a sound that plain RTMP has beside AAC.
func plainSoundName(codec uint8) string {
	switch codec {
	case message.CodecMPEG1Audio:
		return "MP3"
	case message.CodecPCMA, message.CodecPCMU:
		return "G.711"
	}
	return "uncompressed sound"
}

func h264Essence(sps, pps []byte) essence {
	return newEssence(&codecs.H264{SPS: bytes.Clone(sps), PPS: bytes.Clone(pps)})
}

// h265Essence takes the first parameter set of each kind.
func h265Essence(config *mp4.HvcC) essence {
	c := &codecs.H265{}
	for _, array := range config.NaluArrays {
		if len(array.Nalus) == 0 {
			continue
		}
		set := bytes.Clone(array.Nalus[0].NALUnit)
		switch h265.NALUType(array.NaluType) {
		case h265.NALUType_VPS_NUT:
			c.VPS = set
		case h265.NALUType_SPS_NUT:
			c.SPS = set
		case h265.NALUType_PPS_NUT:
			c.PPS = set
		}
	}
	return newEssence(c)
}

// setsOf are the parameter sets of a codec, in the order of decoding.
func setsOf(c codecs.Codec) (sets [][]byte) {
	var all [][]byte
	switch c := c.(type) {
	case *codecs.H264:
		all = [][]byte{c.SPS, c.PPS}
	case *codecs.H265:
		all = [][]byte{c.VPS, c.SPS, c.PPS}
	}
	for _, set := range all {
		if len(set) > 0 {
			sets = append(sets, set)
		}
	}
	return sets
}
