package origin_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin"
	"surgecast/origin/origintest"
)

// wait lets time pass, with a look at the lists now and then: each 100 ms at
// first, later when a part has left the lists of which there still are some.
func (in *inspector) wait(length time.Duration) {
	in.Helper()
	step := 99 * time.Millisecond
	for until := time.Now().Add(length); time.Now().Before(until); {
		if time.Until(until) < length-10*time.Second {
			step = 4777 * time.Millisecond
		}
		time.Sleep(min(step, time.Until(until)))
		synctest.Wait()
		in.look()
	}
}

// The programme's clock goes on while the encoder is away, and the numbers and
// dates with it, whatever it comes back with.
func TestGapsWhileTheEncoderIsAway(t *testing.T) {
	for _, separate := range []bool{false, true} {
		for _, away := range []time.Duration{200 * time.Millisecond, 5 * time.Second, time.Minute, 10 * time.Minute, time.Hour} {
			if away > time.Minute && os.Getenv("SURGECAST_PROVE") == "" {
				continue // a minute of time a minute
			}
			t.Run(fmt.Sprintf("%v, separate %v", away, separate), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T) { awayFor(t, away, separate) })
			})
		}
	}
}

func awayFor(t *testing.T, away time.Duration, separate bool) {
	config := origin.StreamConfig{}
	if separate {
		config.Audio = origin.AudioSeparate
	}
	in := inspect(newStageWith(t, t.TempDir(), config))
	for i, width := range []int{64, 64, 128} {
		one := &origintest.Source{Audio: true, GOP: 25, Width: width}
		p := in.publish(one)
		if i > 0 {
			in.checkReturn(t, away)
		}
		in.play(p, one, 5*time.Second, nil)
		p.Close()
		in.look()
		in.wait(away)
	}
}

// checkReturn looks at the lists right before the encoder is back.
func (in *inspector) checkReturn(t *testing.T, away time.Duration) {
	t.Helper()
	for name, r := range in.renditions {
		list := r.window.Version().Playlist
		ahead := time.Until(list.End())
		if ahead > 0 {
			t.Errorf("%s: dates are %v ahead of the clock", name, ahead)
		}
		if want := -min(away, 1500*time.Millisecond); ahead < want {
			t.Errorf("%s: the list ends %v ago, want at most %v", name, -ahead, -want)
		}
		if overtakes := int64(list.OpenSequence()) - time.Now().Unix(); overtakes > 5 {
			t.Errorf("%s: number %d, %d ahead of the clock", name, list.OpenSequence(), overtakes)
		}
		if gaps := list.Segments[len(list.Segments)-1].Gap || list.Open.Gap; gaps != (away > time.Second) {
			t.Errorf("%s: ends with a gap: %v", name, gaps)
		}
	}
}

// A stream that was restored after a restart goes on with gaps, too, dated by the
// clock although the origin was away.
func TestGapsAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		before := newStage(t, dir)
		source := &origintest.Source{Audio: true, GOP: 25}
		before.play(before.publish(source), source, 8*time.Second)
		before.stop()
		time.Sleep(30 * time.Second)
		in := inspect(newStageAfter(t, dir, origin.StreamConfig{}, func(o *origin.Origin) {
			if err := o.Restore(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}))
		in.look()
		in.wait(5 * time.Second)
		in.checkReturn(t, 5*time.Second)
		source = &origintest.Source{Audio: true, GOP: 25}
		in.play(in.publish(source), source, 5*time.Second, nil)
	})
}

// A line that stands still for a while leaves no trace; for longer, gaps, and of
// what comes then at once, what they stand for is left out.
func TestGapsWhileTheLineStandsStill(t *testing.T) {
	for _, still := range []time.Duration{200 * time.Millisecond, 1500 * time.Millisecond, 6 * time.Second} {
		t.Run(still.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				in := inspect(newStageWith(t, t.TempDir(), origin.StreamConfig{}))
				source := &origintest.Source{Audio: true, GOP: 25}
				p := in.publish(source)
				in.play(p, source, 5*time.Second, nil)
				in.wait(still)
				in.play(p, source, 5*time.Second, nil) // what was late first, at once
				list := in.window.Version().Playlist
				gap, returns := time.Duration(0), 0
				for _, s := range list.Segments {
					if s.Gap {
						gap += s.Duration
					}
					if s.Discontinuity {
						returns++
					}
				}
				if short := still < 2*time.Second; short != (gap == 0) || short != (returns == 0) {
					t.Errorf("after %v: a gap of %v, %d discontinuities", still, gap, returns)
				}
				if behind := time.Since(list.End()); behind < -300*time.Millisecond || behind > time.Second {
					t.Errorf("after %v the list ends %v ago", still, behind)
				}
			})
		})
	}
}

// An encoder that is another one with each picture is shown as far as the clock
// goes: media sequence numbers do not overtake it.
func TestRunsAreHeldToTheClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in := inspect(newStageWith(t, t.TempDir(), origin.StreamConfig{}))
		for n := range 300 {
			source := &origintest.Source{GOP: 1, Width: 64 + n%2*16}
			in.play(in.publish(source), source, 100*time.Millisecond, nil)
		}
		list := in.window.Version().Playlist
		if ahead := int64(list.OpenSequence()) - time.Now().Unix(); ahead > 6 || ahead < 3 {
			t.Errorf("the list is %d numbers ahead of the clock", ahead)
		}
	})
}
