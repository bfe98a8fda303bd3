package origin

import "github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

// maxTapped is how many pictures wait for who taps a stream, at most: 4 s of 60
// a second. Beyond it they are left out, up to the next key picture.
const maxTapped = 240

// tapped is a picture of the top rung on its way to who makes others of it.
type tapped struct {
	Unit
	from  *Publication
	codec codecs.Codec // as announced; newer parameter sets are in the pictures
	rate  int
}

// tap takes the pictures of a stream's top rung as they come.
type tap struct {
	pictures chan tapped
	missed   bool // one was left out, and no key picture has come since
}

// tap opens the stream's one tap.
func (s *stream) openTap() <-chan tapped {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tap = &tap{pictures: make(chan tapped, maxTapped), missed: true}
	return s.tap.pictures
}

// offer never waits. It needs stream.mu.
func (t *tap) offer(p *Publication, u Unit) {
	if t == nil || p.index[u.Track] != videoID || t.missed && !u.Random {
		return
	}
	track := p.tracks[videoID]
	select {
	case t.pictures <- tapped{Unit: u, from: p, codec: track.Codec, rate: track.ClockRate}:
		t.missed = false
	default:
		t.missed = true
	}
}
