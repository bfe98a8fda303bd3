package origin

import (
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// Track is one elementary stream of a publication, video first. Of several
// video tracks the first is packaged (a bundle makes a publication of each), of
// audio tracks all up to eight.
type Track struct {
	// Codec is *codecs.H264, *codecs.H265, *codecs.MPEG4Audio or *codecs.Opus.
	// H.264 and H.265 come with their parameter sets filled in, as they were
	// when the publication began; newer ones travel inside the units.
	Codec codecs.Codec

	// ClockRate is the number of ticks per second in PTS and DTS: 90000 for
	// video, the sample rate for AAC, 48000 for Opus.
	ClockRate int

	// Missing says that the track was announced, but nothing of it has come
	// within the time that the others were waited for.
	Missing bool
}

// Unit is one access unit of a track: all NAL units of one picture, or one
// audio frame. Who receives it owns it; its bytes are never changed afterwards.
type Unit struct {
	// Track is the index into the publication's tracks.
	Track int

	// PTS and DTS are in ticks of the track's ClockRate, extended to 64 bits.
	// All tracks of a publication count from one common zero, so that equal
	// times mean lip sync. The zero is the PTS of the first unit, so PTS is
	// never negative. DTS of a track always grows and is at most PTS; it is
	// equal to PTS where pictures are not reordered, and may begin a few
	// frames below zero where they are (H.265).
	PTS, DTS int64

	// WallTime is when the PTS was captured, by the encoder's clock as told by
	// its RTCP sender reports, else by the time of arrival.
	WallTime time.Time

	// Clock is the PTS on the encoder's own count, which renditions of one
	// encoder have in common where the protocol keeps it.
	Clock time.Duration

	// Random is true for units that decoding can start at: an IDR picture (for
	// H.265 any random access picture), each audio frame.
	Random bool

	// Payload holds NAL units without start codes or length fields, with the
	// parameter sets in front of each random access picture, or exactly one
	// audio frame.
	Payload [][]byte
}
