package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

// accessUnit is one on its way from RTP to a Unit: still with the
// track's own 32-bit timestamp.
type accessUnit struct {
	timestamp uint32
	random    bool
	payload   [][]byte
}

// depacketizer puts the RTP packets of one track together again. It is used by
// one goroutine and keeps the payloads of the packets that it is given.
type depacketizer interface {
	// depacketize takes the next packet and returns the access units that are
	// whole now. After an error the access unit of that packet is lost.
	depacketize(packet *rtp.Packet) ([]accessUnit, error)

	// lost says that packets are missing right before this one. What may be
	// damaged by that is dropped.
	lost(packet *rtp.Packet)

	// dts returns the decoding time of an access unit, in the order of coming.
	dts(unit accessUnit, pts int64) (int64, error)

	// codec describes the track with its newest parameter sets, or is nil
	// while some are missing.
	codec() codecs.Codec
}

// newDepacketizer returns the depacketizer of a format and the clock rate of
// its timestamps. The error says what to set on the encoder.
func newDepacketizer(f format.Format) (depacketizer, int, error) {
	switch f := f.(type) {
	case *format.H264:
		return newH264Depacketizer(f)
	case *format.H265:
		return newH265Depacketizer(f)
	case *format.MPEG4Audio:
		return newAACDepacketizer(f)
	case *format.MPEG4AudioLATM:
		return newLATMDepacketizer(f)
	case *format.Opus:
		return newOpusDepacketizer(f)
	}
	return nil, 0, fmt.Errorf("codec %s is not supported: set the encoder to H.264 (or H.265) and AAC-LC (or Opus)", f.Codec())
}

// errLost is the error for packets that belong to an access unit of which
// something is missing already.
var errLost = errors.New("part of the access unit is missing")
