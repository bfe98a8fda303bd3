package origin

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// coder is an encoder of 25 pictures a second, a key picture each second, and
// AAC, whose units can be told from each other.
type coder struct {
	seed     uint64 // of other bytes
	bframes  bool
	noSound  bool
	still    time.Duration // from here on each second of pictures is the same, and
	stirs    time.Duration // until here, 0 for ever
	silent   bool          // all sound is the same
	pictures int           // a second; default 25
}

var coderTracks = []Track{
	{Codec: &codecs.H264{SPS: testSPS, PPS: testPPS}, ClockRate: 90000},
	{Codec: &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 48000, ChannelConfig: 2}}, ClockRate: 48000},
}

func (c coder) tracks() []Track {
	if c.noSound {
		return coderTracks[:1]
	}
	return coderTracks
}

// sent is a unit and when it leaves the encoder.
type sent struct {
	at time.Duration
	Unit
}

// code returns all units of a time, in the order of sending.
func (c coder) code(length time.Duration) (all []sent) {
	rate := 25
	if c.pictures > 0 {
		rate = c.pictures
	}
	step := 90000 / rate
	for n := range int(length.Seconds() * float64(rate)) {
		at := time.Duration(n) * time.Second / time.Duration(rate)
		content := uint64(n)
		if c.still > 0 && at >= c.still && (c.stirs == 0 || at < c.stirs) {
			content = 1<<32 + uint64(n%rate)
		}
		u := Unit{DTS: int64(n * step), PTS: int64(n * step)}
		if c.bframes { // decoded as I P B B P B B …, shown a picture or two later
			u.PTS += int64(step) * []int64{1, 3, 0, 0}[min(n%rate, 1)+(max(n%rate-1, 0)%3)]
			if n%rate > 0 && (n%rate-1)%3 > 0 {
				u.PTS = u.DTS
			}
		}
		u.Payload = [][]byte{binary.BigEndian.AppendUint64([]byte{0x41, 0x9a}, content+c.seed<<48)}
		if u.Random = n%rate == 0; u.Random {
			u.Payload[0][0] = 0x65
			u.Payload = append([][]byte{testSPS, testPPS}, u.Payload...)
		}
		all = append(all, sent{at, u})
	}
	for n := range int(length.Seconds() * 48000 / 1024) {
		content := uint64(n)
		if c.silent {
			content = 0
		}
		u := Unit{Track: 1, PTS: int64(n * 1024), DTS: int64(n * 1024), Random: true}
		u.Payload = [][]byte{binary.BigEndian.AppendUint64(nil, content+c.seed<<48)}
		if !c.noSound {
			all = append(all, sent{time.Duration(n) * 1024 * time.Second / 48000, u})
		}
	}
	slices.SortStableFunc(all, func(a, b sent) int { return int(a.at - b.at) })
	return all
}

// way is how units come to an input.
type way struct {
	coder
	name     Input
	lag      time.Duration
	from     time.Duration // connects then, and begins with the next key picture
	until    time.Duration // the connection ends; 0: never
	stalls   time.Duration // from here on nothing comes …
	resumes  time.Duration // … until here, all of it; 0: for ever
	lost     func(u Unit) bool
	rounding int64 // of video times to so many ticks, as in RTMP
	ahead    int64 // ticks of sound, which the input shifts
}

// programme records what a switch publishes.
type programme struct {
	mu           sync.Mutex
	publications [][]Unit
	closed       int
	times        []time.Time
	fails        int // write fails after so many units; 0: never
}

type recording struct {
	p    *programme
	n    int
	done chan struct{}
}

func (p *programme) open([]Track) (publication, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.publications = append(p.publications, nil)
	return &recording{p, len(p.publications) - 1, make(chan struct{})}, nil
}

func (r *recording) Write(u Unit) error {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.p.fails > 0 && r.n == 0 && len(r.p.publications[0]) == r.p.fails {
		return errNoMedia
	}
	r.p.publications[r.n] = append(r.p.publications[r.n], u)
	r.p.times = append(r.p.times, time.Now())
	return nil
}

func (r *recording) Close() { r.p.mu.Lock(); r.p.closed++; r.p.mu.Unlock() }

func (r *recording) Done() <-chan struct{} { return r.done }

// play sends all ways at once, on fake time, and returns what was published.
func play(t *testing.T, length time.Duration, do func(s *inputSwitch), ways ...way) (*programme, *inputSwitch, string) {
	t.Helper()
	var p programme
	var s *inputSwitch
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		s = newInputSwitch(p.open, 225*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
		var all sync.WaitGroup
		began := time.Now()
		for i, w := range ways {
			w.from = max(w.from, time.Duration(i)) // the first comes first
			all.Go(func() { w.play(s, began, length) })
		}
		if do != nil {
			do(s)
		}
		all.Wait()
	})
	return &p, s, log.String()
}

func (w way) play(s *inputSwitch, began time.Time, length time.Duration) {
	time.Sleep(w.from)
	var p publication
	var zero int64
	for _, u := range w.code(length) {
		at := u.at + w.lag
		if w.stalls > 0 && at >= w.stalls && (w.resumes == 0 || at < w.resumes) {
			if w.resumes == 0 {
				break
			}
			at = w.resumes
		}
		if w.until > 0 && at >= w.until {
			break
		}
		if at+time.Millisecond < w.from || p == nil && !(u.Track == 0 && u.Random) {
			continue
		}
		time.Sleep(time.Until(began.Add(at)))
		if p == nil {
			zero = u.PTS
			var err error
			if p, err = s.publish(w.name, w.tracks()); err != nil {
				return
			}
		}
		shift := zero
		if u.Track == 1 {
			shift = zero*48000/90000 + w.ahead
		} else if w.rounding > 0 {
			u.PTS, u.DTS = u.PTS/w.rounding*w.rounding, u.DTS/w.rounding*w.rounding
		}
		u.PTS, u.DTS = u.PTS-shift, u.DTS-shift
		if u.PTS < 0 || w.lost != nil && w.lost(u.Unit) {
			continue
		}
		if p.Write(u.Unit) != nil {
			return
		}
	}
	if p != nil && w.until > 0 {
		time.Sleep(time.Until(began.Add(w.until)))
		p.Close()
	}
}

// unbroken holds that one publication has all that the coder made: each unit
// once, in order, with its distances in time.
func (p *programme) unbroken(t *testing.T, c coder, length time.Duration, tolerance int64) {
	t.Helper()
	if len(p.publications) != 1 {
		t.Fatalf("%d publications, want one", len(p.publications))
	}
	want, got := map[int][]sent{}, map[int][]Unit{}
	for _, u := range c.code(length) {
		want[u.Track] = append(want[u.Track], u)
	}
	for _, u := range p.publications[0] {
		got[u.Track] = append(got[u.Track], u)
	}
	first := c.code(length)[0].PTS
	want[1] = slices.DeleteFunc(want[1], func(u sent) bool { return u.PTS < first*48000/90000 })
	for track := range c.tracks() {
		units := want[track]
		if len(got[track]) != len(units) {
			t.Errorf("track %d: %d units, want %d", track, len(got[track]), len(units))
		}
		for i := range min(len(units), len(got[track])) {
			w, g := units[i], got[track][i]
			shift := first * int64(c.tracks()[track].ClockRate) / 90000
			if !samePayload(g.Payload, w.Payload...) {
				t.Fatalf("track %d: unit %d is not the one that was sent", track, i)
			}
			if d := g.PTS - w.PTS + shift; d > tolerance || d < -tolerance {
				t.Fatalf("track %d: unit %d at %d, want %d", track, i, g.PTS, w.PTS-shift)
			}
		}
	}
}

// gap is the longest time in which nothing was published.
func (p *programme) gap() (longest time.Duration) {
	for i := 1; i < len(p.times); i++ {
		longest = max(longest, p.times[i].Sub(p.times[i-1]))
	}
	return longest
}

const act = 12 * time.Second

// A standby with the same bytes takes over without a trace, however it lies to
// the programme.
func TestHitless(t *testing.T) {
	kill := 6*time.Second + 130*time.Millisecond
	for name, c := range map[string]struct {
		coder
		primary, backup way
		trigger         Trigger
	}{
		"in step":             {coder{}, way{until: kill}, way{}, TriggerLoss},
		"lags":                {coder{}, way{until: kill}, way{lag: 400 * time.Millisecond}, TriggerLoss},
		"lags by two seconds": {coder{}, way{until: kill}, way{lag: 2 * time.Second}, TriggerLoss},
		"leads":               {coder{}, way{until: kill, lag: 400 * time.Millisecond}, way{from: time.Second}, TriggerLoss},
		"leads by two":        {coder{}, way{until: kill, lag: 2 * time.Second}, way{from: 2500 * time.Millisecond}, TriggerLoss},
		"B-frames":            {coder{bframes: true}, way{until: kill}, way{lag: 90 * time.Millisecond}, TriggerLoss},
		"B-frames, leads":     {coder{bframes: true}, way{until: kill, lag: 90 * time.Millisecond}, way{from: time.Second}, TriggerLoss},
		"joins mid-GOP":       {coder{}, way{until: kill}, way{from: 3300 * time.Millisecond, lag: 50 * time.Millisecond}, TriggerLoss},
		"joins just before":   {coder{}, way{until: kill}, way{from: 4900 * time.Millisecond}, TriggerLoss},
		"sound lies apart":    {coder{}, way{until: kill}, way{ahead: 1500, lag: 100 * time.Millisecond}, TriggerLoss},
		"silence":             {coder{silent: true}, way{until: kill}, way{lag: 200 * time.Millisecond}, TriggerLoss},
		"no sound":            {coder{noSound: true}, way{until: kill}, way{lag: 200 * time.Millisecond}, TriggerLoss},
		"still picture":       {coder{still: 4 * time.Second}, way{until: kill}, way{lag: 200 * time.Millisecond}, TriggerLoss},
		"still, sound joins":  {coder{still: time.Millisecond}, way{until: kill}, way{from: 3 * time.Second}, TriggerLoss},
		"RTMP":                {coder{}, way{until: kill}, way{lag: 200 * time.Millisecond, rounding: 90}, TriggerLoss},
		"stalls":              {coder{}, way{stalls: kill, until: 11 * time.Second}, way{}, TriggerStall},
		"stalls, lags":        {coder{}, way{stalls: kill, until: 11 * time.Second}, way{lag: 300 * time.Millisecond}, TriggerStall},
		"stalls, comes again": {coder{}, way{stalls: kill, resumes: 8 * time.Second}, way{}, TriggerStall},
		"five a second":       {coder{pictures: 5}, way{until: kill}, way{lag: 100 * time.Millisecond}, TriggerLoss},
	} {
		t.Run(name, func(t *testing.T) {
			c.primary.coder, c.backup.coder = c.coder, c.coder
			c.primary.name, c.backup.name = Primary, Backup
			p, s, log := play(t, act, nil, c.primary, c.backup)
			p.unbroken(t, c.coder, act, c.backup.rounding)
			if n := s.counts()[SwitchCount{Backup, c.trigger, true}]; n != 1 || len(s.counts()) != 1 {
				t.Errorf("changes %v\n%s", s.counts(), log)
			}
			want := c.backup.lag + 50*time.Millisecond // a picture, and a bit
			switch {
			case c.trigger == TriggerStall:
				want = max(want, 400*time.Millisecond) // before viewers who have three parts run dry
			case c.pictures > 0:
				want += 200 * time.Millisecond
			}
			if gap := p.gap(); gap > want {
				t.Errorf("nothing was published for %v", gap)
			}
		})
	}
}

// Other bytes take over with a key picture and a publication of their own.
func TestOtherBytesTakeOver(t *testing.T) {
	kill := 6*time.Second + 300*time.Millisecond
	other := coder{seed: 7}
	for name, c := range map[string]struct {
		primary, backup way
		trigger         Trigger
		publications    int
	}{
		"lost":              {way{until: kill}, way{coder: other}, TriggerLoss, 2},
		"stalls":            {way{stalls: kill, until: 11 * time.Second}, way{coder: other}, TriggerStall, 2},
		"no sound":          {way{until: kill}, way{coder: coder{noSound: true}}, TriggerLoss, 2},
		"ambiguous":         {way{coder: coder{still: 1, silent: true}, until: kill}, way{coder: coder{still: 1, silent: true}, from: 4 * time.Second}, TriggerLoss, 2},
		"differs later on":  {way{coder: coder{still: 2 * time.Second}, until: kill}, way{}, TriggerLoss, 2},
		"too far behind":    {way{until: kill}, way{lag: 3500 * time.Millisecond}, TriggerLoss, 2},
		"only just arrived": {way{until: kill}, way{from: 5500 * time.Millisecond}, TriggerLoss, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c.primary.name, c.backup.name = Primary, Backup
			p, s, log := play(t, act, nil, c.primary, c.backup)
			if n := s.counts()[SwitchCount{Backup, c.trigger, false}]; n != 1 || len(s.counts()) != 1 {
				t.Errorf("changes %v\n%s", s.counts(), log)
			}
			if len(p.publications) != c.publications {
				t.Fatalf("%d publications\n%s", len(p.publications), log)
			}
			for _, units := range p.publications {
				if u := units[0]; !u.Random || u.Track != 0 || u.PTS != 0 {
					t.Errorf("begins with %+v", u)
				}
				for _, u := range units {
					if u.PTS < 0 || u.DTS > u.PTS {
						t.Errorf("unit of track %d at %d, decoded %d", u.Track, u.PTS, u.DTS)
					}
				}
			}
		})
	}
}

// The input on air may change again and again; nobody falls back by itself.
func TestSwitchThereAndBack(t *testing.T) {
	p, s, log := play(t, 30*time.Second, nil,
		way{name: Primary, until: 5 * time.Second},
		way{name: Backup, lag: 150 * time.Millisecond, until: 15 * time.Second},
		way{name: Primary, from: 8 * time.Second, until: 25 * time.Second},
		way{name: Backup, from: 18 * time.Second, lag: 300 * time.Millisecond})
	p.unbroken(t, coder{}, 30*time.Second, 0)
	want := map[SwitchCount]int64{{Backup, TriggerLoss, true}: 2, {Primary, TriggerLoss, true}: 1}
	if got := s.counts(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("changes %v\n%s", got, log)
	}
}

// A unit that the line on air has lost is passed over; the standby is the same
// for all that.
func TestHitlessAfterLoss(t *testing.T) {
	n := 0
	lossy := func(Unit) bool { n++; return n%97 == 0 }
	p, s, log := play(t, act, nil,
		way{name: Primary, until: 8*time.Second + 50*time.Millisecond, lost: lossy},
		way{name: Backup, lag: 100 * time.Millisecond})
	if s.counts()[SwitchCount{Backup, TriggerLoss, true}] != 1 || len(p.publications) != 1 {
		t.Errorf("changes %v\n%s", s.counts(), log)
	}
	last := [2]int64{-1, -1}
	for _, u := range p.publications[0] {
		if u.DTS <= last[u.Track] {
			t.Fatalf("track %d: %d after %d", u.Track, u.DTS, last[u.Track])
		}
		last[u.Track] = u.DTS
	}
}

func TestSwitchByCommand(t *testing.T) {
	p, s, log := play(t, act, func(s *inputSwitch) {
		if err := s.command(Backup); err == nil {
			t.Error("an input that is not there was put on air")
		}
		time.Sleep(5*time.Second + 300*time.Millisecond)
		for _, name := range []Input{Backup, Backup, Primary} {
			if err := s.command(name); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
			if on := s.inputs[name].standing(); !on.OnAir {
				t.Errorf("%s is not on air: %+v", name, on)
			}
		}
	}, way{name: Primary}, way{name: Backup, lag: 100 * time.Millisecond})
	p.unbroken(t, coder{}, act, 0)
	if got := s.counts(); len(got) != 2 || got[SwitchCount{Primary, TriggerCommand, true}] != 1 {
		t.Errorf("changes %v\n%s", got, log)
	}
	p, s, log = play(t, act, func(s *inputSwitch) {
		time.Sleep(5*time.Second + 300*time.Millisecond)
		_ = s.command(Backup)
	}, way{name: Primary}, way{name: Backup, coder: coder{seed: 1}})
	if len(p.publications) != 2 || s.counts()[SwitchCount{Backup, TriggerCommand, false}] != 1 {
		t.Errorf("changes %v\n%s", s.counts(), log)
	}
	if last := p.publications[0][len(p.publications[0])-1]; last.PTS < 5*90000+80000 && last.PTS*90000/48000 < 5*90000+80000 {
		t.Errorf("cut at %+v, want the key picture at 6 s", last)
	}
}

// A primary that comes first after the backup takes over, as soon as it is known
// how.
func TestPrimaryArrives(t *testing.T) {
	for _, seed := range []uint64{0, 3} {
		p, s, log := play(t, act, nil,
			way{name: Backup, lag: 100 * time.Millisecond},
			way{name: Primary, coder: coder{seed: seed}, from: 3 * time.Second})
		if s.counts()[SwitchCount{Primary, TriggerArrival, seed == 0}] != 1 || len(s.counts()) != 1 {
			t.Errorf("changes %v\n%s", s.counts(), log)
		}
		if seed == 0 {
			p.unbroken(t, coder{}, act, 0)
		}
	}
}

// Both end: the publication is closed, and the next encoder begins another.
func TestBothInputsEnd(t *testing.T) {
	p, _, _ := play(t, act, nil,
		way{name: Primary, until: 4 * time.Second}, way{name: Backup, until: 4*time.Second + time.Millisecond},
		way{name: Backup, from: 6 * time.Second})
	if len(p.publications) != 2 || p.closed != 1 {
		t.Errorf("%d publications, %d closed", len(p.publications), p.closed)
	}
}

// The newer encoder of one input wins; where the other input has the same bytes
// nobody can tell.
func TestNewerOfOneInput(t *testing.T) {
	again := way{name: Primary, from: 5500 * time.Millisecond}
	p, _, log := play(t, act, nil, way{name: Primary}, way{name: Backup, lag: 100 * time.Millisecond}, again)
	p.unbroken(t, coder{}, act, 0)
	if !strings.Contains(log, "trigger=loss hitless=true") {
		t.Error(log)
	}
	p, _, _ = play(t, act, nil, way{name: Primary}, again)
	if len(p.publications) != 2 {
		t.Errorf("%d publications", len(p.publications))
	}
}

// A publication that fails ends the input on air; the standby begins another.
func TestSwitchAfterFailure(t *testing.T) {
	p := programme{fails: 300}
	synctest.Test(t, func(t *testing.T) {
		s := newInputSwitch(p.open, 225*time.Millisecond, slog.New(slog.DiscardHandler))
		began := time.Now()
		var all sync.WaitGroup
		for _, name := range []Input{Primary, Backup} {
			all.Go(func() { way{name: name}.play(s, began, act) })
		}
		all.Wait()
		if len(s.inputs) != 1 || len(p.publications) != 2 || len(p.publications[1]) < 500 {
			t.Errorf("%d inputs, %d publications", len(s.inputs), len(p.publications))
		}
	})
}

// What is kept of a standby is bounded in bytes and time.
func TestStandbyIsBounded(t *testing.T) {
	var r standbyRing
	now := time.Now()
	big := [][]byte{make([]byte, 1<<20)}
	for n := range 100 {
		r.put(standbyUnit{Unit: Unit{Payload: big}, mark: mark{arrival: now}, number: n})
	}
	if len(r.units) != 16 || r.bytes != maxStandbyBytes || r.units[0].number != 84 {
		t.Errorf("%d units of %d bytes from %d", len(r.units), r.bytes, r.units[0].number)
	}
	r.put(standbyUnit{mark: mark{arrival: now.Add(maxStandbyTime + 1)}})
	if len(r.units) != 1 || r.bytes != 0 {
		t.Errorf("%d old units of %d bytes", len(r.units), r.bytes)
	}
	var m trackMarks
	for n := range 10 * maxTrackMarks {
		m.add(mark{pts: int64(n)})
	}
	if len(m.list) > 2*maxTrackMarks || m.next() != 10*maxTrackMarks || m.at(m.next()-1).pts != m.last().pts {
		t.Errorf("%d marks, next %d", len(m.list), m.next())
	}
}

// Whatever befalls two inputs with the same bytes, on lines that lag, stall and
// break by chance: within a publication no unit is missing, comes twice or out of
// order.
func TestSwitchByChance(t *testing.T) {
	whole, changed, seeds := 0, 0, uint64(20)
	if os.Getenv("SURGECAST_PROVE") != "" {
		seeds = 300
	}
	for seed := range seeds {
		draw := rand.New(rand.NewPCG(seed, 1))
		within := func(most time.Duration) time.Duration { return time.Duration(draw.Int64N(int64(most))) }
		c := coder{bframes: draw.IntN(2) == 0, silent: draw.IntN(4) == 0}
		if draw.IntN(4) == 0 {
			c.still = 2*time.Second + within(6*time.Second)
			c.stirs = c.still + within(8*time.Second)
		}
		ways := []way{{coder: c, name: Primary}}
		for _, name := range []Input{Primary, Backup} {
			lag := within(900 * time.Millisecond)
			for at := within(time.Second); at < 25*time.Second; at += within(3 * time.Second) {
				w := way{coder: c, name: name, from: at, lag: lag, ahead: draw.Int64N(400)}
				if at += 2*time.Second + within(9*time.Second); draw.IntN(3) == 0 {
					w.stalls = at - within(time.Second)
					w.resumes = w.stalls + within(time.Second)
				}
				w.until = at
				ways = append(ways, w)
			}
		}
		ways[0].until = time.Second
		ways = append(ways, way{coder: c, name: Backup, from: 25 * time.Second})
		length := 28 * time.Second
		p, s, log := play(t, length, func(s *inputSwitch) {
			for range 5 {
				time.Sleep(5 * time.Second)
				_ = s.command([]Input{Primary, Backup}[draw.IntN(2)])
			}
		}, ways...)
		number := map[string]int{}
		for n, u := range c.code(length) {
			number[fmt.Sprint(u.Track, u.Payload)] = n // of equal ones the last: they only need to be there
		}
		for n, units := range p.publications {
			last, at := [2]int{-1, -1}, [2]int64{-1 << 60, -1 << 60}
			for _, u := range units {
				i, ok := number[fmt.Sprint(u.Track, u.Payload)]
				distinct := c.still == 0 && !(c.silent && u.Track == 1)
				if !ok || distinct && i <= last[u.Track] || u.DTS <= at[u.Track] {
					t.Fatalf("seed %d, publication %d of %d: unit %d of track %d after %d, at %d after %d\n%s", seed, n, len(p.publications), i, u.Track, last[u.Track], u.DTS, at[u.Track], log)
				}
				last[u.Track], at[u.Track] = i, u.DTS
			}
		}
		for how, n := range s.counts() {
			changed += int(n)
			if how.Hitless {
				whole += int(n)
			}
		}
		for n, units := range p.publications {
			last := map[int]int64{}
			for _, u := range units {
				before, ok := last[u.Track]
				if step := u.DTS - before; ok && step > []int64{3600, 1024}[u.Track]*3/2 {
					t.Errorf("seed %d, publication %d: %d ticks of track %d are missing at %d\n%s", seed, n, step, u.Track, u.DTS, log)
				}
				last[u.Track] = u.DTS
			}
		}
	}
	t.Logf("%d changes, %d without a trace", changed, whole)
	if whole == 0 || whole == changed {
		t.Error("the draw is one-sided")
	}
}
