package origin

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

const (
	videoClockRate = 90000

	// A picture beyond these is refused: 8 MiB, what decoders of level 5.1 may
	// ever see, and more slices than any encoder makes.
	maxPictureBytes = h264.MaxAccessUnitSize
	maxPictureNALUs = 512

	// maxReorderTicks is how far PTS may be ahead of DTS: 16 pictures of 5 fps.
	// The distance comes from fields that the encoder writes freely.
	maxReorderTicks = 16 * videoClockRate / 5
)

// naluKind is what a NAL unit is to us, over all video codecs.
type naluKind int

const (
	naluVPS naluKind = iota // the first three are indexes into parameterSets
	naluSPS
	naluPPS
	naluOther    // kept where it stands: SEI and the like
	naluPicture  // a slice
	naluRandom   // a slice of a picture that decoding can start at
	naluUnwanted // delimiters and filler: they have no place in MP4
)

// parameterSets are the newest ones of each kind: VPS, SPS, PPS.
type parameterSets [3][][]byte

// videoCodec is what differs between H.264 and H.265.
type videoCodec interface {
	nalus(packet *rtp.Packet) ([][]byte, error)
	reset()
	kind(nalu []byte) naluKind
	codec(sets parameterSets) codecs.Codec
	newDTSExtractor() dtsExtractor
}

type dtsExtractor interface {
	Extract(au [][]byte, pts int64) (int64, error)
}

// videoDepacketizer groups NAL units into pictures, by the marker bit and by
// the timestamp, since some encoders forget one of the two. ffmpeg tells the
// parameter sets in the SDP only, others send them in front of each key
// picture: here they always come out in front of each key picture.
type videoDepacketizer struct {
	video videoCodec
	sets  parameterSets

	picture      [][]byte
	pictureBytes int
	timestamp    uint32

	broken          bool // the picture with brokenTimestamp is dropped
	brokenTimestamp uint32

	extractor dtsExtractor
	stale     bool // the extractor has counted on pictures that got lost
	last      int64
	lastKnown bool
}

func newVideoDepacketizer(video videoCodec, sets parameterSets) *videoDepacketizer {
	return &videoDepacketizer{video: video, sets: sets, extractor: video.newDTSExtractor()}
}

func (d *videoDepacketizer) codec() codecs.Codec { return d.video.codec(d.sets) }

func (d *videoDepacketizer) lost(packet *rtp.Packet) {
	d.video.reset()
	d.drop(packet.Timestamp)
}

// drop gives up the picture with this timestamp, and what was gathered of one
// before it.
func (d *videoDepacketizer) drop(timestamp uint32) {
	d.picture, d.pictureBytes = nil, 0
	d.broken, d.brokenTimestamp = true, timestamp
	d.stale = true
}

func (d *videoDepacketizer) depacketize(packet *rtp.Packet) ([]accessUnit, error) {
	if d.broken && packet.Timestamp == d.brokenTimestamp {
		return nil, errLost
	}
	d.broken = false
	var units []accessUnit
	if len(d.picture) > 0 && packet.Timestamp != d.timestamp {
		units = d.finish(units)
	}
	d.timestamp = packet.Timestamp
	if err := d.gather(packet); err != nil {
		d.video.reset()
		d.drop(packet.Timestamp)
		return units, err
	}
	if packet.Marker {
		units = d.finish(units)
	}
	return units, nil
}

// gather adds a packet's NAL units to the picture.
func (d *videoDepacketizer) gather(packet *rtp.Packet) error {
	nalus, err := d.video.nalus(packet)
	if err != nil {
		return err
	}
	for _, nalu := range nalus {
		d.picture = append(d.picture, nalu)
		d.pictureBytes += len(nalu)
	}
	if d.pictureBytes > maxPictureBytes || len(d.picture) > maxPictureNALUs {
		return fmt.Errorf("picture of more than %d bytes or %d NAL units", maxPictureBytes, maxPictureNALUs)
	}
	return nil
}

// finish appends the gathered picture to units, unless it holds parameter
// sets only: these are remembered for the next key picture.
func (d *videoDepacketizer) finish(units []accessUnit) []accessUnit {
	var own parameterSets
	var slices [][]byte
	var picture, random bool
	for _, nalu := range d.picture {
		switch kind := d.video.kind(nalu); kind {
		case naluVPS, naluSPS, naluPPS:
			own[kind] = append(own[kind], nalu)
		case naluUnwanted:
		default:
			picture = picture || kind == naluPicture || kind == naluRandom
			random = random || kind == naluRandom
			slices = append(slices, nalu)
		}
	}
	d.picture, d.pictureBytes = nil, 0
	d.remember(own)
	if !picture {
		return units
	}
	sets := own
	if random {
		sets = d.sets
	}
	return append(units, accessUnit{timestamp: d.timestamp, random: random, payload: sets.before(slices)})
}

// remember keeps the parameter sets for later pictures, in memory of their
// own: those of the packets are shared with whole pictures.
func (d *videoDepacketizer) remember(own parameterSets) {
	for kind, sets := range own {
		if len(sets) == 0 || slices.EqualFunc(sets, d.sets[kind], bytes.Equal) {
			continue
		}
		d.sets[kind] = nil
		for _, set := range sets {
			d.sets[kind] = append(d.sets[kind], bytes.Clone(set))
		}
	}
}

func (s parameterSets) before(slices [][]byte) [][]byte {
	payload := make([][]byte, 0, len(s[naluVPS])+len(s[naluSPS])+len(s[naluPPS])+len(slices))
	for _, sets := range s {
		payload = append(payload, sets...)
	}
	return append(payload, slices...)
}

var errReorder = errors.New("pictures are reordered too far")

func (d *videoDepacketizer) dts(unit accessUnit, pts int64) (int64, error) {
	if unit.random && d.stale {
		// The extractor counts pictures; after a loss it would take the gap
		// for reordering, and never come back from it.
		d.extractor, d.stale = d.video.newDTSExtractor(), false
	}
	dts, err := d.extractor.Extract(unit.payload, pts)
	if err != nil {
		return 0, err
	}
	if d.lastKnown {
		dts = max(dts, d.last+1)
	}
	// While it learns how far pictures are reordered the extractor doesn't
	// check its results.
	if dts > pts {
		return 0, errors.New("time goes back")
	}
	if pts-dts > maxReorderTicks {
		d.stale = true
		return 0, errReorder
	}
	d.last, d.lastKnown = dts, true
	return dts, nil
}
