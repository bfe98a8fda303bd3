package origin

import (
	"math"
	"slices"
	"strconv"
	"time"

	"surgecast/relay"
)

const (
	// headroomPercent is added to a measured peak, so that BANDWIDTH holds for
	// what has not come yet.
	headroomPercent = 20
	// leastMeasured is the shortest segment whose rate counts as a peak, once
	// there is any: a key frame alone would look like a flood.
	leastMeasured = time.Second
)

// meter measures a rendition's rates. What it publishes only rises, in steps,
// so that the multivariant playlist seldom changes.
type meter struct {
	bytes    int64
	duration time.Duration
	peak     float64 // bits/s, of a segment

	bandwidth, average int64 // as published, bits/s; 0 before the first segment
}

// add counts a segment and tells whether the published rates rose.
func (m *meter) add(bytes int, duration time.Duration) bool {
	m.bytes += int64(bytes)
	m.duration += duration
	if duration >= leastMeasured || m.bandwidth == 0 {
		m.peak = max(m.peak, bitRate(int64(bytes), duration))
	}
	average := bitRate(m.bytes, m.duration)
	if m.peak <= float64(m.bandwidth) && average <= float64(m.average) {
		return false
	}
	if m.peak > float64(m.bandwidth) {
		m.bandwidth = rateStep(m.peak * (100 + headroomPercent) / 100)
	}
	m.average = min(rateStep(average), m.bandwidth)
	return true
}

func bitRate(bytes int64, duration time.Duration) float64 {
	return float64(bytes) * 8 / max(duration.Seconds(), 0.001)
}

// rateStep rounds a rate up to a step of 5 to 10 %, 50 kbit/s at least.
func rateStep(bps float64) int64 {
	step := 50_000.0
	for bps > 20*step {
		step *= 2
	}
	return int64(max(math.Ceil(bps/step), 1) * step)
}

// newVariant describes a rendition by its tracks, leading one first, and its
// rates. Where the encoder does not tell its frame rate, the measured one is
// taken.
func newVariant(rendition string, tracks []trackDescription, m *meter, measured float64) relay.Variant {
	v := relay.Variant{
		Rendition:        rendition,
		Bandwidth:        m.bandwidth,
		AverageBandwidth: m.average,
	}
	for _, t := range tracks {
		v.Codecs = append(v.Codecs, t.codec)
		if t.width == 0 {
			continue
		}
		v.Width, v.Height, v.FrameRate = t.width, t.height, t.frameRate
		if v.FrameRate == 0 {
			v.FrameRate = measured
		}
		v.FrameRate = math.Round(v.FrameRate*1000) / 1000
	}
	return v
}

// withSounds returns the variant as it is played with any of its sounds: the
// rates are those with the fattest, the codecs all that there are.
func (s *stream) withSounds(v relay.Variant, sounds []*sound) relay.Variant {
	v.Codecs = slices.Clone(v.Codecs)
	var peak, average int64
	for i, one := range sounds {
		m := &s.beside[i].meter
		peak, average = max(peak, m.bandwidth), max(average, m.average)
		if d, err := describe(one.track.Codec); err == nil && !slices.Contains(v.Codecs, d.codec) {
			v.Codecs = append(v.Codecs, d.codec)
		}
	}
	v.Bandwidth += peak
	v.AverageBandwidth += average
	return v
}

// soundLines describes the audio renditions. Their names are what a player's
// menu shows: the language where it is known.
func (s *stream) soundLines(sounds []*sound) []relay.Sound {
	var all []relay.Sound
	names := map[string]bool{}
	for i, one := range sounds {
		line := relay.Sound{Rendition: one.timeline.rendition, Channels: channels(one.track.Codec), Default: i == 0}
		line.Name = line.Rendition
		if i < len(s.Languages) && s.Languages[i] != "" {
			line.Language = s.Languages[i]
			line.Name = line.Language
		}
		if names[line.Name] {
			line.Name += " " + strconv.Itoa(i+1)
		}
		names[line.Name] = true
		all = append(all, line)
	}
	return all
}
