package origin

import (
	"bytes"
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
	// it is ended or forgotten and the origin is started again, since players do
	// not survive a change.
	ErrCodecChanged = errors.New("the stream has another codec")
	// ErrReplaced: a newer publication of the stream has begun.
	ErrReplaced = errors.New("replaced by a newer publisher")
	// ErrEnded: the stream was ended for good, until the origin starts again.
	ErrEnded = errors.New("the stream has ended; restart the origin to begin it anew")
	// ErrDateRange: its id was used before, it lies before the list, or that has
	// too many.
	ErrDateRange = errors.New("date range refused")
	// ErrClosed: the publication was closed, or the origin is shutting down.
	ErrClosed = errors.New("closed")
)

// stream is one configured stream with its one timeline.
type stream struct {
	StreamConfig
	dir       string        // of the origin's state
	window    time.Duration // least length of the live list
	store     *relay.Store
	out       *relay.Stream
	journal   *journal
	catalogue *catalogue
	logger    *slog.Logger
	news      chan struct{} // holds one: there is something for the media journal

	mu       sync.Mutex
	closed   bool        // by the end of Run
	ended    *time.Timer // until the stream is forgotten; nil while it lives
	current  *Publication
	declared map[int]Track // by id, as the first publication had them
	timeline *timeline
	meter    meter
	variant  relay.Variant    // of the leading rendition alone, as published
	index    []byte           // the multivariant playlist, as published
	beside   []*sideRendition // audio renditions; none when sound is muxed
	marks    map[string]bool  // ids of date ranges, used for good
	loss     loss
}

// sideRendition is an audio rendition that lives as long as its stream.
type sideRendition struct {
	timeline *timeline
	meter    meter
}

// maxMarks bounds the date ranges of a stream's life.
const maxMarks = 10_000

// Publication is one publisher's turn on a stream.
type Publication struct {
	stream *stream
	done   chan struct{} // closed when it takes no more units

	// Guarded by stream.mu.
	packager *packager
	err      error // why it has ended
	began    time.Time
	segments int
	stall    *stall // nil unless it stood still, and was filled
}

// publish begins a publication; the older one is sealed and ends.
func (s *stream) publish(tracks []Track) (*Publication, error) {
	byID, index, err := chooseTracks(tracks)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return nil, err
	}
	if err := s.declare(byID, index); err != nil {
		return nil, err
	}
	if s.current != nil {
		s.current.end(ErrReplaced)
	}
	s.birth()
	p := &Publication{stream: s, done: make(chan struct{}), began: time.Now()}
	p.packager = newPackager(s.timeline, s.Constants, s.leading(byID), index)
	p.packager.sounds = s.sounds(byID)
	p.packager.closed = p.segmentClosed
	s.current = p
	s.logger.Info("publisher connected", "tracks", families(byID))
	return p, nil
}

// over tells why the stream takes nothing more. It needs s.mu.
func (s *stream) over() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.ended != nil:
		return ErrEnded
	}
	return nil
}

// leading returns the tracks of the leading rendition.
func (s *stream) leading(byID map[int]Track) map[int]Track {
	tracks := map[int]Track{}
	for id, t := range byID {
		if id == videoID || len(s.beside) == 0 {
			tracks[id] = t
		}
	}
	return tracks
}

// sounds returns the packagers of the audio renditions.
func (s *stream) sounds(byID map[int]Track) []*sound {
	var all []*sound
	for i, r := range s.beside {
		all = append(all, newSound(r.timeline, s.Constants, byID[audioID+i], &r.meter))
	}
	return all
}

// birth gives the timelines their first number, durably: a crash before the
// first segment was noted would else let the next start use the number again,
// were it within the same second.
func (s *stream) birth() {
	now := time.Now()
	if !s.timeline.birth(now) {
		return
	}
	for _, r := range s.beside {
		r.timeline.birth(now)
	}
	s.journal.note(s.Name, s.record())
	if err := s.journal.save(); err != nil {
		s.logger.Error("journal not saved", "err", err)
	}
}

// record is what the journal keeps: of all renditions the newest number.
func (s *stream) record() streamRecord {
	record := s.timeline.record()
	for _, r := range s.beside {
		record.Init = max(record.Init, r.timeline.record().Init)
	}
	return record
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
	if p.stream.loss.filler != nil && p.packager.isLead(u) {
		if !p.resumes(u, time.Now()) {
			return nil
		}
		p.stream.endFill()
	}
	if err := p.packager.write(u); err != nil {
		p.end(err)
		return err
	}
	p.stream.heard()
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
	p.stream.heard()
	p.stream.hasten()
	close(p.done)
	p.stream.logger.Info("publisher gone", "reason", reason, "after", time.Since(p.began).Round(time.Millisecond), "segments", p.segments)
}

// segmentClosed notes how far the stream has come, and says so in the
// multivariant playlist when it is the first or when rates or codecs are not
// what that says. It runs in Write, with stream.mu held.
func (p *Publication) segmentClosed(c closedSegment) {
	s := p.stream
	p.segments++
	s.journal.note(s.Name, s.record())
	s.meter.add(c.bytes, c.duration)
	measured := float64(c.frames) / max(c.duration.Seconds(), 0.001)
	if s.variant.FrameRate > 0 && s.variant.FrameRate-measured < 1 && measured-s.variant.FrameRate < 1 {
		measured = s.variant.FrameRate // not another revision for a frame more or less
	}
	for _, r := range s.beside {
		if r.timeline.window.Version() == nil {
			return // nobody is led to a list that is not there yet
		}
	}
	s.variant = newVariant(mainRendition, p.packager.describe(), &s.meter, measured)
	v := s.withSounds(s.variant, p.packager.sounds)
	index := relay.MultivariantText([]relay.Variant{v}, s.soundLines(p.packager.sounds)...)
	if bytes.Equal(index, s.index) {
		return
	}
	s.index = index
	s.out.SetIndex(index)
	if s.catalogue.revise(s.Name) {
		s.logger.Info("stream live", "codecs", v.Codecs, "width", v.Width, "height", v.Height, "frame_rate", v.FrameRate)
	}
}

// end ends the stream; see Origin.End.
func (s *stream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return nil
	}
	if s.closed {
		return ErrClosed
	}
	if s.current != nil {
		s.current.end(ErrEnded)
	}
	s.endFill()
	length := s.Constants.TargetDuration
	for _, t := range s.timelines() {
		if t.window.Version() == nil {
			continue
		}
		t.list.Ended = true
		length = max(length, t.length())
	}
	s.ended = time.AfterFunc(length, s.forget)
	if err := publishAll(s.published(), nil); err != nil {
		return err
	}
	s.logger.Info("stream ended", "listed_for", length)
	return nil
}

// forget ends what is left of a stream that has ended.
func (s *stream) forget() {
	s.catalogue.remove(s.Name)
	s.store.Remove(s.Name)
}

func (s *stream) timelines() []*timeline {
	all := []*timeline{s.timeline}
	for _, r := range s.beside {
		all = append(all, r.timeline)
	}
	return all
}

// published are the timelines that have a list.
func (s *stream) published() []*timeline {
	return slices.DeleteFunc(s.timelines(), func(t *timeline) bool { return t.window.Version() == nil })
}

// mark adds a date range; see Origin.Mark.
func (s *stream) mark(d relay.DateRange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return err
	}
	if s.marks[d.ID] || len(s.marks) >= maxMarks {
		return fmt.Errorf("%w: %q was used before, or the stream has had %d", ErrDateRange, d.ID, maxMarks)
	}
	if begin := s.timeline.begin(); !d.End.IsZero() && d.End.Before(begin) {
		return fmt.Errorf("%w: it ends before the live list begins, at %s", ErrDateRange, begin.Format(time.RFC3339))
	}
	for _, t := range s.timelines() {
		if err := t.mark(d); err != nil {
			return err
		}
	}
	if s.marks == nil {
		s.marks = map[string]bool{}
	}
	s.marks[d.ID] = true
	s.logger.Info("marked", "id", d.ID)
	return nil
}

// close ends the current publication and lets no other begin.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.ended != nil {
		s.ended.Stop()
	}
	if s.current != nil {
		s.current.end(ErrClosed)
	}
	s.endFill()
	if s.loss.timer != nil {
		s.loss.timer.Stop()
	}
}
