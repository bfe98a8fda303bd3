package cluster

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// simulate runs a pool for a minute, and returns what was found.
func simulate(t *testing.T, c simConfig) *simulation {
	t.Helper()
	var s *simulation
	synctest.Test(t, func(*testing.T) {
		s = newSimulation(c)
		if c.sabotage != nil {
			c.sabotage(s)
		}
		s.populate()
		s.schedule()
		s.after(simLook, s.checks.look)
		s.run(simEnd)
		if s.failure == "" {
			s.checks.whole()
		}
	})
	return s
}

// fromEnv reads a number of the environment.
func fromEnv(t *testing.T, name string, usual uint64) uint64 {
	n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), fmt.Sprint(usual)), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// A pool of a dozen nodes, and what can happen to it, for a minute of each of
// many seeds. SEEDS and NODES ask for more, SEED for one that failed, ISOLATE=0
// leaves name servers the gossip.
func TestSimulation(t *testing.T) {
	usual := uint64(100)
	if raceDetector() { // make test runs all of them without it
		usual = 2
	}
	c := simConfig{nodes: int(fromEnv(t, "NODES", 12)), isolate: fromEnv(t, "ISOLATE", 1) > 0}
	simulateSeeds(t, c, fromEnv(t, "SEEDS", usual))
}

// raceDetector tells whether it is on: it makes a simulation eight times slower
// and finds nothing, since all of one is in one goroutine.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// The same with a hundred nodes: as many seeds as begin within some seconds, one
// on each processor at a time; within a minute under make prove.
func TestSimulationOfAHundred(t *testing.T) {
	if raceDetector() {
		t.Skip("make test runs it without the race detector")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	began, most := time.Now(), 5*time.Second
	if os.Getenv("SURGECAST_PROVE") != "" {
		most = time.Minute
	}
	var seeds atomic.Uint64
	t.Run("beside", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("others", func(t *testing.T) {
				t.Parallel()
				for time.Since(began) < most {
					s := simulate(t, simConfig{seed: seeds.Add(1), nodes: 100, isolate: true})
					s.report(t)
					t.Logf("seed %d of 100 nodes: %v", s.seed, s.checks.worst)
				}
			})
		}
	})
	t.Logf("%d seeds of 100 nodes in %v", seeds.Load(), time.Since(began).Round(time.Second))
}

// simulateSeeds runs seeds side by side.
func simulateSeeds(t *testing.T, c simConfig, seeds uint64) {
	first := fromEnv(t, "SEED", 1)
	if os.Getenv("SEED") != "" {
		seeds = 1
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // mostly short-lived garbage
	type longest struct {
		lasted time.Duration
		seed   uint64
	}
	var mu sync.Mutex
	worst := make(map[string]longest)
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+seeds; seed++ {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				c := c
				c.seed = seed
				s := simulate(t, c)
				if s.report(t); s.failure == "" && seeds == 1 {
					t.Logf("%s", s.trace)
				}
				t.Log(s.checks.worst)
				mu.Lock()
				defer mu.Unlock()
				for what, d := range s.checks.worst {
					if d > worst[what].lasted {
						worst[what] = longest{d, seed}
					}
				}
			})
		}
	})
	for what, l := range worst {
		t.Logf("%s: for %v at most, in seed %d", what, l.lasted, l.seed)
	}
}

// report fails a test with the seed and all that happened.
func (s *simulation) report(t *testing.T) {
	t.Helper()
	if s.failure != "" {
		t.Errorf("SEED=%d NODES=%d: %s\n%s", s.seed, s.nodes, s.failure, s.trace)
	}
}

// A seed repeats to the last byte, or what it finds could not be looked into.
func TestSimulationRepeats(t *testing.T) {
	if raceDetector() {
		t.Skip("make test runs it without the race detector")
	}
	for seed := range uint64(3) {
		c := simConfig{nodes: 12, seed: seed, isolate: true}
		one, two := simulate(t, c), simulate(t, c)
		if !bytes.Equal(one.trace, two.trace) {
			a, b := strings.Split(string(one.trace), "\n"), strings.Split(string(two.trace), "\n")
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Fatalf("seed %d, line %d:\n%s\nand then\n%s", seed, i, a[i], b[i])
				}
			}
			t.Fatalf("seed %d: %d lines, and then %d", seed, len(a), len(b))
		}
	}
}

// What is broken on purpose must be found, each in few seeds of the faults that
// bring it to light.
func TestSimulationFindsWhatIsBroken(t *testing.T) {
	if raceDetector() {
		t.Skip("make test runs it without the race detector")
	}
	for name, c := range map[string]struct {
		sabotage func(*simulation)
		faults   []string
		found    string
	}{
		"verdicts are not heard": {
			func(s *simulation) { s.broken.deaf = func(Verdict) bool { return true } },
			nil, "well and not named",
		},
		"what probers find is not asked": {
			func(s *simulation) { s.broken.healthy = func(Member) bool { return true } },
			[]string{"a process hangs", "a relay is killed"},
			"dead and named",
		},
		"one relay is always taken for ill": {
			func(s *simulation) {
				s.broken.healthy = func(m Member) bool { return m.PublicAddr().As4()[3] != 5<<4|1 }
			},
			nil, "well and not named",
		},
		"nobody yields his name": {
			func(s *simulation) { s.broken.keepName = true },
			[]string{"a machine is copied with its memory"},
			"the same name",
		},
		"no death is denied": {
			func(s *simulation) { s.broken.noRefute = true },
			[]string{"a node is taken for dead"},
			"",
		},
		"a name server forgets whom the gossip has lost": {
			func(s *simulation) { s.broken.forgetLost = true },
			[]string{"a name server loses the gossip"},
			"well and not named",
		},
		"a name server forgets whom it named": {
			func(s *simulation) { s.broken.forgetLast = true },
			[]string{"a name server loses the gossip"},
			"an empty answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 20
			for seed := range uint64(most) {
				s := simulate(t, simConfig{seed: seed, nodes: 12, isolate: true, only: c.faults, sabotage: c.sabotage})
				if s.failure != "" && strings.Contains(s.failure, c.found) {
					t.Logf("seed %d: %s", seed, s.failure)
					return
				}
			}
			t.Errorf("not found in %d seeds", most)
		})
	}
}
