package origin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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
	slates    *slates
	logger    *slog.Logger
	news      chan struct{} // holds one: there is something for the media journal
	unwritten *atomic.Int64 // how often that began to fail, of all streams

	mu       sync.Mutex
	begun    bool             // somebody has led
	closed   bool             // by the end of Run
	ended    *time.Timer      // until the stream is forgotten; nil while it lives
	current  *Publication     // the one that leads; nil while nobody does
	declared map[int]Track    // by id, as the first publication had them
	tracks   map[int]Track    // by id, as the latest one that led had them
	pictures []*picture       // the top rung first; main, where there are no rungs
	timeline *timeline        // of the one that leads
	index    []byte           // the multivariant playlist, as published
	beside   []*sideRendition // audio renditions; none when sound is muxed
	marks    map[string]bool  // ids of date ranges, used for good
	loss     loss
	tap      *tap // nil unless somebody makes rungs
}

// sideRendition is an audio rendition that lives as long as its stream.
type sideRendition struct {
	timeline *timeline
	meter    meter
}

// maxMarks bounds the date ranges of a stream's life.
const maxMarks = 10_000

// Publication is one publisher's turn on a stream, or on a rung of it.
type Publication struct {
	stream  *stream
	picture *picture
	tracks  map[int]Track
	index   map[int]int
	claim   claim
	tied    bool          // it is made from the top rung, with that one's PTS as its clock, and never leads
	done    chan struct{} // closed when it takes no more units

	// Guarded by stream.mu.
	packager *packager // nil unless it leads
	err      error     // why it has ended
	began    time.Time
	segments int
	wrote    time.Time // when the latest picture came, or unit of sound alone
	stall    *stall    // nil unless it stood still, and was filled
}

// claim is what a publication has to its rung: it throws out those of the same and
// of a lesser claim.
type claim int

const (
	made    claim = iota // by a ladder
	further              // one of several pictures of a feed
	pushed
)

// publish begins a publication of a rung, "" for the top one; the older one of
// that is sealed and ends. It leads when nobody else does.
//
// Errors: ErrTaken, and what is wrong with the tracks.
func (s *stream) publish(rung string, tracks []Track, as claim) (*Publication, error) {
	byID, index, err := chooseTracks(tracks)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return nil, err
	}
	picture, err := s.picture(rung)
	if err != nil {
		return nil, err
	}
	if err := s.suits(picture, byID, index); err != nil {
		return nil, err
	}
	if picture.current != nil {
		if as < picture.current.claim {
			return nil, ErrTaken
		}
		picture.current.leave(ErrReplaced)
	}
	tied := as == made
	p := &Publication{stream: s, picture: picture, tracks: byID, index: index, claim: as, tied: tied, done: make(chan struct{}), began: time.Now()}
	switch {
	case s.current == nil && picture != s.pictures[0] && (tied || !s.begun):
		// It waits for the top rung.
	case s.current == nil || !tied && s.outdoes(p):
		if err := s.lead(p); err != nil {
			return nil, err
		}
	default:
		s.rung(picture).join(byID[videoID], s.ties(p))
	}
	picture.current, picture.family = p, family(byID[videoID].Codec)
	logger := s.logger
	if len(s.pictures) > 1 {
		logger = logger.With("rung", picture.timeline.rendition)
	}
	logger.Info("publisher connected", "tracks", families(byID))
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
	for _, t := range s.timelines()[1:] {
		t.birth(now)
	}
	s.journal.note(s.Name, s.record())
	if err := s.journal.save(); err != nil {
		s.logger.Error("journal not saved", "err", err)
	}
}

// record is what the journal keeps: of all renditions the newest number, and what
// was commanded.
func (s *stream) record() streamRecord {
	record := s.timeline.record()
	for _, t := range s.timelines()[1:] {
		record.Init = max(record.Init, t.record().Init)
	}
	record.Slate = cmp.Or(s.loss.ordered, s.loss.kept)
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
	if err := p.write(u); err != nil {
		p.end(err)
		return err
	}
	p.stream.heard()
	return nil
}

func (p *Publication) write(u Unit) error {
	s := p.stream
	if p.picture == s.pictures[0] {
		s.tap.offer(p, u)
	}
	picture := p.index[u.Track] == videoID
	if _, has := p.tracks[videoID]; picture || !has {
		p.wrote = time.Now()
	}
	key := u.Random && picture
	switch {
	case s.loss.ordered != "":
		return nil // received, and not shown
	case s.current == p:
	case s.current == nil && p.picture != s.pictures[0] && (p.tied || time.Since(p.began) < topPatience):
		return nil // see publish
	case s.current == nil, key && !p.tied && (s.outdoes(p) || s.loss.filler != nil && s.current.stands()):
		if err := s.lead(p); err != nil {
			return err
		}
	case picture:
		return s.current.packager.pushRung(s.rung(p.picture), u)
	default:
		return nil // the sound is the lead's
	}
	if s.loss.filler != nil && p.packager.isLead(u) {
		if !p.resumes(u, time.Now()) {
			return nil
		}
		s.endFill()
	}
	return p.packager.write(u)
}

// stands tells whether nothing comes of it.
func (p *Publication) stands() bool { return time.Since(p.wrote) > p.stream.Constants.TargetDuration }

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

// end ends it, and lets another rung lead if this one did. It needs stream.mu.
func (p *Publication) end(reason error) {
	p.leave(reason)
	p.stream.promote()
}

// sealed ends the lead of p. It needs stream.mu.
func (p *Publication) sealed() {
	if err := p.packager.seal(); err != nil {
		p.stream.logger.Error("segment not sealed", "err", err)
	}
	p.packager, p.stream.current = nil, nil
}

// leave ends it. It needs stream.mu.
func (p *Publication) leave(reason error) {
	if p.err != nil {
		return
	}
	s := p.stream
	if s.current == p {
		p.sealed()
	} else if r := s.rung(p.picture); r != nil {
		r.leave()
	}
	if p.picture.current == p {
		p.picture.current = nil
	}
	p.err = reason
	s.heard()
	s.hasten()
	close(p.done)
	s.logger.Info("publisher gone", "reason", reason, "after", time.Since(p.began).Round(time.Millisecond), "segments", p.segments)
}

// segmentClosed notes how far the stream has come, and says so in the
// multivariant playlist when it is the first or when rates or codecs are not
// what that says. It runs in Write, with stream.mu held.
func (p *Publication) segmentClosed(c closedSegment) {
	s := p.stream
	p.segments++
	s.journal.note(s.Name, s.record())
	p.picture.meter.add(c.bytes, c.duration)
	p.picture.describe(p.packager.describe(), c)
	p.picture.listed, p.picture.gaps = true, 0
	if len(s.published()) < len(s.timelines()) || s.rungsExpected(p.segments) {
		return // nobody is led to a list that is not there yet
	}
	variants := s.variants(p.packager.sounds)
	index := relay.MultivariantText(variants, s.soundLines(p.packager.sounds)...)
	if bytes.Equal(index, s.index) {
		return
	}
	s.index = index
	s.out.SetIndex(index)
	if s.catalogue.revise(s.Name) {
		v := variants[0]
		s.logger.Info("stream live", "codecs", v.Codecs, "width", v.Width, "height", v.Height, "frame_rate", v.FrameRate, "variants", len(variants))
	}
	s.obey()
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
	s.leaveAll(ErrEnded)
	s.endFill()
	s.loss.ordered, s.loss.kept = "", ""
	s.journal.note(s.Name, s.record())
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

// timelines are those of all renditions, the leading one first.
func (s *stream) timelines() []*timeline {
	all := []*timeline{s.timeline}
	for _, p := range s.pictures {
		if p.timeline != s.timeline {
			all = append(all, p.timeline)
		}
	}
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
	s.leaveAll(ErrClosed)
}

// leaveAll ends all publications. It needs s.mu.
func (s *stream) leaveAll(reason error) {
	for _, p := range s.pictures {
		if p.current != nil {
			p.current.leave(reason)
		}
	}
	s.endFill()
	if s.loss.timer != nil {
		s.loss.timer.Stop()
	}
}
