package origin

import (
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// What sizes say without decoding. An encoder spends next to nothing on a picture
// that shows what the one before did, and on sound that is not there; noise, which
// every camera and microphone has, costs it much more. They were measured on what
// x264, x265 and ffmpeg's AAC and Opus make of moving, still, black and striped
// pictures and of noise, at 640 × 360 and at 1920 × 1080; TestSizes repeats it.
//
// Fillers do not count. What can't be told: a still slide from a frozen picture,
// and an encoder that pads its slices.

// tinyRun is how many tiny pictures in a row are needed: between moving ones lie
// some that are tiny too, where the encoder makes B-frames.
const tinyRun = 10

// frameLimits are sizes in bytes.
type frameLimits struct {
	tiny int // a picture that shows nothing new, or a frame of silence

	black, plain int // most that a key picture of one colour, and of bars, has
}

// learn takes the codec of a track. One that isn't known yet or can't be read
// has no limits: then nothing seems tiny.
func (f *frameLimits) learn(c codecs.Codec) {
	switch c := c.(type) {
	case *codecs.MPEG4Audio:
		f.tiny = 8 + 4*channels(c)
		return
	case *codecs.Opus:
		f.tiny = 8
		return
	}
	d, err := describe(c)
	if err != nil {
		*f = frameLimits{tiny: -1}
		return
	}
	blocks := d.width * d.height / 256
	f.tiny = 96 + blocks/16
	f.black, f.plain = 200+blocks/10, 1000+blocks
	if h, ok := c.(*codecs.H264); ok && !cabac(h.PPS) {
		// CAVLC writes at least some bits for each block.
		f.black, f.plain = 200+blocks*4/5, 3600+2*blocks
	}
}

// cabac tells whether a picture parameter set of H.264 says CABAC: it has two
// ids in Exp-Golomb code, then the flag.
func cabac(pps []byte) bool {
	at := 8 // bits; the head of the NAL unit
	bit := func() int {
		if at/8 >= len(pps) {
			return 1
		}
		b := pps[at/8] >> (7 - at%8) & 1
		at++
		return int(b)
	}
	for range 2 {
		zeros := 0
		for bit() == 0 && zeros < 16 {
			zeros++
		}
		at += zeros
	}
	return bit() == 1
}
