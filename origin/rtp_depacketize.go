package origin

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

// rtpUnit is an access unit out of RTP, still with the track's own 32-bit
// timestamp.
type rtpUnit struct {
	timestamp uint32
	afterLoss bool // what came before it may be missing
	payload   [][]byte
}

// depacketizer puts the RTP packets of one track together again. It is used by
// one goroutine at a time and keeps the payloads of the packets that it is
// given.
type depacketizer interface {
	// depacketize takes the next packet and returns the access units that are
	// whole now. After an error the access unit of that packet is lost.
	depacketize(packet *rtp.Packet) ([]rtpUnit, error)
	// lost says that packets are missing right before this one. What may be
	// damaged by that is dropped.
	lost(packet *rtp.Packet)
}

// newDepacketizer returns the depacketizer of a format and what the SDP says of
// the codec. The error says what to set on the encoder.
func newDepacketizer(f format.Format) (depacketizer, codecs.Codec, error) {
	switch f := f.(type) {
	case *format.H264:
		return newH264Depacketizer(f)
	case *format.H265:
		return newH265Depacketizer(f)
	case *format.AV1:
		return newAV1Depacketizer(f)
	case *format.MPEG4Audio:
		return newAACDepacketizer(f)
	case *format.MPEG4AudioLATM:
		return newLATMDepacketizer(f)
	case *format.Opus:
		return newOpusDepacketizer(f)
	}
	return nil, nil, fmt.Errorf("codec %s %w", f.Codec(), errUnsupported)
}

// errLost is the error for packets that belong to an access unit of which
// something is missing already.
var errLost = errors.New("part of the access unit is missing")
