package origin

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// family names a codec as an operator knows it, "" when it can't be packaged.
// A stream keeps its families for good.
func family(c codecs.Codec) string {
	switch c.(type) {
	case *codecs.H264:
		return "H.264"
	case *codecs.H265:
		return "H.265"
	case *codecs.AV1:
		return "AV1"
	case *codecs.MPEG4Audio:
		return "AAC"
	case *codecs.Opus:
		return "Opus"
	}
	return ""
}

// withParameters returns the codec with the parameter sets that a random access
// unit brings, and whether they differ from those it had. A unit without any
// changes nothing.
func withParameters(c codecs.Codec, nalus [][]byte) (codecs.Codec, bool) {
	switch c := c.(type) {
	case *codecs.H264:
		n := *c
		for _, nalu := range nalus {
			if len(nalu) == 0 {
				continue
			}
			switch h264.NALUType(nalu[0] & 0x1f) {
			case h264.NALUTypeSPS:
				n.SPS = nalu
			case h264.NALUTypePPS:
				n.PPS = nalu
			}
		}
		return &n, !bytes.Equal(n.SPS, c.SPS) || !bytes.Equal(n.PPS, c.PPS)
	case *codecs.H265:
		n := *c
		for _, nalu := range nalus {
			if len(nalu) == 0 {
				continue
			}
			switch h265.NALUType(nalu[0] >> 1 & 0x3f) {
			case h265.NALUType_VPS_NUT:
				n.VPS = nalu
			case h265.NALUType_SPS_NUT:
				n.SPS = nalu
			case h265.NALUType_PPS_NUT:
				n.PPS = nalu
			}
		}
		return &n, !bytes.Equal(n.VPS, c.VPS) || !bytes.Equal(n.SPS, c.SPS) || !bytes.Equal(n.PPS, c.PPS)
	case *codecs.AV1:
		n := *c
		for _, obu := range nalus {
			if (av1Codec{}).kind(obu) == naluSPS {
				n.SequenceHeader = obu
			}
		}
		return &n, !bytes.Equal(n.SequenceHeader, c.SequenceHeader)
	}
	return c, false
}

// initParameters returns those that stand in the init segment.
func initParameters(c codecs.Codec) [][]byte {
	switch c := c.(type) {
	case *codecs.H264:
		return [][]byte{c.SPS, c.PPS}
	case *codecs.H265:
		return [][]byte{c.VPS, c.SPS, c.PPS}
	case *codecs.AV1:
		return [][]byte{c.SequenceHeader}
	}
	return nil
}

// trackDescription is what a multivariant playlist says of a track.
type trackDescription struct {
	codec         string // RFC 6381
	width, height int
	frameRate     float64 // as the encoder says, 0 when it does not
}

// describe says what is known of a codec. It is also the check that its
// parameter sets are there and readable.
func describe(c codecs.Codec) (trackDescription, error) {
	switch c := c.(type) {
	case *codecs.H264:
		return describeH264(c)
	case *codecs.H265:
		return describeH265(c)
	case *codecs.AV1:
		return describeAV1(c)
	case *codecs.MPEG4Audio:
		object := c.Config.Type
		if c.Config.ExtensionType != 0 {
			object = c.Config.ExtensionType
		}
		return trackDescription{codec: fmt.Sprintf("mp4a.40.%d", object)}, nil
	case *codecs.Opus:
		return trackDescription{codec: "opus"}, nil
	}
	return trackDescription{}, fmt.Errorf("codec %T", c)
}

// channels returns how many channels an audio codec has, 0 when not known.
func channels(c codecs.Codec) int {
	switch c := c.(type) {
	case *codecs.MPEG4Audio:
		switch n := c.Config.ChannelConfig; {
		case n >= 1 && n <= 6:
			return int(n)
		case n == 7:
			return 8
		}
	case *codecs.Opus:
		return c.ChannelCount
	}
	return 0
}

func describeH264(c *codecs.H264) (trackDescription, error) {
	var sps h264.SPS
	if err := sps.Unmarshal(c.SPS); err != nil {
		return trackDescription{}, fmt.Errorf("read SPS: %w", err)
	}
	if len(c.PPS) == 0 {
		return trackDescription{}, errors.New("no PPS")
	}
	return trackDescription{
		codec:     fmt.Sprintf("avc1.%x", c.SPS[1:4]),
		width:     sps.Width(),
		height:    sps.Height(),
		frameRate: plausibleRate(sps.FPS()),
	}, nil
}

func describeH265(c *codecs.H265) (trackDescription, error) {
	var sps h265.SPS
	if err := sps.Unmarshal(c.SPS); err != nil {
		return trackDescription{}, fmt.Errorf("read SPS: %w", err)
	}
	if len(c.PPS) == 0 || len(c.VPS) == 0 {
		return trackDescription{}, errors.New("no VPS or PPS")
	}
	// profile_tier_level begins after the NAL unit's header and one byte.
	level := h264.EmulationPreventionRemove(c.SPS)[3:]
	if len(level) < 12 {
		return trackDescription{}, errors.New("read SPS: too short")
	}
	return trackDescription{
		codec:     hvc1(level),
		width:     sps.Width(),
		height:    sps.Height(),
		frameRate: plausibleRate(sps.FPS()),
	}, nil
}

// hvc1 writes a profile_tier_level as ISO/IEC 14496-15 annex E.3 wants it: the
// compatibility flags with their bits reversed, the constraint bytes without
// trailing zero ones.
func hvc1(level []byte) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if space := level[0] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	compatibility := uint32(level[1])<<24 | uint32(level[2])<<16 | uint32(level[3])<<8 | uint32(level[4])
	tier := "L"
	if level[0]>>5&1 == 1 {
		tier = "H"
	}
	fmt.Fprintf(&b, "%d.%X.%s%d", level[0]&0x1f, bits.Reverse32(compatibility), tier, level[11])
	for _, constraint := range bytes.TrimRight(level[5:11], "\x00") {
		fmt.Fprintf(&b, ".%X", constraint)
	}
	return b.String()
}

// plausibleRate returns 0 for what no encoder means.
func plausibleRate(fps float64) float64 {
	if fps >= 1 && fps <= 240 {
		return fps
	}
	return 0
}
