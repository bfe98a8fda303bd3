package origin

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// Track ids in init segments and parts. A publication without video has its
// sound under audioID all the same: ids are part of a stream's track set.
const (
	videoID = 1
	audioID = 2
)

// initSegment returns the init segment of these tracks, given by id.
func initSegment(tracks map[int]Track) ([]byte, error) {
	var init fmp4.Init
	for _, id := range []int{videoID, audioID} {
		if t, ok := tracks[id]; ok {
			init.Tracks = append(init.Tracks, &fmp4.InitTrack{ID: id, TimeScale: uint32(t.ClockRate), Codec: t.Codec})
		}
	}
	var b seekablebuffer.Buffer
	if err := init.Marshal(&b); err != nil {
		return nil, fmt.Errorf("write init segment: %w", err)
	}
	return b.Bytes(), nil
}

// partBytes returns a part as one moof and one mdat. A track without frames is
// left out; one has some.
func partBytes(sequence uint32, tracks map[int][]frame) ([]byte, error) {
	part, size := fmp4.Part{SequenceNumber: sequence}, 256 // about what boxes take beside the samples
	for _, id := range []int{videoID, audioID} {
		frames := tracks[id]
		if len(frames) == 0 {
			continue
		}
		track := &fmp4.PartTrack{ID: id, BaseTime: uint64(frames[0].dts)}
		for i := range frames {
			track.Samples = append(track.Samples, frames[i].sample())
			size += 16 + len(frames[i].payload)
		}
		part.Tracks = append(part.Tracks, track)
	}
	var b seekablebuffer.Buffer
	b.Grow(size) // a megabyte of 4K would be copied again and again as it grows
	if err := part.Marshal(&b); err != nil {
		return nil, fmt.Errorf("write part: %w", err)
	}
	return b.Bytes(), nil
}

func (f *frame) sample() *fmp4.Sample {
	return &fmp4.Sample{
		Duration:        uint32(f.duration),
		PTSOffset:       int32(f.offset),
		IsNonSyncSample: !f.random,
		Payload:         f.payload,
	}
}

// pictureBytes returns the NAL units of a picture, each behind its length.
// Parameter sets that the init segment has are left out, as the sample entries
// avc1, hvc1 and av01 want it; others stay, for encoders that use more than one of a
// kind.
func pictureBytes(c codecs.Codec, nalus [][]byte) ([]byte, error) {
	known := initParameters(c)
	kept := make([][]byte, 0, len(nalus))
	for _, nalu := range nalus {
		isKnown := slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, nalu) })
		if len(nalu) > 0 && !isKnown {
			kept = append(kept, nalu)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	marshal := h264.AVCC(kept).Marshal // of H.265, too
	if _, ok := c.(*codecs.AV1); ok {
		marshal = av1.Bitstream(kept).Marshal
	}
	b, err := marshal()
	if err != nil {
		return nil, fmt.Errorf("write picture: %w", err)
	}
	return b, nil
}
