package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
)

// turn is when an act plays, of those on one stage: what it leaves behind must
// do for the next.
type turn int

const (
	feedGoesOn turn = iota
	feedEnds
	feedComesBack // and ends again
	streamEnds
)

// playActs plays all that is asked on a stage, in fake time, and returns what
// each line has to say. To start three nodes costs more than most acts: acts
// with one window share a stage, but in make prove, where each has its own.
func playActs(t *testing.T) map[string]*lineSays {
	t.Helper()
	var stages [][]conformanceLine
	for _, row := range conformance {
		if row.act == nil {
			continue
		}
		if row.window == 0 {
			row.window = stageWindow
		}
		i := slices.IndexFunc(stages, func(acts []conformanceLine) bool { return acts[0].window == row.window })
		if i < 0 || proving() {
			stages = append(stages, []conformanceLine{row})
		} else {
			stages[i] = append(stages[i], row)
		}
	}
	said := map[string]*lineSays{}
	for _, acts := range stages {
		slices.SortStableFunc(acts, func(a, b conformanceLine) int { return int(a.turn - b.turn) })
		synctest.Test(t, func(t *testing.T) {
			st, end := newStage(t, &origintest.Source{FPS: 25, GOP: 25, Audio: true}, func(c *OriginConfig) { c.Window = Duration(acts[0].window) })
			time.Sleep(stageWarm)
			for _, row := range acts {
				said[row.line] = st.play(t, row.act)
			}
			end()
		})
	}
	return said
}

// play lets one act play to its end.
func (st *stage) play(t *testing.T, act func(t testing.TB, st *stage)) *lineSays {
	says := &lineSays{TB: t}
	for _, s := range st.seats {
		s.t = says
	}
	began, played := time.Now(), make(chan struct{})
	go func() { // of its own: a fatal error ends it, and not the stage
		defer close(played)
		act(says, st)
	}()
	<-played
	says.took = time.Since(began)
	return says
}

// lineSays is what goes wrong in an act, kept for the test that bears the name
// of its line.
type lineSays struct {
	testing.TB // of the stage

	took time.Duration // of fake time

	mu     sync.Mutex
	errors []string
}

func (l *lineSays) Helper() {}

func (l *lineSays) Error(args ...any) { l.note(fmt.Sprintln(args...)) }

func (l *lineSays) Errorf(format string, args ...any) { l.note(fmt.Sprintf(format, args...)) }

func (l *lineSays) Fatal(args ...any) {
	l.Error(args...)
	runtime.Goexit()
}

func (l *lineSays) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	runtime.Goexit()
}

func (l *lineSays) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, text)
}

func (l *lineSays) tell(t *testing.T) {
	t.Helper()
	for _, text := range l.errors {
		t.Error(text)
	}
	t.Logf("played for %v", l.took)
}
