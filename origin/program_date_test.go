package origin

import (
	"testing"
	"time"

	"surgecast/relay"
)

// The durations in a day of lists add up to the ticks that they stand for, and
// dates go on with them.
func TestRoundingDoesNotAddUp(t *testing.T) {
	for _, ticks := range []int64{19519, 19520, 18018, 20250, 9216} {
		for _, rate := range []int{90000, 44100, 48000} {
			tl := newTimeline("main", relay.NewWindow(relay.DefaultConstants()), 1, relay.DefaultConstants(), time.Minute, streamRecord{}, false)
			tl.beginRun([]byte{1}, rate, time.Unix(1_000_000, 0))
			var sum time.Duration
			parts := int64(86400) * int64(rate) / ticks
			for i := range parts {
				if i%10 == 0 {
					tl.list.Open = relay.Segment{}
					tl.openSegment(sum, time.Unix(1_000_000, 0).Add(sum))
				}
				from := tl.position()
				tl.played += ticks
				sum += tl.position() - from
			}
			want := float64(parts*ticks) / float64(rate)
			if off := sum.Seconds() - want; off > 1e-6 || off < -1e-6 {
				t.Errorf("%d ticks of 1/%d s: after a day %v s off", ticks, rate, off)
			}
		}
	}
}

func TestDatesAreSlewedNotSet(t *testing.T) {
	var d programDate
	wall := time.Unix(1_000_000, 0)
	d.begin(wall)
	// The first frame's wall time was 50 ms late, as arrival times are.
	var date time.Time
	for i := range 60 {
		start := time.Duration(i) * 2 * time.Second
		next := d.at(start, wall.Add(start-50*time.Millisecond))
		if step := next.Sub(date); i > 0 && (step < 1999*time.Millisecond || step > 2001*time.Millisecond) {
			t.Fatalf("segment %d: the date moves by %v", i, step)
		}
		date = next
	}
	if off := date.Sub(wall.Add(118*time.Second - 50*time.Millisecond)); off != 0 {
		t.Errorf("after 60 segments %v off", off)
	}
	// A run with a clock that is behind goes on where the one before ended.
	d.reach(date.Add(2 * time.Second))
	d.begin(wall)
	if next := d.at(0, wall); next.Before(date.Add(2*time.Second - maxSlew)) {
		t.Errorf("a new run goes back to %v", next)
	}
}

func TestListIsNeverShorterThanTheRules(t *testing.T) {
	for duration, want := range map[time.Duration]int{
		time.Second:            6, // the least number of segments
		300 * time.Millisecond: 20,
		2 * time.Second:        6,
	} {
		tl := timeline{keep: 3 * relay.DefaultConstants().TargetDuration}
		for range 100 {
			tl.list.Segments = append(tl.list.Segments, relay.Segment{Duration: duration, Discontinuity: true})
			tl.slide()
		}
		if n := len(tl.list.Segments); n != want {
			t.Errorf("%d segments of %v, want %d", n, duration, want)
		}
		if tl.list.MediaSequence != uint64(100-want) || tl.list.DiscontinuitySequence != uint64(100-want) {
			t.Errorf("sequences %d and %d", tl.list.MediaSequence, tl.list.DiscontinuitySequence)
		}
	}
}
