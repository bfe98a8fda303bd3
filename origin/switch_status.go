package origin

import (
	"maps"
	"time"
)

// Standing is how an input stands to the programme.
type Standing struct {
	Input Input `json:"input,omitempty"`
	OnAir bool  `json:"on_air"`
	Gone  bool  `json:"-"` // replaced, and about to be disconnected

	// Silent: it is connected and sends no pictures.
	Silent bool `json:"silent,omitempty"`

	// Bytes tells whether a standby sends what is on air.
	Bytes SameBytes `json:"bytes,omitempty"`

	// BehindSeconds is how much later than those on air its units come; negative
	// when they come sooner, 0 if its bytes are not the same.
	BehindSeconds float64 `json:"behind_seconds,omitempty"`
}

// standing tells how an input stands.
func (in *switchInput) standing() Standing {
	in.owner.mu.Lock()
	defer in.owner.mu.Unlock()
	s := Standing{Input: in.name, OnAir: in == in.owner.onAir, Gone: in.err != nil, Silent: in.silent(time.Now())}
	if !s.OnAir {
		s.Bytes, s.BehindSeconds = in.match.verdict, in.behind().Seconds()
	}
	return s
}

// behind is rounded for people; 0 if it is not known.
func (in *switchInput) behind() time.Duration {
	if in.match.verdict != SameYes {
		return 0
	}
	return in.match.behind.Round(time.Millisecond)
}

// counts are the changes of input so far.
func (s *inputSwitch) counts() map[SwitchCount]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.changes)
}
