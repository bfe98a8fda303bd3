package main

import (
	"fmt"

	"surgecast/origin"
)

// RungConfig is one rendition of a stream's picture.
type RungConfig struct {
	// Name is what encoders add to the stream's name, theatre/720, and stands in
	// URLs: 1 to 64 of a-z, 0-9 and "-". Required.
	Name string `yaml:"name"`

	// Height, in pixels, and Bitrate are those that a ladder makes the rung with;
	// for all but the first, which comes from the encoder.
	Height  Count   `yaml:"height"`
	Bitrate BitRate `yaml:"bitrate"`

	// UDP and Pull bring the rung as those of the stream bring its first one. Of all
	// but the first. Default none.
	UDP  UDPConfig  `yaml:"udp"`
	Pull PullConfig `yaml:"pull"`
}

// FFmpegConfig is the program that makes ladders.
type FFmpegConfig struct {
	// Path is the program. Default ffmpeg, where PATH has it.
	Path string `yaml:"path"`

	// Nice is how much it gives way to all else, 1 to 19. Default 10.
	Nice Count `yaml:"nice"`
}

// LadderBy says what makes the rungs below the first.
type LadderBy string

// Who makes them.
const (
	LadderNone   LadderBy = "none"
	LadderFFmpeg LadderBy = "ffmpeg"
)

// UnmarshalText reads one of the names.
func (l *LadderBy) UnmarshalText(text []byte) error {
	if oneOf(l, text, LadderNone, LadderFFmpeg) {
		return nil
	}
	return fmt.Errorf("%q is neither: write none or ffmpeg", text)
}

// The bounds of what a ladder makes.
const (
	leastHeight, mostHeight           = 90, 4320
	leastRungBitrate, mostRungBitrate = 50e3, 200e6
)

// completeRungs checks the rungs of the stream number i.
func (s *StreamConfig) completeRungs(d *document, i int) error {
	if s.Ladder == "" {
		s.Ladder = LadderNone
	}
	if s.Ladder == LadderFFmpeg && len(s.Rungs) < 2 {
		return d.at(place("streams", i, "ladder"), "streams[%d].ladder: there is no rung to be made: write rungs, the first for the encoder, the others with height and bitrate", i)
	}
	if err := origin.ValidRungs(s.rungNames()); err != nil {
		return d.at(place("streams", i, "rungs"), "streams[%d].rungs: %v", i, err)
	}
	for n := range s.Rungs {
		if err := s.completeSources(d, place("streams", i, "rungs", n), n); err != nil {
			return err
		}
	}
	for n := 1; n < len(s.Rungs) && s.Ladder == LadderFFmpeg; n++ {
		r := s.Rungs[n]
		switch {
		case r.Height < leastHeight || r.Height > mostHeight || r.Height%2 != 0:
			return d.at(place("streams", i, "rungs", n, "height"), "streams[%d].rungs[%d].height: the ladder needs one: write an even number from %d to %d", i, n, leastHeight, mostHeight)
		case r.Bitrate < leastRungBitrate || r.Bitrate > mostRungBitrate:
			return d.at(place("streams", i, "rungs", n, "bitrate"), "streams[%d].rungs[%d].bitrate: the ladder needs one: write 50kbit/s to 200Mbit/s", i, n)
		}
	}
	return nil
}

// completeSources checks what rung n comes from; here is where its keys stand.
func (s *StreamConfig) completeSources(d *document, here []any, n int) error {
	r := &s.Rungs[n]
	switch {
	case n == 0 && r.UDP.Port != 0:
		return d.at(under(here, "udp"), "%s: the first rung comes by the stream's own udp: write it there", pathText(under(here, "udp")))
	case n == 0 && r.Pull.On():
		return d.at(under(here, "pull"), "%s: the first rung comes by the stream's own pull: write it there", pathText(under(here, "pull")))
	case s.Ladder == LadderFFmpeg && r.Pull.On():
		return d.at(under(here, "pull"), "%s: the ladder makes this rung: remove one of both", pathText(under(here, "pull")))
	}
	if err := r.UDP.complete(d, under(here, "udp")); err != nil {
		return err
	}
	return r.Pull.complete(d, under(here, "pull"))
}

func (c *FFmpegConfig) complete(d *document) error {
	if c.Nice > 19 {
		return d.at(place("ffmpeg", "nice"), "ffmpeg.nice: %d is out of bounds: write 1 to 19", c.Nice)
	}
	return nil
}

func (s *StreamConfig) rungNames() (names []string) {
	for _, r := range s.Rungs {
		names = append(names, r.Name)
	}
	return names
}

// ladder is the configuration of what makes the stream's lower rungs.
func (s *StreamConfig) ladder(ffmpeg FFmpegConfig) origin.LadderConfig {
	c := origin.LadderConfig{Stream: s.Name, FFmpeg: ffmpeg.Path, Nice: int(ffmpeg.Nice)}
	for _, r := range s.Rungs[1:] {
		c.Rungs = append(c.Rungs, origin.LadderRung{Name: r.Name, Height: int(r.Height), BitRate: int64(r.Bitrate)})
	}
	return c
}
