package origin

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoProgramme: nothing was published yet that a slate could take the place of.
var ErrNoProgramme = errors.New("nothing was published yet: a slate follows a programme, so start the encoder first")

// Shown is what a stream shows in place of its publisher.
type Shown struct {
	Stream string `json:"stream"`
	// Slate is nil where there are gaps.
	Slate *Slate `json:"slate,omitempty"`
	// Ordered tells that it was commanded.
	Ordered bool      `json:"ordered"`
	Since   time.Time `json:"since"`
}

// ShowSlate shows a slate of that kind in place of the programme, from now until
// HideSlate, whatever the encoder does: its feed is received and not shown. A
// later start of the origin shows it too, once the stream is restored or, where it
// can't be, has its first segment.
//
// Errors: ErrUnknownStream, ErrNoProgramme, ErrNoSlate, ErrEnded, ErrClosed.
func (o *Origin) ShowSlate(stream string, kind SlateKind) error {
	s := o.streams[stream]
	if s == nil {
		return ErrUnknownStream
	}
	if err := s.show(kind); err != nil {
		return err
	}
	o.saveOrder(s)
	return nil
}

// saveOrder makes what was commanded outlive this process.
func (o *Origin) saveOrder(s *stream) {
	if err := o.journal.save(); err != nil {
		s.logger.Error("journal not saved: the command holds until the origin ends", "err", err)
	}
}

// HideSlate lets the programme come back, with the encoder's next key picture;
// where there is no encoder, what is shown at a loss follows.
//
// Errors: ErrUnknownStream, ErrNoSlate, ErrEnded, ErrClosed.
func (o *Origin) HideSlate(stream string) error {
	s := o.streams[stream]
	if s == nil {
		return ErrUnknownStream
	}
	if err := s.hide(); err != nil {
		return err
	}
	o.saveOrder(s)
	return nil
}

// Shown are the streams that show a slate or gaps.
func (o *Origin) Shown() []Shown {
	var all []Shown
	for _, c := range o.config.Streams {
		s := o.streams[c.Name]
		s.mu.Lock()
		if s.loss.filler != nil {
			all = append(all, Shown{Stream: s.Name, Slate: s.loss.slate, Ordered: s.loss.ordered != "", Since: s.loss.began})
		}
		s.mu.Unlock()
	}
	return all
}

// AddSlate keeps a slate, for one stream or, where that is "", for all.
//
// Errors: ErrUnknownStream, ErrSlate.
func (o *Origin) AddSlate(kind SlateKind, stream string, file []byte) (Slate, error) {
	if stream != "" && o.streams[stream] == nil {
		return Slate{}, ErrUnknownStream
	}
	return o.slates.add(kind, stream, file)
}

// RemoveSlate forgets one of the operator's own.
//
// Errors: ErrNoSlate, ErrSlate.
func (o *Origin) RemoveSlate(id string) error { return o.slates.remove(id) }

// Slates are all that there are, the operator's own first.
func (o *Origin) Slates() []Slate { return o.slates.list() }

// show is ShowSlate.
func (s *stream) show(kind SlateKind) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return err
	}
	if len(s.published()) == 0 || s.tracks == nil {
		return ErrNoProgramme
	}
	slate, clip, err := s.findSlate(kind)
	if err != nil {
		return err
	}
	s.endFill()
	if s.current != nil {
		s.current.stand()
		s.current.stall = nil // it does not: it goes on at once when it may
	}
	s.loss.began, s.loss.freed = time.Now(), time.Time{}
	if err := s.beginSlate(slate, clip); err != nil {
		return err
	}
	s.loss.ordered, s.loss.kept = kind, ""
	s.journal.note(s.Name, s.record())
	s.goOn(s.loss.began)
	return nil
}

// hide is HideSlate.
func (s *stream) hide() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return err
	}
	if s.loss.ordered == "" && s.loss.kept == "" {
		return fmt.Errorf("%w: no slate was commanded for %q", ErrNoSlate, s.Name)
	}
	s.loss.ordered, s.loss.kept, s.loss.freed = "", "", time.Now()
	s.journal.note(s.Name, s.record())
	s.logger.Info("the slate ends with the next key picture")
	return nil
}

// beginSlate lets a slate be the filler. It needs s.mu.
func (s *stream) beginSlate(slate Slate, clip *slateClip) error {
	f, err := newSlateFiller(s, clip, s.tracks)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoSlate, err)
	}
	s.loss.filler, s.loss.slate = f, &slate
	s.logger.Warn("a slate is shown", "kind", slate.Kind, "slate", slate.ID, "publisher", s.current != nil)
	return nil
}

// findSlate returns what fits the stream; of one without pictures no clip, as it
// is silence. It needs s.mu.
func (s *stream) findSlate(kind SlateKind) (Slate, *slateClip, error) {
	picture, ok := s.declared[videoID]
	if !ok {
		return Slate{Kind: kind, ID: "silence"}, nil, nil
	}
	like := s.pictures[0].variant
	if d, err := describe(picture.Codec); err == nil && like.Height == 0 { // no encoder has come since the start
		like.Width, like.Height = d.width, d.height
	}
	return s.slates.choose(kind, s.Name, like, family(picture.Codec))
}
