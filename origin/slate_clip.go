package origin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
)

// Bounds of a slate; what is beyond them is refused.
const (
	// MaxSlateBytes bounds the file: it is held in memory while it is shown.
	MaxSlateBytes   = 16 << 20
	leastSlate      = time.Second
	mostSlate       = time.Minute
	mostSlateKeys   = 5 * time.Second        // between key pictures: how long who comes in between may wait
	mostPictureTime = 100 * time.Millisecond // a part has two pictures at least
)

// slateClip are the pictures of a slate, ready to be shown again and again.
// Sound is left out: what a stream has of it is silent meanwhile.
type slateClip struct {
	codec    codecs.Codec
	pictures []slatePicture // in the order of decoding
	length   int64          // of all
}

// slatePicture has its times in ticks of videoClockRate; the first one is shown
// at zero.
type slatePicture struct {
	dts, pts int64
	random   bool
	payload  [][]byte // as in a Unit
}

// parseSlate reads an MP4 or MPEG-TS file and says what is wrong with it.
func parseSlate(file []byte) (clip *slateClip, err error) {
	defer func() { // the parsers are other people's
		if r := recover(); r != nil {
			clip, err = nil, fmt.Errorf("the file can't be read: a parser gave up: %v", r)
		}
	}()
	if len(file) > MaxSlateBytes {
		return nil, fmt.Errorf("the file has %d bytes, want at most %d: shorten it, or encode it smaller", len(file), MaxSlateBytes)
	}
	clip = &slateClip{}
	if len(file) > 0 && file[0] == mpegtsSync {
		err = clip.readMPEGTS(file)
	} else {
		err = clip.readMP4(file)
	}
	if err != nil {
		return nil, err
	}
	return clip, clip.check()
}

var errNoSlatePictures = errors.New("the file has no pictures that can be shown: want MP4 or MPEG-TS with H.264, H.265 or AV1")

// maxSlateSamples bounds each count in the tables of an MP4 file. The parser
// believes them up to millions of samples, which takes it seconds; a slate with
// uncompressed sound has more, and is refused.
const maxSlateSamples = 10_000

// countsSane looks at the tables of samples before the parser does: at the number
// of their entries, and of the samples or bytes that an entry stands for.
func countsSane(file []byte) bool {
	for _, box := range []struct {
		name         string
		count        int // where the number of entries is, behind the name
		first, width int // where the first entry's number is, 0: nowhere; how long an entry is
		most         int // of that number: of samples, or of the bytes of one
	}{
		{"stts", 4, 8, 8, maxSlateSamples},
		{"ctts", 4, 8, 8, maxSlateSamples},
		{"stsc", 4, 12, 12, maxSlateSamples},
		{"stsz", 8, 12, 4, len(file)},
		{"stco", 4, 0, 0, 0},
	} {
		for rest := file; ; {
			i := bytes.Index(rest, []byte(box.name))
			if i < 0 {
				break
			}
			rest = rest[i+4:]
			number := func(at int) uint32 {
				if at+4 > len(rest) {
					return 0
				}
				return binary.BigEndian.Uint32(rest[at:])
			}
			entries := number(box.count)
			if entries > maxSlateSamples || box.name == "stsz" && int64(number(4)) > int64(len(file)) {
				return false
			}
			for n := 0; n < int(entries) && box.first > 0; n++ {
				if int64(number(box.first+n*box.width)) > int64(box.most) {
					return false
				}
			}
		}
	}
	return true
}

func (c *slateClip) readMP4(file []byte) error {
	if !countsSane(file) {
		return fmt.Errorf("it says that it has more than %d samples of a track: leave out its sound, and shorten it", maxSlateSamples)
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(file)); err != nil {
		return fmt.Errorf("%w (%w)", errNoSlatePictures, err)
	}
	for _, track := range p.Tracks {
		if track.Codec == nil || !track.Codec.IsVideo() || family(track.Codec) == "" || track.TimeScale == 0 {
			continue
		}
		form := newForm(track.Codec)
		var at int64
		for _, s := range track.Samples {
			body, err := s.GetPayload()
			if err != nil {
				return fmt.Errorf("the file is cut: %w", err)
			}
			nalus, err := sampleNALUs(track.Codec, body)
			if err != nil {
				return fmt.Errorf("a picture can't be read: %w", err)
			}
			dts := rescale(at, int(track.TimeScale), videoClockRate)
			pts := rescale(at+int64(s.PTSOffset), int(track.TimeScale), videoClockRate)
			if err := c.add(form, dts, pts, nalus); err != nil {
				return err
			}
			at += int64(s.Duration)
		}
		c.length = rescale(at, int(track.TimeScale), videoClockRate)
		return nil
	}
	return errNoSlatePictures
}

// sampleNALUs takes a sample of MP4 apart.
func sampleNALUs(c codecs.Codec, body []byte) (nalus [][]byte, err error) {
	if _, ok := c.(*codecs.AV1); ok {
		err = (*av1.Bitstream)(&nalus).Unmarshal(body)
	} else {
		err = (*h264.AVCC)(&nalus).Unmarshal(body) // of H.265, too
	}
	return nalus, err
}

func (c *slateClip) readMPEGTS(file []byte) error {
	reader := &mpegts.Reader{R: bytes.NewReader(file)}
	if err := reader.Initialize(); err != nil {
		return fmt.Errorf("%w (%w)", errNoSlatePictures, err)
	}
	reader.OnDecodeError(func(error) {}) // what is missing is found by check
	clock := unwrapper{bits: mpegtsClockBits}
	for _, track := range reader.Tracks() {
		var form form
		take := func(pts, dts int64, nalus [][]byte) error {
			at := clock.take(uint64(dts))
			return c.add(form, at, at+pts-dts, nalus)
		}
		switch track.Codec.(type) {
		case *tscodecs.H264:
			form = newForm(&codecs.H264{})
			reader.OnDataH264(track, take)
		case *tscodecs.H265:
			form = newForm(&codecs.H265{})
			reader.OnDataH265(track, take)
		default:
			continue
		}
		for {
			switch err := reader.Read(); {
			case errors.Is(err, io.EOF):
				if n := len(c.pictures); n > 1 { // the last is taken to be as long as the one before
					c.length = 2*c.pictures[n-1].dts - c.pictures[n-2].dts - c.pictures[0].dts
				}
				return nil
			case err != nil:
				return fmt.Errorf("the file can't be read: %w", err)
			}
		}
	}
	return errNoSlatePictures
}

// add adds a picture; what is before the first key picture is left out.
func (c *slateClip) add(f form, dts, pts int64, nalus [][]byte) error {
	s, err := f.shape(&timedUnit{payload: nalus})
	if err != nil {
		return err
	}
	if len(s.payload) == 0 || len(c.pictures) == 0 && !s.random {
		return nil
	}
	c.codec = f.codec()
	c.pictures = append(c.pictures, slatePicture{dts: dts, pts: pts, random: s.random, payload: s.payload})
	return nil
}

// check holds the pictures to what a loop needs, and lets them begin at zero.
func (c *slateClip) check() error {
	if len(c.pictures) == 0 {
		return errNoSlatePictures
	}
	if _, err := describe(c.codec); err != nil {
		return fmt.Errorf("the parameter sets can't be read: %w", err)
	}
	if length := ticksDuration(c.length, videoClockRate); length < leastSlate || length > mostSlate {
		return fmt.Errorf("it lasts %v, want %v to %v: it is shown again and again", length.Round(time.Millisecond), leastSlate, mostSlate)
	}
	zero, begin := c.pictures[0].pts, c.pictures[0].dts
	key := begin
	for i := range c.pictures {
		p := &c.pictures[i]
		next := begin + c.length
		if i+1 < len(c.pictures) {
			next = c.pictures[i+1].dts
		}
		if p.random {
			key = p.dts
		}
		switch {
		case p.pts < zero:
			return errors.New("pictures before the first key picture belong to it: encode with closed GOPs")
		case p.pts < p.dts || p.pts-p.dts > maxReorderTicks || p.pts-zero > c.length:
			return errors.New("the times of its pictures are out of order")
		case next <= p.dts || ticksDuration(next-p.dts, videoClockRate) > mostPictureTime:
			return fmt.Errorf("a picture is shown for longer than %v, or for no time: encode with 10 pictures a second or more", mostPictureTime)
		case ticksDuration(next-key, videoClockRate) > mostSlateKeys:
			return fmt.Errorf("key pictures are more than %v apart: encode with one each second", mostSlateKeys)
		}
	}
	for i := range c.pictures {
		c.pictures[i].dts -= zero
		c.pictures[i].pts -= zero
	}
	return nil
}
