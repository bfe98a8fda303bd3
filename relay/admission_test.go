package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

// aSecond lets one pass in which so many bits went out, and looks.
func (a *Admission) aSecond(bits int64, capacity int64, p Pressure) AdmissionSnapshot {
	a.load.Add(bits/8, 0)
	time.Sleep(time.Second)
	return a.Look(capacity, p)
}

// warmLoad is a load whose process is older than what its mean is of.
func warmLoad() *Load {
	l := NewLoad()
	time.Sleep(20 * time.Second)
	return l
}

// A crowd that comes within a second is let in up to the line, not to the last
// one, and counts fully from its first to its tenth second, whatever part of it
// the load shows by then.
func TestABurstDoesNotOverfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity, rate = 100e6, 3e6
		a := NewAdmission(warmLoad(), capacity)
		a.Look(capacity, Usual)
		in := 0
		for range 1000 {
			if a.admit(rate, false) {
				in++
			}
		}
		if in != 28 { // 84 Mbit/s of 85; the 29th would make 87
			t.Fatalf("%d sessions of 3 Mbit/s were let into 100 Mbit/s", in)
		}
		for second := range 15 {
			s := a.aSecond(28*rate, capacity, Usual)
			if s.BitsPerSecond != 84e6 || !s.Full {
				t.Errorf("after %d s: %.1f Mbit/s expected, full: %v", second+1, s.BitsPerSecond/1e6, s.Full)
			}
			if a.admit(rate, false) {
				t.Errorf("after %d s one more was let in", second+1)
			}
		}
	})
}

// Full at 85 %, open again below 80: one session more must stay under these.
func TestFullHasSlack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 100e6
		a := NewAdmission(warmLoad(), capacity)
		a.admit(1e6, false) // what a session needs is known
		hold := func(bits int64) (s AdmissionSnapshot) {
			for range 12 {
				s = a.aSecond(bits, capacity, Usual)
			}
			return s
		}
		for _, step := range []struct {
			load int64
			full bool
		}{{84e6, false}, {85e6, true}, {84e6, true}, {80e6, true}, {79e6, false}, {84e6, false}, {84_500_000, true}} {
			if s := hold(step.load); s.Full != step.full || s.BitsPerSecond != float64(step.load) {
				t.Errorf("at %d bit/s: full is %v, of %.0f", step.load, s.Full, s.BitsPerSecond)
			}
			if step.full && a.admit(1e6, false) {
				t.Errorf("at %d bit/s a session was let in", step.load)
			}
		}
	})
}

func TestPressureMovesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 100e6
		a := NewAdmission(warmLoad(), capacity)
		a.need = 1e5
		for range 12 {
			a.aSecond(80e6, capacity, Usual)
		}
		for _, step := range []struct {
			pressure   Pressure
			new, again bool
			line       int
		}{{Usual, true, true, 85}, {Keeping, false, true, 40}, {Rescuing, true, true, 95}, {Keeping, false, true, 40}, {Usual, true, true, 85}} {
			s := a.aSecond(80e6, capacity, step.pressure)
			if got := a.admit(1e5, false); got != step.new || s.Line != step.line || s.Full == step.new {
				t.Errorf("pressure %d: a new session gets %v, %+v", step.pressure, got, s)
			}
			if got := a.admit(1e5, true); got != step.again {
				t.Errorf("pressure %d: one that comes again gets %v", step.pressure, got)
			}
		}
	})
}

// One who comes again has the room that is kept, but not more.
func TestComingAgainHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 100e6
		a := NewAdmission(warmLoad(), capacity)
		a.Look(capacity, Keeping)
		in := 0
		for range 200 {
			if a.admit(1e6, true) {
				in++
			}
		}
		if in != 100 {
			t.Errorf("%d sessions of 1 Mbit/s came again into 100 Mbit/s", in)
		}
	})
}

func TestUnknownCapacityLetsEveryoneIn(t *testing.T) {
	a := NewAdmission(NewLoad(), 0)
	for range 1000 {
		if !a.admit(1e9, false) {
			t.Fatal("somebody was sent away")
		}
	}
	if s := a.Look(0, Keeping); s.Full || a.sheds(3, 4, false) {
		t.Errorf("%+v", s)
	}
	if none := (*Admission)(nil); !none.admit(1, false) || none.sheds(1, 2, false) {
		t.Error("no admission sends away")
	}
}

// The highest rung goes first, the lowest stays until 100 %; beyond that as
// many requests for its media are refused as are too many.
func TestSheddingGoesDownTheLadder(t *testing.T) {
	const rungs = 4
	for _, c := range []struct {
		used int // per mille
		gone int // rungs
	}{{0, 0}, {920, 1}, {950, 1}, {966, 1}, {967, 2}, {983, 2}, {984, 3}, {1000, 4 - 1}, {1400, 4 - 1}} {
		a := NewAdmission(NewLoad(), 1e6)
		a.shedding.Store(int32(c.used))
		for rung := 1; rung < rungs; rung++ {
			if got := a.sheds(rung, rungs, true); got != (rung >= rungs-c.gone) {
				t.Errorf("at %d per mille: rung %d refused: %v", c.used, rung, got)
			}
		}
		refused := 0
		for range 10_000 {
			if a.sheds(0, rungs, true) {
				t.Fatal("a list of the lowest rung was refused")
			}
			if a.sheds(0, rungs, false) {
				refused++
			}
		}
		want := max(0, 10_000-10_000_000/max(c.used, 1))
		if c.used <= 1000 {
			want = 0
		}
		if refused < want*9/10 || refused > want*11/10 {
			t.Errorf("at %d per mille %d of 10000 requests for media were refused, want about %d", c.used, refused, want)
		}
	}
}

func TestSheddingHasSlack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 100e6
		a := NewAdmission(warmLoad(), capacity)
		for _, step := range []struct {
			load int64
			shed bool
		}{{94e6, false}, {95e6, true}, {90e6, true}, {89e6, false}, {94e6, false}} {
			for range 12 {
				a.aSecond(step.load, capacity, Usual)
			}
			if got := a.sheds(1, 2, true); got != step.shed {
				t.Errorf("at %d bit/s: %v", step.load, got)
			}
		}
	})
}

func TestLadder(t *testing.T) {
	text := MultivariantText([]Variant{
		{Rendition: "high", Bandwidth: 6e6, AverageBandwidth: 5e6},
		{Rendition: "low", Bandwidth: 900e3},
		{Rendition: "middle", Bandwidth: 3e6, AverageBandwidth: 2e6},
	}, Sound{Rendition: "audio-0", Name: "Deutsch"})
	st := NewStore().Create("theatre", DefaultConstants())
	st.SetIndex(text)
	for rendition, want := range map[string]int{"low": 0, "middle": 1, "high": 2, "audio-0": 0} {
		if rung, rungs := st.rung(rendition); rung != want || rungs != 3 {
			t.Errorf("%s is rung %d of %d", rendition, rung, rungs)
		}
	}
	if rate := st.sessionRate(); rate != 5e6 {
		t.Errorf("a session is expected to need %d bit/s", rate)
	}
	st.SetIndex([]byte("#EXTM3U\nnonsense"))
	if rung, rungs := st.rung("high"); rung != 0 || rungs != 0 || st.sessionRate() != 0 {
		t.Errorf("of nonsense: rung %d of %d, %d bit/s", rung, rungs, st.sessionRate())
	}
}
