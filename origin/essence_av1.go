package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// av1Codec is AV1, whose OBUs take the place of NAL units: a temporal unit is a
// picture, its sequence header the parameter set. Clauses are those of the AV1
// bitstream specification.
type av1Codec struct{}

func (av1Codec) kind(obu []byte) naluKind {
	if len(obu) < 2 {
		return naluUnwanted
	}
	switch obu[0] >> 3 & 0xf { // obu_type, 6.2.2
	case 1: // sequence header
		return naluSPS
	case 3, 6: // frame header, frame
		if keyFrame(obu) {
			return naluRandom
		}
		return naluPicture
	case 4, 7: // tile group, redundant frame header
		return naluPicture
	case 5: // metadata
		return naluOther
	}
	return naluUnwanted
}

// keyFrame reads the beginning of an uncompressed header (5.9.2): no
// show_existing_frame, frame_type 0. With a reduced_still_picture_header it is
// not there, but that is for stills.
func keyFrame(obu []byte) bool {
	body := obu[1:]
	if obu[0]&0b100 != 0 { // extension
		body = body[1:]
	}
	if obu[0]&0b10 != 0 { // size
		var size av1.LEB128
		n, err := size.Unmarshal(body)
		if err != nil {
			return false
		}
		body = body[n:]
	}
	return len(body) > 0 && body[0]&0b1110_0000 == 0
}

func (av1Codec) open([]byte) openSign { return openNo }

func (av1Codec) codec(sets parameterSets) codecs.Codec {
	if len(sets[naluSPS]) == 0 {
		return nil
	}
	return &codecs.AV1{SequenceHeader: sets[naluSPS][0]}
}

func (av1Codec) newDTSExtractor() dtsExtractor { return presented{} }

// presented is for pictures that come in the order of their showing, as the
// temporal units of AV1 do.
type presented struct{}

func (presented) Extract(_ [][]byte, pts int64) (int64, error) { return pts, nil }

// checkAV1 lets through what all browsers with AV1 decode: Main profile.
func checkAV1(c *codecs.AV1) error {
	if len(c.SequenceHeader) == 0 {
		return nil // it will come in the stream
	}
	var header av1.SequenceHeader
	if err := header.Unmarshal(c.SequenceHeader); err != nil {
		return fmt.Errorf("AV1 sequence header: %w: %w", errUnreadable, err)
	}
	if header.SeqProfile != 0 || len(header.SeqLevelIdx) == 0 {
		return errors.New("AV1 4:2:2, 4:4:4 or with 12 bits does not play in browsers: set the encoder to profile Main (yuv420p)")
	}
	return nil
}

func describeAV1(c *codecs.AV1) (trackDescription, error) {
	var header av1.SequenceHeader
	if err := header.Unmarshal(c.SequenceHeader); err != nil {
		return trackDescription{}, fmt.Errorf("read sequence header: %w", err)
	}
	if len(header.SeqLevelIdx) == 0 || len(header.SeqTier) == 0 {
		return trackDescription{}, errors.New("read sequence header: no level")
	}
	tier := "M"
	if header.SeqTier[0] {
		tier = "H"
	}
	return trackDescription{
		codec:  fmt.Sprintf("av01.%d.%02d%s.%02d", header.SeqProfile, header.SeqLevelIdx[0], tier, header.ColorConfig.BitDepth),
		width:  header.Width(),
		height: header.Height(),
	}, nil
}
