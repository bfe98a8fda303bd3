package origintest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"surgecast/relay"
)

// Coded is what an encoder made, apart from all containers: of one video and one
// audio track each access unit, in the order of decoding.
type Coded struct {
	Pictures, Sounds []CodedUnit
}

// CodedUnit is one access unit.
type CodedUnit struct {
	At   time.Duration // PTS, from where the container begins
	Hash [sha256.Size]byte
}

// CodedFile reads an MP4 file. start is the decoding time of the first unit of
// each track, in ticks of the track, as the edit lists have it: pmp4 does not
// read those that begin before zero.
func CodedFile(path string, start int64) (Coded, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return Coded{}, err
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(file)); err != nil {
		return Coded{}, fmt.Errorf("read %s: %w", path, err)
	}
	var c Coded
	for _, track := range p.Tracks {
		dts := start
		for _, s := range track.Samples {
			payload, err := s.GetPayload()
			if err != nil {
				return Coded{}, fmt.Errorf("read %s: %w", path, err)
			}
			at := ticks(dts+int64(s.PTSOffset), int64(track.TimeScale))
			if err := c.add(track.Codec, at, payload); err != nil {
				return Coded{}, err
			}
			dts += int64(s.Duration)
		}
	}
	return c, nil
}

// CodedWindow reads all segments that a live window lists.
func CodedWindow(ctx context.Context, w *relay.Window) (Coded, error) {
	var c Coded
	version := w.Version()
	if version == nil {
		return c, errors.New("nothing was published")
	}
	var was relay.MediaName
	var tracks fmp4.Init
	for _, segment := range version.Playlist.Segments {
		if segment.Map != was {
			init, err := w.Media(ctx, segment.Map)
			if err != nil {
				return c, fmt.Errorf("%v: %w", segment.Map, err)
			}
			tracks = fmp4.Init{} // else it adds to those
			if err := tracks.Unmarshal(bytes.NewReader(init.Body)); err != nil {
				return c, fmt.Errorf("%v: %w", segment.Map, err)
			}
			was = segment.Map
		}
		media, err := w.Media(ctx, segment.Name)
		if err != nil {
			return c, fmt.Errorf("%v: %w", segment.Name, err)
		}
		if err := c.addSegment(&tracks, media.Body); err != nil {
			return c, fmt.Errorf("%v: %w", segment.Name, err)
		}
	}
	return c, nil
}

func (c *Coded) addSegment(init *fmp4.Init, body []byte) error {
	var parts fmp4.Parts
	if err := parts.Unmarshal(body); err != nil {
		return err
	}
	for _, part := range parts {
		for _, media := range part.Tracks {
			for _, track := range init.Tracks {
				if track.ID != media.ID {
					continue
				}
				at := int64(media.BaseTime)
				for _, s := range media.Samples {
					if err := c.add(track.Codec, ticks(at+int64(s.PTSOffset), int64(track.TimeScale)), s.Payload); err != nil {
						return err
					}
					at += int64(s.Duration)
				}
			}
		}
	}
	return nil
}

func (c *Coded) add(codec codecs.Codec, at time.Duration, payload []byte) error {
	if !codec.IsVideo() {
		c.Sounds = append(c.Sounds, CodedUnit{At: at, Hash: sha256.Sum256(payload)})
		return nil
	}
	var nalus [][]byte
	var err error
	if _, ok := codec.(*codecs.AV1); ok {
		err = (*av1.Bitstream)(&nalus).Unmarshal(payload)
	} else {
		err = (*h264.AVCC)(&nalus).Unmarshal(payload) // H.265 has the same form
	}
	if err != nil {
		return err
	}
	hash := sha256.New()
	for _, nalu := range nalus {
		if coded(codec, nalu) {
			_ = binary.Write(hash, binary.BigEndian, uint32(len(nalu))) // a hash never fails
			hash.Write(nalu)
		}
	}
	c.Pictures = append(c.Pictures, CodedUnit{At: at, Hash: [sha256.Size]byte(hash.Sum(nil))})
	return nil
}

// coded tells whether a NAL unit is one of the video coding layer, or an OBU
// that makes a picture.
func coded(codec codecs.Codec, nalu []byte) bool {
	if len(nalu) == 0 {
		return false
	}
	switch codec.(type) {
	case *codecs.H265:
		return nalu[0]>>1&0x3f < 32
	case *codecs.AV1:
		kind := nalu[0] >> 3 & 0xf
		return kind == 3 || kind == 4 || kind == 6 || kind == 7
	}
	kind := nalu[0] & 0x1f
	return kind >= 1 && kind <= 5
}

// Comparison says how what came out lies in what went in.
type Comparison struct {
	// PicturesBefore and SoundsBefore are missing at the beginning,
	// PicturesAfter and SoundsAfter at the end; between is all of it.
	PicturesBefore, PicturesAfter, SoundsBefore, SoundsAfter int
	// Offset is how much later sound is than it was, against the picture; the
	// greatest of all sounds.
	Offset time.Duration
}

// Compare finds out in in. It is an error when out is not one unbroken piece of
// it, bit for bit, or when its pictures have other distances in time than a
// tick of their clock.
func Compare(in, out Coded) (Comparison, error) {
	var c Comparison
	var err error
	if c.PicturesBefore, err = find("picture", in.Pictures, out.Pictures); err != nil {
		return c, err
	}
	c.PicturesAfter = len(in.Pictures) - c.PicturesBefore - len(out.Pictures)
	if len(in.Sounds) == 0 && len(out.Sounds) == 0 {
		return c, nil
	}
	if c.SoundsBefore, err = find("sound", in.Sounds, out.Sounds); err != nil {
		return c, err
	}
	c.SoundsAfter = len(in.Sounds) - c.SoundsBefore - len(out.Sounds)
	moved := out.Pictures[0].At - in.Pictures[c.PicturesBefore].At
	for i, sound := range out.Sounds {
		if off := sound.At - in.Sounds[c.SoundsBefore+i].At - moved; off.Abs() > c.Offset.Abs() {
			c.Offset = off
		}
	}
	return c, nil
}

// find returns where out begins in in.
func find(what string, in, out []CodedUnit) (int, error) {
	if len(out) == 0 {
		return 0, fmt.Errorf("no %s came out", what)
	}
	for first := range in {
		if in[first].Hash != out[0].Hash {
			continue
		}
		for i := range out {
			if first+i >= len(in) {
				return 0, fmt.Errorf("%d more %ss came out than went in", len(out)-i, what)
			}
			if in[first+i].Hash != out[i].Hash {
				return 0, fmt.Errorf("%s %d, the %dth that came out, is another one than went in", what, first+i, i)
			}
		}
		return first, nil
	}
	return 0, fmt.Errorf("the first %s that came out never went in", what)
}
