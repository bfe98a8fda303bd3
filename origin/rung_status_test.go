package origin_test

import (
	"testing"
	"time"

	"surgecast/origin"
)

func (s *stage) rungStates() map[string]origin.RungStatus {
	all := map[string]origin.RungStatus{}
	for _, r := range s.Rungs() {
		all[r.Rung] = r
	}
	return all
}

// Rungs say how they lie to the one that leads: in step, out of it and by how
// much, or not there.
func TestRungStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStageWith(t, t.TempDir(), threeRungs())
		in, all := inspect(s), feeds()
		all[2].GOP, in.apart = 33, true
		if got := s.Rungs(); got != nil {
			t.Errorf("before anything: %+v", got)
		}
		for _, f := range all {
			s.connect(f)
		}
		in.playRungs(7500*time.Millisecond, all...)
		got := s.rungStates()
		if r := got["1080"]; r.State != origin.RungLeads || !r.Listed || r.OffsetSeconds != nil || r.Misaligned != 0 {
			t.Errorf("1080: %+v", r)
		}
		if r := got["720"]; r.State != origin.RungAligned || !r.Listed || r.By != "the encoder's clock" || r.OffsetSeconds == nil || *r.OffsetSeconds != 0 ||
			r.Aligned < 3 || r.Misaligned != 0 || r.LastMisaligned != nil {
			t.Errorf("720: %+v", r)
		}
		r := got["360"]
		if r.State != origin.RungMisaligned || r.Misaligned < 2 || r.LastMisaligned == nil || time.Since(*r.LastMisaligned) > 4*time.Second {
			t.Errorf("360: %+v", r)
		}
		if r.OffsetSeconds == nil || *r.OffsetSeconds < -1 || *r.OffsetSeconds > 1 || *r.OffsetSeconds == 0 {
			t.Errorf("360: %+v", r.OffsetSeconds)
		}
		all[2].Close()
		in.playRungs(8*time.Second, all[:2]...)
		if after := s.rungStates()["360"]; after.State != origin.RungAway || after.Listed || after.OffsetSeconds != nil || after.Misaligned != r.Misaligned {
			t.Errorf("360 is away: %+v", after)
		}
	})
}
