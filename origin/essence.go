package origin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// essence is one elementary stream as a protocol announces it, before anything
// is known of whether it can be played.
type essence struct {
	kind essenceKind
	name string // of the codec, as the protocol calls it

	// codec has the parameter sets that are told outside of the media, as far
	// as they are; nil when there is a problem.
	codec codecs.Codec

	// problem is why it can't be taken, and what to set on the encoder.
	problem error
}

type essenceKind int

const (
	essenceOther essenceKind = iota // data, subtitles: dropped
	essenceVideo
	essenceAudio
)

func (e essence) String() string {
	kind := [...]string{"data", "video", "audio"}[e.kind]
	return kind + " " + e.name
}

// errUnsupported follows the name of a codec.
var errUnsupported = errors.New("is not supported: set the encoder to H.264 (or H.265, AV1) and AAC-LC (or Opus)")

// newEssence is what a codec is that the packager knows.
func newEssence(c codecs.Codec) essence {
	kind := essenceAudio
	if c.IsVideo() {
		kind = essenceVideo
	}
	return essence{kind: kind, name: family(c), codec: c}
}

// clockRate is that of a publication's track: of video the one that all
// protocols have, of audio the number of samples a second.
func clockRate(c codecs.Codec) int {
	switch c := c.(type) {
	case *codecs.MPEG4Audio:
		return c.Config.SampleRate
	case *codecs.Opus:
		return opusClockRate
	}
	return videoClockRate
}

const opusClockRate = 48000

// check says what is wrong with an essence, as far as can be told before its
// first picture.
func (e essence) check() error {
	if e.problem != nil {
		return e.problem
	}
	return checkCodec(e.codec)
}

// chosenEssences are those that are published, in the publication's order.
type chosenEssences struct {
	all     []essence
	index   []int // into all
	dropped []essence
	most    int // of video
}

// chooseEssences takes so many video and up to maxSounds audio of what a
// client announces. Its error says what to set on the encoder. With lenient,
// sound that can't be published is dropped beside a picture.
func chooseEssences(all []essence, pictures int, lenient bool) (chosenEssences, error) {
	chosen := chosenEssences{all: all, most: pictures}
	for _, kind := range []essenceKind{essenceVideo, essenceAudio} {
		room := pictures
		if kind == essenceAudio {
			room = maxSounds
		}
		first := true
		for i, e := range all {
			if e.kind != kind {
				continue
			}
			err := e.check()
			if err != nil && first && !(lenient && len(chosen.index) > 0) {
				return chosenEssences{}, err
			}
			first = false
			if err != nil || room == 0 {
				chosen.dropped = append(chosen.dropped, e)
				continue
			}
			room--
			chosen.index = append(chosen.index, i)
		}
	}
	for _, e := range all {
		if e.kind == essenceOther {
			chosen.dropped = append(chosen.dropped, e)
		}
	}
	if len(chosen.index) == 0 {
		return chosenEssences{}, errors.New("neither video nor audio is announced: set the encoder to H.264 and AAC-LC")
	}
	return chosen, nil
}

// tracks are those of the publication, as they are announced.
func (c chosenEssences) tracks() (tracks []Track) {
	for _, i := range c.index {
		tracks = append(tracks, Track{Codec: c.all[i].codec, ClockRate: clockRate(c.all[i].codec)})
	}
	return tracks
}

// names are those of the codecs.
func (c chosenEssences) names() (names []string) {
	for _, i := range c.index {
		names = append(names, c.all[i].name)
	}
	return names
}

// pictures counts those of video.
func (c chosenEssences) pictures() (n int) {
	for _, i := range c.index {
		if c.all[i].kind == essenceVideo {
			n++
		}
	}
	return n
}

// notes tell before anybody watches what a part of the viewers will not get.
func (c chosenEssences) notes() (notes []string) {
	if len(c.dropped) > 0 {
		names := make([]string, len(c.dropped))
		for i, e := range c.dropped {
			names[i] = e.String()
		}
		first := "the first"
		if c.most > 1 {
			first = fmt.Sprintf("the first %d, for which there are rungs", c.most)
		}
		notes = append(notes, "not published, of video all but "+first+": turn it off on the encoder: "+strings.Join(names, ", "))
	}
	for _, i := range c.index {
		switch c.all[i].codec.(type) {
		case *codecs.H265:
			notes = append(notes, "H.265 plays in Safari, and elsewhere only where the device has a decoder for it: set the encoder to H.264 to reach everyone")
		case *codecs.AV1:
			notes = append(notes, "AV1 plays in Safari only where the device has a decoder for it: set the encoder to H.264 to reach everyone")
		}
	}
	return notes
}

// silentNote is for a feed of a stream itself: a branch may well bring pictures
// alone.
const silentNote = "no sound is announced: turn it on at the encoder, unless there is nothing to hear"

// hasSound tells whether sound is among them.
func (c chosenEssences) hasSound() bool {
	return slices.ContainsFunc(c.index, func(i int) bool { return c.all[i].kind == essenceAudio })
}

// form is what a codec demands of its units. It is used by one goroutine.
type form interface {
	// shape turns a unit's payload into that of a Unit. An error means that the
	// unit is of no use; without payload there is nothing to publish.
	shape(u *timedUnit) (shaped, error)
	// codec describes the track with its newest parameter sets, or is nil
	// while some are missing.
	codec() codecs.Codec
	// dts returns the decoding time of a unit in ticks, in the order of coming.
	dts(s shaped, t unitTimes) (int64, error)
}

// shaped is the payload of a Unit.
type shaped struct {
	payload [][]byte
	random  bool // decoding can start here
	changed bool // the track's parameter sets are other ones than before

	sliceBytes int      // of a picture, without all that stands around it
	open       openSign // what the picture says of its GOP
}

// unitTimes are in ticks of the track.
type unitTimes struct {
	pts, dts int64
	dtsKnown bool
}

// newForm returns the form of a codec that was chosen.
func newForm(c codecs.Codec) form {
	switch c := c.(type) {
	case *codecs.H264:
		return newVideoForm(h264Codec{}, parameterSets{nil, setOf(c.SPS), setOf(c.PPS)})
	case *codecs.H265:
		return newVideoForm(h265Codec{}, parameterSets{setOf(c.VPS), setOf(c.SPS), setOf(c.PPS)})
	case *codecs.AV1:
		return newVideoForm(av1Codec{}, parameterSets{nil, setOf(c.SequenceHeader), nil})
	}
	return &audioForm{description: c}
}

func setOf(set []byte) [][]byte {
	if len(set) == 0 {
		return nil
	}
	return [][]byte{set}
}
