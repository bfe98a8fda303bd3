package origin

import "time"

// RungStatus tells how a rung lies to the one that leads.
type RungStatus struct {
	Stream string    `json:"stream"`
	Rung   string    `json:"rung"`
	State  RungState `json:"state"`

	// Listed: it is in the multivariant playlist.
	Listed bool `json:"listed"`

	// By is what tells which of the lead's key pictures shows the same as one of
	// the rung: the encoder's clock, or the moment it came. "" before it is known.
	By string `json:"by,omitempty"`

	// OffsetSeconds is by how much, by that, the rung's newest key picture is later
	// than the nearest of the lead. Nil while not known.
	OffsetSeconds *float64 `json:"offset_seconds"`

	// Aligned are the segments so far that began with a key picture of the rung
	// where they do on the lead, Misaligned those that did not, with the key pictures
	// that have no counterpart.
	Aligned        int64      `json:"aligned"`
	Misaligned     int64      `json:"misaligned"`
	LastMisaligned *time.Time `json:"last_misaligned,omitempty"`
}

// RungState is what a rung does.
type RungState string

// States of a rung.
const (
	RungAway       RungState = "away" // nobody publishes it
	RungLeads      RungState = "leads"
	RungWaits      RungState = "waits" // for a key picture to begin with, or for the lead
	RungAligned    RungState = "aligned"
	RungMisaligned RungState = "misaligned" // its key pictures are not where those of the lead are
)

// rungCount is what is known of a rung's alignment. It outlives the runs of the lead.
type rungCount struct {
	by                  verdict // unknownKey before it was aligned
	offset              time.Duration
	measured            bool
	aligned, misaligned int64
	last                time.Time // of the misaligned
}

func (c *rungCount) hit() { c.aligned++ }

func (c *rungCount) miss(now time.Time) {
	c.misaligned++
	c.last = now
}

// Rungs tells of all rungs of the streams that have been on air, the top rung
// first.
func (o *Origin) Rungs() (all []RungStatus) {
	for _, c := range o.config.Streams {
		all = append(all, o.streams[c.Name].rungStatus()...)
	}
	return all
}

func (s *stream) rungStatus() (all []RungStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.Rungs) == 0 || !s.begun {
		return nil
	}
	for _, p := range s.pictures {
		counted := &p.count
		a := RungStatus{
			Stream: s.Name, Rung: p.timeline.rendition, State: s.rungState(p), Listed: p.listed,
			Aligned: counted.aligned, Misaligned: counted.misaligned,
		}
		if counted.by != unknownKey && a.State != RungLeads {
			a.By = counted.by.String()
		}
		if counted.measured && a.State != RungLeads && a.State != RungAway {
			a.OffsetSeconds = new(counted.offset.Seconds())
		}
		if !counted.last.IsZero() {
			a.LastMisaligned = new(counted.last)
		}
		all = append(all, a)
	}
	return all
}

// rungState needs s.mu.
func (s *stream) rungState(p *picture) RungState {
	r := s.rung(p)
	switch {
	case p.current == nil:
		return RungAway
	case s.current == p.current:
		return RungLeads
	case r == nil:
		return RungWaits
	case r.unaligned > 0:
		return RungMisaligned
	case r.lost:
		return RungWaits
	}
	return RungAligned
}
