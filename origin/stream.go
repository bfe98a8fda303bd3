package origin

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"surgecast/relay"
)

// mainRendition is the one that tracks without a rung's name become, sound
// muxed in.
const mainRendition = "main"

// Why a publication is refused or has ended.
var (
	// ErrUnknownStream: the configuration names no such stream.
	ErrUnknownStream = errors.New("no such stream")
	// ErrCodecUnusable: no track can be packaged, or its parameters can't be
	// read.
	ErrCodecUnusable = errors.New("unusable codec")
	// ErrCodecChanged: the stream has other codec families, which it keeps until
	// the origin is started again, since players do not survive a change.
	ErrCodecChanged = errors.New("the stream has another codec")
	// ErrReplaced: a newer publication of the stream has begun.
	ErrReplaced = errors.New("replaced by a newer publisher")
	// ErrClosed: the publication was closed, or the origin is shutting down.
	ErrClosed = errors.New("closed")
)

// stream is one configured stream with its one timeline.
type stream struct {
	name      string
	constants relay.Constants
	out       *relay.Stream
	journal   *journal
	catalogue *catalogue
	logger    *slog.Logger

	mu       sync.Mutex
	closed   bool // by the end of Run
	current  *Publication
	declared map[int]Track // by id, as the first publication had them
	timeline *timeline
	meter    meter
	variant  relay.Variant // as published
}

// Publication is one publisher's turn on a stream.
type Publication struct {
	stream *stream
	done   chan struct{} // closed when it takes no more units

	// Guarded by stream.mu.
	packager *packager
	err      error // why it has ended
	began    time.Time
	segments int
}

// publish begins a publication; the older one is sealed and ends.
func (s *stream) publish(tracks []Track) (*Publication, error) {
	byID, index, err := chooseTracks(tracks)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if err := s.declare(byID, index); err != nil {
		return nil, err
	}
	if s.current != nil {
		s.current.end(ErrReplaced)
	}
	s.birth()
	p := &Publication{stream: s, done: make(chan struct{}), began: time.Now()}
	p.packager = newPackager(s.timeline, s.constants, byID, index)
	p.packager.closed = p.segmentClosed
	s.current = p
	s.logger.Info("publisher connected", "tracks", families(byID))
	return p, nil
}

// birth gives the timeline its first number, durably: a crash before the first
// segment was noted would else let the next start use the number again, were it
// within the same second.
func (s *stream) birth() {
	if !s.timeline.birth(time.Now()) {
		return
	}
	s.journal.note(s.name, s.timeline.record())
	if err := s.journal.save(); err != nil {
		s.logger.Error("journal not saved", "err", err)
	}
}

// declare holds a publication to the stream's track set: the first sets it. An
// audio track that was not declared is dropped, one that is missing stays in
// the init segment. It needs s.mu.
func (s *stream) declare(byID map[int]Track, index map[int]int) error {
	if s.declared == nil {
		s.declared = map[int]Track{}
		for id, t := range byID {
			s.declared[id] = t
		}
		return nil
	}
	if _, ok := s.declared[audioID]; !ok {
		delete(byID, audioID)
		for i, id := range index {
			if id == audioID {
				delete(index, i)
			}
		}
	}
	for id, was := range s.declared {
		is, ok := byID[id]
		switch {
		case !ok && id == audioID && len(byID) > 0:
			byID[id] = was
		case !ok || family(is.Codec) != family(was.Codec):
			return fmt.Errorf("%w: %q carries %v, the encoder sends %v; restart the origin to change it",
				ErrCodecChanged, s.name, families(s.declared), families(byID))
		}
	}
	if _, ok := s.declared[videoID]; !ok && byID[videoID].Codec != nil {
		return fmt.Errorf("%w: %q carries sound only; restart the origin to change it", ErrCodecChanged, s.name)
	}
	return nil
}

// chooseTracks picks the tracks to package, by id, and maps the publication's
// track numbers to ids: the first video and the first audio track of a codec
// that can be packaged.
func chooseTracks(tracks []Track) (map[int]Track, map[int]int, error) {
	byID, index := map[int]Track{}, map[int]int{}
	for i, t := range tracks {
		if t.Codec == nil || family(t.Codec) == "" || t.ClockRate < 1000 || t.ClockRate > 1_000_000 {
			continue
		}
		id := audioID
		if t.Codec.IsVideo() {
			id = videoID
		}
		if _, taken := byID[id]; !taken {
			byID[id], index[i] = t, id
		}
	}
	if len(byID) == 0 {
		return nil, nil, fmt.Errorf("%w: want H.264 or H.265, AAC or Opus", ErrCodecUnusable)
	}
	return byID, index, nil
}

// families names the codecs of tracks, video first.
func families(byID map[int]Track) []string {
	var names []string
	for _, id := range []int{videoID, audioID} {
		if t, ok := byID[id]; ok {
			names = append(names, family(t.Codec))
		}
	}
	return names
}

// Write takes the next unit, in the order of decoding for each track. It
// publishes what the unit completes and returns when that is done. It is called
// from one goroutine.
//
// Errors: ErrReplaced, ErrClosed; ErrCodecUnusable and what else ends the
// publication.
func (p *Publication) Write(u Unit) error {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if err := p.packager.write(u); err != nil {
		p.end(err)
		return err
	}
	return nil
}

// Close seals the open segment with what is pending and ends the publication.
// The stream goes on with the next one. Closing twice does nothing.
func (p *Publication) Close() {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.end(ErrClosed)
}

// Done returns a channel that is closed when the publication takes no more
// units, be it closed, replaced or failed.
func (p *Publication) Done() <-chan struct{} { return p.done }

// end needs stream.mu.
func (p *Publication) end(reason error) {
	if p.err != nil {
		return
	}
	if err := p.packager.seal(); err != nil {
		p.stream.logger.Error("segment not sealed", "err", err)
	}
	p.err = reason
	p.stream.current = nil
	close(p.done)
	p.stream.logger.Info("publisher gone", "reason", reason, "after", time.Since(p.began).Round(time.Millisecond), "segments", p.segments)
}

// segmentClosed notes how far the stream has come, and says so in the
// multivariant playlist when it is the first or when rates or codecs are not
// what that says. It runs in Write, with stream.mu held.
func (p *Publication) segmentClosed(c closedSegment) {
	s := p.stream
	p.segments++
	s.journal.note(s.name, s.timeline.record())
	s.meter.add(c.bytes, c.duration)
	measured := float64(c.frames) / max(c.duration.Seconds(), 0.001)
	if s.variant.FrameRate > 0 && s.variant.FrameRate-measured < 1 && measured-s.variant.FrameRate < 1 {
		measured = s.variant.FrameRate // not another revision for a frame more or less
	}
	v := newVariant(mainRendition, p.packager.describe(), &s.meter, measured)
	if equalVariant(v, s.variant) {
		return
	}
	s.variant = v
	s.out.SetIndex(relay.MultivariantText([]relay.Variant{v}))
	if s.catalogue.revise(s.name) {
		s.logger.Info("stream live", "codecs", v.Codecs, "width", v.Width, "height", v.Height, "frame_rate", v.FrameRate)
	}
}

func equalVariant(a, b relay.Variant) bool {
	return slices.Equal(a.Codecs, b.Codecs) && a.Bandwidth == b.Bandwidth && a.AverageBandwidth == b.AverageBandwidth &&
		a.Width == b.Width && a.Height == b.Height && a.FrameRate == b.FrameRate
}

// close ends the current publication and lets no other begin.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.current != nil {
		s.current.end(ErrClosed)
	}
}
