package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
)

// clipFile is the built-in clip: 16 s of H.264 and AAC that can be repeated
// without a seam. clip/make.sh made it.
//
//go:embed clip/clip.mp4
var clipFile []byte

// clip is a piece of programme, ready to be sent again and again. Both tracks
// are exactly as long as the other.
type clip struct {
	video    *codecs.H264
	audio    *codecs.MPEG4Audio
	samples  []clipSample // in the order of sending
	duration time.Duration
}

// clipSample is a picture, as NAL units, or an audio frame.
type clipSample struct {
	track   int // 0 video, 1 audio
	at      time.Duration
	payload [][]byte
}

const (
	clipVideo = iota
	clipAudio
)

// loadClip takes the built-in file apart.
func loadClip() (*clip, error) {
	var file pmp4.Presentation
	if err := file.Unmarshal(bytes.NewReader(clipFile)); err != nil {
		return nil, fmt.Errorf("built-in clip: %w", err)
	}
	if len(file.Tracks) != 2 {
		return nil, errors.New("built-in clip: want two tracks")
	}
	c := &clip{}
	var ok [2]bool
	c.video, ok[clipVideo] = file.Tracks[clipVideo].Codec.(*codecs.H264)
	c.audio, ok[clipAudio] = file.Tracks[clipAudio].Codec.(*codecs.MPEG4Audio)
	if !ok[clipVideo] || !ok[clipAudio] {
		return nil, errors.New("built-in clip: want H.264 and AAC")
	}
	var tracks [2][]clipSample
	for i, track := range file.Tracks {
		samples, duration, err := clipSamples(i, track)
		if err != nil {
			return nil, fmt.Errorf("built-in clip: %w", err)
		}
		if i > 0 && duration != c.duration {
			return nil, fmt.Errorf("built-in clip: tracks of %v and %v", c.duration, duration)
		}
		tracks[i], c.duration = samples, duration
	}
	c.samples = interleave(tracks[clipVideo], tracks[clipAudio])
	return c, nil
}

// clipSamples takes one track apart. Each key picture gets the parameter sets,
// which MP4 keeps aside, as most encoders send them.
func clipSamples(index int, track *pmp4.Track) (samples []clipSample, duration time.Duration, err error) {
	var ticks uint64
	for _, s := range track.Samples {
		payload, err := s.GetPayload()
		if err != nil {
			return nil, 0, err
		}
		one := clipSample{track: index, at: ticksAt(ticks, track.TimeScale), payload: [][]byte{payload}}
		if video, ok := track.Codec.(*codecs.H264); ok {
			var nalus h264.AVCC
			if err := nalus.Unmarshal(payload); err != nil {
				return nil, 0, err
			}
			one.payload = nalus
			if !s.IsNonSyncSample {
				one.payload = append([][]byte{video.SPS, video.PPS}, nalus...)
			}
		}
		samples = append(samples, one)
		ticks += uint64(s.Duration)
	}
	return samples, ticksAt(ticks, track.TimeScale), nil
}

func ticksAt(ticks uint64, timeScale uint32) time.Duration {
	return time.Duration(ticks * uint64(time.Second) / uint64(timeScale))
}

// interleave merges two tracks by time.
func interleave(a, b []clipSample) []clipSample {
	merged := make([]clipSample, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].at <= b[0].at {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}
