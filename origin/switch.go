package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A stream may come twice, as primary and backup, from one encoder over two ways
// or from two. One is on air, the other stands by.
//
//	ingest ─▶ switchInput ─▶ on air ──────────────────────▶ Publication
//	ingest ─▶ switchInput ─▶ ring of the last 4 s ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┘
//	              └─ marks: hash and time of each unit, compared all the time
//
// Where both send the same coded units, the standby goes on with the unit that
// follows the last one published, under the times of the programme: nobody can
// tell. Else it begins a publication of its own with a key picture, with a
// discontinuity. No timer is needed: it is the units of the standby that
// find out that the input on air stands still.

// Input names one of the two feeds that a stream may have.
type Input string

// The inputs of a stream.
const (
	Primary Input = "primary"
	Backup  Input = "backup"
)

// backupBranch is what an encoder adds to the stream's name to be its backup.
const backupBranch = string(Backup)

// ErrNoInput: nothing is connected that could be put on air.
var ErrNoInput = errors.New("no encoder is connected")

// Trigger is why another input went on air.
type Trigger string

// Triggers.
const (
	TriggerLoss    Trigger = "loss"    // the connection ended
	TriggerStall   Trigger = "stall"   // no unit came
	TriggerCommand Trigger = "command" // see Origin.Switch
	TriggerArrival Trigger = "arrival" // the primary came first after the backup
)

// inputSwitch chooses which input of a stream is published.
type inputSwitch struct {
	open   func([]Track) (publication, error)
	part   time.Duration // PART-TARGET
	logger *slog.Logger

	mu        sync.Mutex
	inputs    map[Input]*switchInput // those that are connected
	onAir     *switchInput           // nil: none
	out       publication            // of what is on air
	programme []trackMarks           // of what was published, in its own times
	order     *switchOrder           // nil: none
	gaveWay   bool                   // the primary was on air, and the backup is since
	changes   map[SwitchCount]int64
}

// switchOrder is a change that waits for a key picture.
type switchOrder struct {
	to      *switchInput
	trigger Trigger
	since   time.Time // it begins with a key picture that came later
}

// SwitchCount says how an input went on air.
type SwitchCount struct {
	To      Input
	Trigger Trigger
	// Hitless: viewers could not tell. Else there is a discontinuity.
	Hitless bool
}

func newInputSwitch(open func([]Track) (publication, error), part time.Duration, logger *slog.Logger) *inputSwitch {
	return &inputSwitch{
		open: open, part: part, logger: logger,
		inputs: map[Input]*switchInput{}, changes: map[SwitchCount]int64{},
	}
}

// publish connects an encoder to an input. The newer one of an input wins.
func (s *inputSwitch) publish(name Input, tracks []Track) (publication, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, old := newSwitchInput(s, name, tracks), s.inputs[name]
	if s.onAir == nil || s.onAir == old && !s.relieves(s.other(old)) {
		if err := s.begin(in, Unit{}); err != nil {
			return nil, err
		}
	}
	s.inputs[name] = in
	if old != nil {
		s.leave(old, ErrReplaced)
	}
	return in, nil
}

// other is the input beside one; nil if it is not connected.
func (s *inputSwitch) other(in *switchInput) *switchInput {
	if in.name == Primary {
		return s.inputs[Backup]
	}
	return s.inputs[Primary]
}

// take brings a unit into the programme, or keeps it.
func (s *inputSwitch) take(in *switchInput, u standbyUnit) {
	if in == s.onAir {
		if s.order != nil && s.order.trigger == TriggerStall {
			s.order = nil // it goes on
		}
		s.show(in, u)
		return
	}
	in.ring.put(u)
	s.compare(in)
	switch {
	case s.order != nil && s.order.to == in:
		s.pursue()
	case s.order != nil || s.onAir == nil:
	case s.stalls(in):
		s.change(switchOrder{in, TriggerStall, s.onAir.latest})
	case in.name == Primary && !s.gaveWay && in.match.verdict != SameNotKnown:
		s.change(switchOrder{in, TriggerArrival, time.Now().Add(-1)})
	}
}

// compare finds out whether a standby sends what is on air.
func (s *inputSwitch) compare(in *switchInput) {
	if s.onAir == nil {
		return
	}
	was := in.match.verdict
	if in.alike(s.onAir) {
		in.match.compare(in.marks, s.programme, time.Now())
	} else {
		in.match.verdict = SameNo
	}
	if is := in.match.verdict; is != was {
		s.logger.Info("input stands by", "input", in.name, "bytes", is, "behind", in.behind())
	}
}

// stalls tells whether the input on air should give way to a standby that has
// what the programme lacks. Viewers at PART-HOLD-BACK have three parts when the
// newest is published, and two when nothing more comes for one. With the same
// bytes it costs nothing to be wrong, and half a part is left to bring it to
// them; with others there is a discontinuity, so it is two parts. A picture
// each half second is no stall.
func (s *inputSwitch) stalls(by *switchInput) bool {
	bound, same := 2*s.part, s.relieves(by)
	if same {
		bound = s.patience()
	}
	return by.latest.Sub(s.onAir.latest) > s.onAir.late(bound) && (!same || by.ahead(s.programme))
}

// patience is how long an input may send nothing.
func (s *inputSwitch) patience() time.Duration { return 3 * s.part / 2 }

// relieves tells whether an input could go on without a trace.
func (s *inputSwitch) relieves(in *switchInput) bool {
	return in != nil && s.out != nil && in.match.verdict == SameYes && in.covers(s.programme)
}

// change carries out an order, now or with the next key picture.
func (s *inputSwitch) change(o switchOrder) {
	s.order = &o
	s.pursue()
}

// pursue carries out the order if it can be done by now.
func (s *inputSwitch) pursue() {
	o := s.order
	if s.relieves(o.to) {
		s.splice(o)
		return
	}
	if i := o.to.ring.randomSince(o.to.lead, o.since); i >= 0 {
		s.cut(o, i)
	}
}

// splice lets an input go on with the programme.
func (s *inputSwitch) splice(o *switchOrder) {
	from := s.onAir
	s.settle(o, true)
	s.onAir = o.to
	if from != nil {
		from.standDown(true)
	}
	o.to.joined = make([]bool, len(o.to.tracks))
	s.show(o.to, o.to.ring.take()...)
}

// cut begins a publication with unit i of an input's ring.
func (s *inputSwitch) cut(o *switchOrder, i int) {
	in := o.to
	first := in.ring.units[i].Unit
	if err := s.begin(in, first); err != nil {
		s.leave(in, err)
		return
	}
	s.settle(o, false)
	for n, u := range in.ring.take() {
		if n >= i || u.Track != in.lead {
			s.show(in, u)
		}
	}
}

// begin puts an input on air with a publication of its own. A publication
// before it is replaced.
func (s *inputSwitch) begin(in *switchInput, first Unit) error {
	out, err := s.open(in.tracks)
	if err != nil {
		return err
	}
	if s.out != nil {
		s.out.Close() // Origin has ended it by now
	}
	s.out, s.onAir, s.order = out, in, nil
	s.programme = make([]trackMarks, len(in.tracks))
	for _, standby := range s.inputs {
		standby.standDown(false)
	}
	in.joined = make([]bool, len(in.tracks))
	in.rebase(first)
	return nil
}

// settle counts and tells of a change.
func (s *inputSwitch) settle(o *switchOrder, hitless bool) {
	s.order = nil
	s.gaveWay = o.to.name == Backup
	s.changes[SwitchCount{o.to.name, o.trigger, hitless}]++
	level := slog.LevelInfo
	if o.trigger == TriggerLoss || o.trigger == TriggerStall {
		level = slog.LevelWarn
	}
	s.logger.Log(context.Background(), level, "input switched", "to", o.to.name, "trigger", o.trigger, "hitless", hitless, "behind", o.to.behind())
}

// show publishes units of the input on air.
func (s *inputSwitch) show(in *switchInput, units ...standbyUnit) {
	for _, u := range units {
		if in.err != nil {
			return
		}
		if err := s.write(in, u); err != nil {
			s.out = nil // it has ended: what follows begins another
			s.leave(in, err)
		}
	}
}

// write publishes a unit in the times of the programme, unless that has it.
func (s *inputSwitch) write(in *switchInput, u standbyUnit) error {
	t, programme := &in.match.tracks[u.Track], &s.programme[u.Track]
	if !in.joined[u.Track] && !t.due(u.PTS, u.DTS, programme) {
		return nil
	}
	u.PTS += t.pts
	u.DTS = min(u.DTS+t.dts, u.PTS)
	if u.PTS < 0 {
		return nil // from before the key picture that the publication began with
	}
	in.joined[u.Track] = true
	u.mark.pts, u.mark.dts = u.PTS, u.DTS
	programme.add(u.mark)
	return s.out.Write(u.Unit)
}

// leave ends an input. If it was on air the other one takes over; where there is
// none, or it has no key picture yet, the publication is closed.
func (s *inputSwitch) leave(in *switchInput, reason error) {
	if in.err != nil {
		return
	}
	in.err = reason
	close(in.done)
	if s.inputs[in.name] == in {
		delete(s.inputs, in.name)
	}
	if s.order != nil && s.order.to == in {
		s.order = nil
	}
	if s.onAir == in {
		s.onAir = nil
		if to := s.successor(); to != nil {
			s.change(switchOrder{to, TriggerLoss, in.latest})
		}
	}
	if s.onAir == nil && s.out != nil {
		s.out.Close()
		s.out = nil
	}
	if len(s.inputs) == 0 {
		s.gaveWay = false
	}
}

// successor is the input to follow one that has gone, best one that can go on;
// nil if there is none.
func (s *inputSwitch) successor() (to *switchInput) {
	for _, name := range []Input{Primary, Backup} {
		in := s.inputs[name]
		if in == nil {
			continue
		}
		if in.match.verdict == SameYes {
			in.match.compare(in.marks, s.programme, time.Now()) // the newest that was shown
		}
		if to == nil || s.relieves(in) {
			to = in
		}
	}
	return to
}

// command puts an input on air: at once, or with its next key picture.
func (s *inputSwitch) command(name Input) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.inputs[name]
	switch {
	case in == nil:
		return fmt.Errorf("%w to the input %s", ErrNoInput, name)
	case in != s.onAir:
		s.change(switchOrder{in, TriggerCommand, time.Now()})
	default:
		s.order = nil
		s.gaveWay = name == Backup
	}
	return nil
}
