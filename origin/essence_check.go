package origin

import (
	"errors"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// errUnreadable: parameter sets are damaged, or of a kind that nobody knows.
var errUnreadable = errors.New("can't be read")

// checkCodec refuses what browsers can't play, with what to set instead. What
// isn't known yet passes; it is checked again later.
func checkCodec(c codecs.Codec) error {
	switch c := c.(type) {
	case *codecs.H264:
		return checkH264(c)
	case *codecs.H265:
		return checkH265(c)
	case *codecs.AV1:
		return checkAV1(c)
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
