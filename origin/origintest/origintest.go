// Package origintest makes feeds for tests: real, decodable H.264 and AAC in
// tiny access units, at any frame rate, without an encoder. The picture is a
// still grey one and the sound is silence; sizes can be padded.
package origintest

import (
	"context"
	"math"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/origin"
)

const (
	videoClock   = 90000
	audioClock   = 48000
	audioSamples = 1024 // in a frame
)

// silence is an AAC-LC frame of two silent channels.
var silence = []byte{0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80}

// Source makes one feed. Set the fields, then call Tracks and Next or Run. The
// zero value is 25 pictures a second with a key frame each second, no sound.
type Source struct {
	// FPS is pictures a second, default 25. 23.976, 29.97 and 59.94 mean
	// 24000/1001, 30000/1001 and 60000/1001.
	FPS float64
	// GOP is how many pictures there are from one key frame to the next,
	// default those of a second. Negative: no key frame but the first.
	GOP int
	// Width and Height are in pixels, multiples of 16, default 64 × 48.
	Width, Height int
	// Audio adds a stereo AAC track at 48 kHz.
	Audio bool
	// Sounds is how many audio tracks Audio adds, default 1.
	Sounds int
	// AudioOnly leaves the pictures out.
	AudioOnly bool
	// PictureBytes is what each picture is padded to, with filler data.
	PictureBytes int
	// Start is the wall time of the first picture, default when Next is first
	// called.
	Start time.Time
	// WallDrift is added to the wall time for each second of media: an encoder
	// whose clock is fast or slow.
	WallDrift time.Duration

	picture int64 // how many were made
	sound   int64 // how many audio frames were made
	idr     uint32
}

// Tracks returns the tracks of the feed.
func (s *Source) Tracks() []origin.Track {
	audio := origin.Track{
		ClockRate: audioClock,
		Codec: &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{
			Type: mpeg4audio.ObjectTypeAACLC, SampleRate: audioClock, ChannelConfig: 2,
		}},
	}
	if s.AudioOnly {
		return []origin.Track{audio}
	}
	tracks := []origin.Track{{ClockRate: videoClock, Codec: &codecs.H264{SPS: s.sps(), PPS: pps()}}}
	for range s.sounds() {
		tracks = append(tracks, audio)
	}
	return tracks
}

// Next returns the next picture and the audio frames that begin before it ends,
// or the next audio frame of a feed of sound alone.
func (s *Source) Next() []origin.Unit {
	if s.Start.IsZero() {
		s.Start = time.Now()
	}
	if s.AudioOnly {
		return []origin.Unit{s.nextSound(0)}
	}
	units := []origin.Unit{s.nextPicture()}
	end := s.pictureTime(s.picture)
	for s.Audio && s.sound*audioSamples*videoClock < end*audioClock {
		u := s.nextSound(1)
		for range s.sounds() {
			units = append(units, u)
			u.Track++
		}
	}
	return units
}

// Due returns when an encoder in real time sends what Next returns next: at the
// end of that picture or frame.
func (s *Source) Due() time.Time {
	if s.AudioOnly {
		return s.Start.Add(ticks((s.sound+1)*audioSamples, audioClock))
	}
	return s.Start.Add(ticks(s.pictureTime(s.picture+1), videoClock))
}

// Run writes the feed in real time until ctx ends or write fails, and returns
// why. In a testing/synctest bubble that is the bubble's time.
func (s *Source) Run(ctx context.Context, write func(origin.Unit) error) error {
	if s.Start.IsZero() {
		s.Start = time.Now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(s.Due()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for _, u := range s.Next() {
			if err := write(u); err != nil {
				return err
			}
		}
	}
}

func (s *Source) sounds() int {
	if !s.Audio {
		return 0
	}
	return max(s.Sounds, 1)
}

func (s *Source) nextPicture() origin.Unit {
	gop := int64(s.GOP)
	if gop == 0 {
		gop = int64(math.Round(s.fps()))
	}
	inGOP := s.picture
	if gop > 0 {
		inGOP %= gop
	}
	pts := s.pictureTime(s.picture)
	u := origin.Unit{Track: 0, PTS: pts, DTS: pts, WallTime: s.wall(ticks(pts, videoClock)), Clock: ticks(pts, videoClock), Random: inGOP == 0}
	if u.Random {
		u.Payload = [][]byte{s.sps(), pps(), s.idrSlice()}
	} else {
		u.Payload = [][]byte{s.skipSlice(uint32(inGOP))}
	}
	u.Payload = s.pad(u.Payload)
	s.picture++
	return u
}

func (s *Source) nextSound(track int) origin.Unit {
	pts := s.sound * audioSamples
	s.sound++
	return origin.Unit{
		Track: track, PTS: pts, DTS: pts, Random: true,
		WallTime: s.wall(ticks(pts, audioClock)),
		Payload:  [][]byte{silence},
	}
}

func (s *Source) wall(at time.Duration) time.Time {
	return s.Start.Add(at + time.Duration(at.Seconds()*float64(s.WallDrift)))
}

func (s *Source) fps() float64 {
	if s.FPS == 0 {
		return 25
	}
	return s.FPS
}

// rate returns the frame rate as a fraction.
func (s *Source) rate() (num, den int64) {
	whole := math.Round(s.fps())
	if math.Abs(s.fps()-whole*1000/1001) < 0.005 {
		return int64(whole) * 1000, 1001
	}
	return int64(math.Round(s.fps() * 1000)), 1000
}

// pictureTime returns the time of the nth picture in ticks, rounded as an RTP
// sender does.
func (s *Source) pictureTime(n int64) int64 {
	num, den := s.rate()
	return (n*den*videoClock*2 + num) / (2 * num)
}

// pad appends a filler data unit.
func (s *Source) pad(nalus [][]byte) [][]byte {
	size := 0
	for _, n := range nalus {
		size += len(n)
	}
	if missing := s.PictureBytes - size; missing > 2 {
		filler := make([]byte, missing)
		for i := range filler {
			filler[i] = 0xff
		}
		filler[0], filler[missing-1] = 0x0c, 0x80
		nalus = append(nalus, filler)
	}
	return nalus
}

func ticks(n, rate int64) time.Duration {
	return time.Duration(n/rate)*time.Second + time.Duration(n%rate)*time.Second/time.Duration(rate)
}
