package relay

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Lines of a node's capacity, in percent. The rest of 100 is for what is not
// counted (headers of HTTP, TLS and TCP) and for what comes unevenly.
const (
	// fullLine is where new sessions go elsewhere.
	fullLine = 85
	// keptLine takes its place while the pool keeps its room. A node that is
	// less full than that takes viewers in any case: else one large relay beside
	// a small one, which never has room for all of its viewers, could not be
	// used at all.
	keptLine = 40
	// rescueLine takes its place while the viewers of a lost relay come. It is also
	// where what viewers ask below the multivariant playlist begins to be refused.
	rescueLine = 95
	// againLine is for who watched before: such a viewer is let in as long as the
	// lowest rung is served.
	againLine = 100
	// lineSlack is how far below its line a node must be to be open again.
	lineSlack = 5
)

// Pressure is what the pool asks of a node's admission.
type Pressure int

// The three pressures.
const (
	// Usual: the pool has room.
	Usual Pressure = iota
	// Keeping: the pool has no more room than the viewers of its fullest relay
	// would need, if that one were lost.
	Keeping
	// Rescuing: a relay was lost a moment ago, and its viewers come. The room was
	// kept for them.
	Rescuing
)

// pressureLines are in percent of the capacity, by Pressure.
var pressureLines = [...]int{Usual: fullLine, Keeping: keptLine, Rescuing: rescueLine}

// Admission decides who is let in, so that those who watch do not suffer from
// those who come. A session is counted as the bits per second that its stream
// is said to have: at once when it is let in, and then less and less as it shows
// in the load, whose mean it enters over ten seconds. So a crowd that comes
// within one second overfills nothing.
//
// It is safe for concurrent use. A nil one, and one that knows no capacity, lets
// everyone in.
type Admission struct {
	load     *Load
	capacity atomic.Int64 // bits/s; 0: not known
	// shedding is how much of the capacity is in use, per mille, while viewers'
	// requests below the multivariant playlist are refused; 0 while none are.
	shedding atomic.Int32

	sentOn, refused, shed atomic.Int64

	mu       sync.Mutex
	pressure Pressure
	full     bool
	need     float64 // bits/s of the session that asked last
	sent     float64 // bits/s, the load's mean as of the last look
	seen     int64   // the second of that look, unix
	over     int64   // how many seconds that mean is of
	coming   [int(loadWindow/time.Second) + 1]coming
}

// coming are the sessions that were let in during one second.
type coming struct {
	second int64   // unix
	bits   float64 // per second, of all together
}

// AdmissionSnapshot is the state of an admission.
type AdmissionSnapshot struct {
	BitsPerSecond float64 // that go out, and will to those who were let in
	Line          int     // percent of the capacity up to which sessions are let in
	Full          bool    // none are
	SentOn        int64   // sessions that were sent to another relay, since the start
	Refused       int64   // sessions that were told to come again
	Shed          int64   // requests of those who watch that were refused
}

// NewAdmission returns an admission for a node of that capacity, bits/s; 0: it
// is not known.
func NewAdmission(load *Load, capacity int64) *Admission {
	a := &Admission{load: load, over: int64(loadWindow / time.Second)}
	a.capacity.Store(capacity)
	return a
}

// Look takes the load as of now, and what the pool asks. It is to be called each
// second.
func (a *Admission) Look(capacity int64, p Pressure) AdmissionSnapshot {
	load := a.load.Snapshot()
	a.capacity.Store(capacity)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent, a.seen, a.over = load.BitsPerSecond, time.Now().Unix(), int64(load.over/time.Second)
	slack := 0
	if a.full && p == a.pressure { // another line is looked at afresh
		slack = lineSlack
	}
	a.pressure = p
	a.full = !a.fits(a.need, pressureLines[p]-slack)
	a.lookAtShedding()
	return AdmissionSnapshot{
		BitsPerSecond: a.expected(), Line: pressureLines[p], Full: a.full,
		SentOn: a.sentOn.Load(), Refused: a.refused.Load(), Shed: a.shed.Load(),
	}
}

// expected needs a.mu. It is what will go out, in bits/s: of those who were let
// in n seconds ago n tenths show in the mean of ten seconds.
func (a *Admission) expected() float64 {
	bits := a.sent
	for _, c := range a.coming {
		if age := max(a.seen-c.second, 0); age < a.over {
			bits += c.bits * float64(a.over-age) / float64(a.over)
		}
	}
	return bits
}

// fits needs a.mu. It tells whether so many bits/s more stay within a line.
func (a *Admission) fits(bits float64, line int) bool {
	capacity := a.capacity.Load()
	return capacity == 0 || (a.expected()+bits)*100 <= float64(capacity)*float64(line)
}

// admit lets a session of that many bits/s in, or not. One that watched before
// says so (again), and is in as long as it harms nobody.
func (a *Admission) admit(rate int64, again bool) bool { return a.decide(rate, again, true) }

// passOn decides as admit does about a session that will be another relay's, and
// doesn't count it.
func (a *Admission) passOn(rate int64, again bool) bool { return a.decide(rate, again, false) }

func (a *Admission) decide(rate int64, again, counts bool) bool {
	if a == nil || a.capacity.Load() == 0 {
		return true
	}
	bits, now := float64(rate), time.Now().Unix()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.need = bits
	switch {
	case again:
		if !a.fits(bits, againLine) {
			return false
		}
	case a.full:
		return false
	case !a.fits(bits, pressureLines[a.pressure]):
		a.full = true
		return false
	}
	if !counts {
		return true
	}
	c := &a.coming[now%int64(len(a.coming))]
	if c.second != now {
		*c = coming{second: now}
	}
	c.bits += bits
	return true
}

// Expected is what will go out, in bits/s, as soon as all who were let in are
// served.
func (a *Admission) Expected() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.expected()
}

// lookAtShedding needs a.mu.
func (a *Admission) lookAtShedding() {
	capacity := a.capacity.Load()
	if capacity == 0 {
		a.shedding.Store(0)
		return
	}
	used := int32(min(a.sent*1000/float64(capacity), 1e6))
	if line := int32(10 * rescueLine); used < line && (a.shedding.Load() == 0 || used < line-10*lineSlack) {
		used = 0
	}
	a.shedding.Store(used)
}

// sheds tells whether a viewer's request for a rendition is to be refused. It
// costs one load of an atomic while the node has room.
//
// Of the rungs of a stream's ladder the highest one goes first, at 95 %, then
// one after the other until at 100 % the lowest is left. Beyond that, of the
// lowest as many requests for media are refused as are too many; its lists weigh
// nothing, and who has none gives up.
func (a *Admission) sheds(rung, rungs int, list bool) bool {
	if a == nil {
		return false
	}
	used := int(a.shedding.Load())
	switch {
	case used == 0:
		return false
	case rung > 0:
		const first, last = 10 * rescueLine, 1000
		gone := 1 + max(used-first, 0)*(rungs-1)/(last-first)
		return rung >= rungs-gone
	default:
		return !list && used > 1000 && rand.IntN(used) >= 1000
	}
}
