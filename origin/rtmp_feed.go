package origin

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bluenviron/gortmplib/pkg/message"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// What is kept until the tracks are known, at most; beyond it the publication
// begins with the tracks that are known.
const (
	rtmpHeldUnits = 512
	rtmpHeldBytes = 8 << 20
)

// rtmpMessages is where messages come from: a *gortmplib.ServerConn.
type rtmpMessages interface {
	Read() (message.Message, error)
}

// rtmpFeed turns the messages of one publisher into units. Nothing in RTMP says
// how many tracks there will be, so that the first second of them is held back,
// or less when a picture and a sound are known. One goroutine uses it.
type rtmpFeed struct {
	admission *admission
	transport string
	line      func() lineHealth
	begin     func(*ingest) // runs an ingest

	tracks    []*rtmpTrack // in the order of coming
	ingest    *ingest      // nil until it is open
	clock     unwrapper    // milliseconds, one clock for all tracks
	began     time.Time    // when the first unit came
	held      []timedUnit
	heldBytes int64
}

// rtmpTrack is one track.
type rtmpTrack struct {
	video bool
	id    uint8 // of enhanced RTMP, 0 elsewhere
	essence

	// sets are parameter sets that came since the last picture.
	sets [][]byte
}

var (
	errRTMPChange = errors.New("the encoder changed its codec or its sound's parameters while it published")
	errRTMPTracks = fmt.Errorf("no codec was announced with the media of %v", startWait)
)

// read takes messages until there are no more, and returns why.
func (f *rtmpFeed) read(messages rtmpMessages) (err error) {
	defer func() { // the parsers are other people's
		if r := recover(); r != nil {
			err = panicError(r)
		}
	}()
	f.clock.bits = 32
	for {
		m, err := messages.Read()
		switch {
		case errors.Is(err, io.EOF):
			return errDisconnect
		case err != nil:
			return fmt.Errorf("connection or message broken: %w", err)
		}
		if err := f.take(m, time.Now()); err != nil {
			return err
		}
	}
}

// end tells the ingest why nothing comes any more.
func (f *rtmpFeed) end(reason error) { f.admission.end(f.ingest, reason) }

// take takes one message.
func (f *rtmpFeed) take(m message.Message, arrival time.Time) error {
	switch m := m.(type) {
	case *message.Video:
		if m.Type == message.VideoTypeConfig {
			return f.announce(f.track(true, 0), legacyVideo(m))
		}
		if m.Type == message.VideoTypeAU {
			return f.picture(f.track(true, 0), m.DTS, m.PTSDelta, m.AU, arrival)
		}
	case *message.Audio:
		if m.Codec == message.CodecMPEG4Audio && m.AACType == message.AudioAACTypeConfig {
			if m.AACConfig == nil {
				return nil // some send an empty one first
			}
			return f.announce(f.track(false, 0), newEssence(&codecs.MPEG4Audio{Config: *m.AACConfig}))
		}
		if m.Codec != message.CodecMPEG4Audio {
			return f.announce(f.track(false, 0), unsupported(essenceAudio, plainSoundName(m.Codec)))
		}
		return f.sound(f.track(false, 0), m.DTS, m.AU, arrival)
	case *message.VideoExMultitrack:
		return f.takeEx(m.Wrapped, m.TrackID, arrival)
	case *message.AudioExMultitrack:
		return f.takeEx(m.Wrapped, m.TrackID, arrival)
	case *message.CommandAMF0:
		// ffmpeg says FCUnpublish before, and complains of a line that is closed
		// behind that.
		if m.Name == "deleteStream" || m.Name == "closeStream" {
			return errDisconnect
		}
	default:
		return f.takeEx(m, 0, arrival)
	}
	return nil
}

// takeEx takes a message of enhanced RTMP.
func (f *rtmpFeed) takeEx(m message.Message, id uint8, arrival time.Time) error {
	switch m := m.(type) {
	case *message.VideoExSequenceStart:
		return f.announce(f.track(true, id), enhancedVideo(m))
	case *message.VideoExCodedFrames:
		return f.picture(f.track(true, id), m.DTS, m.PTSDelta, m.Payload, arrival)
	case *message.VideoExFramesX:
		return f.picture(f.track(true, id), m.DTS, 0, m.Payload, arrival)
	case *message.AudioExSequenceStart:
		return f.announce(f.track(false, id), enhancedAudio(m))
	case *message.AudioExCodedFrames:
		return f.sound(f.track(false, id), m.DTS, m.Payload, arrival)
	}
	return nil
}

// track returns the index of a track, a new one for what was not heard of yet.
func (f *rtmpFeed) track(video bool, id uint8) int {
	i := slices.IndexFunc(f.tracks, func(t *rtmpTrack) bool { return t.video == video && t.id == id })
	if i < 0 { // 512 at most: two kinds and a byte
		i = len(f.tracks)
		f.tracks = append(f.tracks, &rtmpTrack{video: video, id: id})
	}
	return i
}

// announce takes what a track is. Later ones may bring other parameter sets of
// pictures; whatever else changes needs a new publication, as encoders that
// connect again begin one.
func (f *rtmpFeed) announce(track int, e essence) error {
	t := f.tracks[track]
	known := t.codec != nil || t.problem != nil
	switch {
	case !known:
		t.essence = e
	case e.problem != nil && t.problem != nil:
		return nil
	case e.kind == essenceAudio && !sameSound(t.codec, e.codec), family(t.codec) != family(e.codec):
		return errRTMPChange
	}
	t.sets = setsOf(e.codec)
	return nil
}

// sameSound tells whether two descriptions of sound are equal.
func sameSound(a, b codecs.Codec) bool {
	switch a := a.(type) {
	case *codecs.MPEG4Audio:
		b, ok := b.(*codecs.MPEG4Audio)
		return ok && a.Config == b.Config
	case *codecs.Opus:
		b, ok := b.(*codecs.Opus)
		return ok && *a == *b
	}
	return false
}

// picture takes one access unit.
func (f *rtmpFeed) picture(track int, dts, delta time.Duration, body []byte, arrival time.Time) error {
	nalus, err := rtmpPicture(f.tracks[track].codec, body)
	if err != nil {
		if f.ingest != nil && !errors.Is(err, h264.ErrAVCCNoNALUs) {
			f.ingest.reception.damage(arrival, err)
		}
		return nil
	}
	t := f.tracks[track]
	payload := slices.Concat(t.sets, nalus)
	t.sets = nil
	return f.unit(track, dts, delta, payload, arrival)
}

// rtmpPicture takes a picture apart: NAL units with their lengths in four bytes
// before them, or the OBUs of AV1, which have theirs within.
func rtmpPicture(codec codecs.Codec, body []byte) (units [][]byte, err error) {
	if _, ok := codec.(*codecs.AV1); ok {
		err = (*av1.Bitstream)(&units).Unmarshal(body)
	} else {
		err = (*h264.AVCC)(&units).Unmarshal(body) // H.265 has the same form
	}
	return units, err
}

// sound takes one frame.
func (f *rtmpFeed) sound(track int, dts time.Duration, frame []byte, arrival time.Time) error {
	if len(frame) == 0 {
		return nil
	}
	return f.unit(track, dts, 0, [][]byte{frame}, arrival)
}

// unit gives a unit to the ingest, or holds it until that is open.
func (f *rtmpFeed) unit(track int, dts, delta time.Duration, payload [][]byte, arrival time.Time) error {
	decoded := time.Duration(f.clock.take(uint64(dts.Milliseconds()))) * time.Millisecond
	u := timedUnit{track: track, pts: decoded + delta, dts: decoded, dtsKnown: true, arrival: arrival, payload: payload}
	if f.ingest != nil {
		return f.enqueue(u)
	}
	if f.began.IsZero() {
		f.began = arrival
	}
	f.held = append(f.held, u)
	f.heldBytes += u.bytes()
	if !f.complete() && arrival.Sub(f.began) < startWait && len(f.held) < rtmpHeldUnits && f.heldBytes < rtmpHeldBytes {
		return nil
	}
	return f.open()
}

// complete tells whether a picture and a sound are announced.
func (f *rtmpFeed) complete() bool {
	var video, audio bool
	for _, t := range f.tracks {
		video = video || t.kind == essenceVideo
		audio = audio || t.kind == essenceAudio
	}
	return video && audio
}

// open begins the ingest with the tracks that are announced by now; what comes
// of others is dropped.
func (f *rtmpFeed) open() error {
	tracks := make([]essence, len(f.tracks))
	announced := false
	for i, t := range f.tracks {
		tracks[i] = t.essence
		if t.kind == essenceOther {
			tracks[i].name = "without a codec"
		}
		announced = announced || t.kind != essenceOther
	}
	if !announced {
		f.admission.logger.Warn("encoder refused", "reason", errRTMPTracks)
		return errRTMPTracks
	}
	in, err := f.admission.open(announcement{transport: f.transport, tracks: tracks, line: f.line})
	if err != nil {
		return err
	}
	f.ingest = in
	f.begin(in)
	for _, u := range f.held {
		if err := f.enqueue(u); err != nil {
			return err
		}
	}
	f.held = nil
	return nil
}

func (f *rtmpFeed) enqueue(u timedUnit) error {
	if !f.ingest.enqueue(u) {
		return errDisconnect // it knows better
	}
	return nil
}
