package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// knock is an attempt to publish from one address.
func knock(stream, key string) attempt {
	return attempt{protocol: "TEST", stream: stream, proof: plainKey(key), remote: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1000}}
}

// opened publishes a sound.
func opened(t *testing.T, a *admission) (*ingest, error) {
	t.Helper()
	return a.open(announcement{transport: "hand", tracks: []essence{newEssence(&codecs.Opus{ChannelCount: 2})}})
}

func TestGateKeys(t *testing.T) {
	g, _, log := testGate(GateConfig{})
	for _, c := range []struct {
		stream, key string
		valid       bool
		broadcaster string
	}{
		{"theatre", testKey, true, ""},
		{"theatre", vanKey, true, "van"},
		{"theatre", testKey[:20], false, ""},
		{"theatre", "", false, ""},
		{"cinema", testKey, false, ""},
		{testKey, vanKey + "x", false, ""},
	} {
		a, err := g.admit(t.Context(), knock(c.stream, c.key))
		switch {
		case c.valid && (err != nil || a.broadcaster != c.broadcaster):
			t.Errorf("stream %q, key %q: %+v, %v", c.stream, c.key, a, err)
		case !c.valid && (a != nil || !errors.Is(err, ErrKeyRefused)):
			t.Errorf("stream %q, key %q: %v", c.stream, c.key, err)
		}
		g.failures = newFailures() // else the next ones wait
	}
	a, err := g.admit(t.Context(), knock("theatre", vanKey))
	if err != nil {
		t.Fatal(err)
	}
	in, err := opened(t, a)
	if err != nil {
		t.Fatal(err)
	}
	in.end(errDisconnect)
	_ = in.run()
	if !strings.Contains(log.String(), "broadcaster=van") {
		t.Errorf("the log does not say whose key it was:\n%s", log)
	}
	for _, key := range []string{testKey, testKey[:20], vanKey} {
		if strings.Contains(log.String(), key) {
			t.Errorf("%q is in the log:\n%s", key, log)
		}
	}
}

// A branch of a stream has the stream's keys, a place of its own beside it, and
// is told from others only to who knows a key.
func TestGateBranches(t *testing.T) {
	g, publishers, log := testGate(GateConfig{})
	publishers.sameKey = RefuseNewer
	for _, branch := range []string{"", "720"} {
		a := knock("theatre", testKey)
		a.branch = branch
		admitted, err := g.admit(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		in, err := opened(t, admitted)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { in.end(errDisconnect); _ = in.run() }()
		if _, err := g.admit(t.Context(), a); !errors.Is(err, ErrTaken) {
			t.Errorf("a second one on branch %q: %v", branch, err)
		}
	}
	if feeds := g.Feeds(); len(feeds) != 2 || feeds[1].Branch != "720" {
		t.Errorf("feeds %+v", feeds)
	}
	unknown := knock("theatre", testKey)
	unknown.branch = "900"
	if _, err := g.admit(t.Context(), unknown); !errors.Is(err, ErrUnknownBranch) || !strings.Contains(err.Error(), "720") {
		t.Errorf("unknown branch: %v", err)
	}
	unknown.proof = plainKey("wrong")
	if _, err := g.admit(t.Context(), unknown); !errors.Is(err, ErrKeyRefused) {
		t.Errorf("unknown branch without the key: %v", err)
	}
	if strings.Contains(log.String(), testKey) {
		t.Errorf("the key is in the log:\n%s", log)
	}
}

// Whatever stream is asked for and whichever key is right: as many keys are
// compared.
func TestGateComparesAllKeys(t *testing.T) {
	g, _, _ := testGate(GateConfig{})
	for _, c := range []struct{ stream, key string }{
		{"theatre", testKey}, {"theatre", vanKey}, {"theatre", "wrong"}, {"cinema", testKey},
	} {
		compared := 0
		a := knock(c.stream, c.key)
		sent := a.proof
		a.proof = func(key string) bool { compared++; return sent(key) }
		_, _ = g.admit(t.Context(), a)
		if compared != 2 {
			t.Errorf("stream %q: %d keys compared", c.stream, compared)
		}
	}
}

// A thousand wrong keys from one address take their time, and the right one from
// there takes none. Nobody has to wait for the server's end.
func TestGateThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, _ := testGate(GateConfig{})
		began := time.Now()
		for i := range 1000 {
			if _, err := g.admit(t.Context(), knock("theatre", fmt.Sprint(i))); !errors.Is(err, ErrKeyRefused) {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 80*time.Minute {
			t.Errorf("a thousand guesses in %v", took)
		}
		began = time.Now()
		if _, err := g.admit(t.Context(), knock("theatre", testKey)); err != nil || time.Since(began) > 0 {
			t.Errorf("the right key: %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		_, _ = g.admit(ctx, knock("theatre", "wrong"))
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the end waits for %v", waited)
		}
	})
}

// Which of two encoders with a key to one stream publishes.
func TestSameKeyTwice(t *testing.T) {
	for _, c := range []struct {
		name    string
		sameKey SameKey
		quiet   time.Duration // the first one sends nothing for this long
		yields  bool
		refused bool
	}{
		{"newest wins", NewestWins, 0, false, false},
		{"newest wins, unless it yields", NewestWins, time.Minute, true, true},
		{"refused", RefuseNewer, time.Second, false, true},
		{"refused no longer", RefuseNewer, aliveFor + time.Second, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, publishers, _ := testGate(GateConfig{})
				publishers.sameKey = c.sameKey
				second := knock("theatre", vanKey)
				second.yields = c.yields
				admit := func(a attempt) *admission {
					t.Helper()
					admitted, err := g.admit(t.Context(), a)
					if err != nil {
						t.Fatal(err)
					}
					return admitted
				}
				early := admit(second) // both are at the door
				in, err := opened(t, admit(knock("theatre", testKey)))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.quiet)
				if _, err := g.admit(t.Context(), second); errors.Is(err, ErrTaken) != c.refused {
					t.Errorf("admit: %v", err)
				}
				other, err := opened(t, early)
				if errors.Is(err, ErrTaken) != c.refused {
					t.Errorf("open: %v", err)
				}
				for _, in := range []*ingest{in, other} {
					if in != nil {
						in.end(errDisconnect)
						_ = in.run()
					}
				}
				if _, err := g.admit(t.Context(), second); err != nil {
					t.Errorf("when all have gone: %v", err)
				}
			})
		})
	}
}

// Units of a protocol whose tracks share a clock: sound from before the first
// picture is left out, what was not chosen is dropped, what is queued at the end
// is published, and the reason of the end is told.
func TestIngestOnOneClock(t *testing.T) {
	g, publishers, log := testGate(GateConfig{})
	a, err := g.admit(t.Context(), knock("theatre", testKey))
	if err != nil {
		t.Fatal(err)
	}
	in, err := a.open(announcement{transport: "hand", tracks: []essence{
		{kind: essenceOther, name: "teletext"},
		newEssence(&codecs.Opus{ChannelCount: 2}),
		newEssence(&codecs.H264{}),
		{kind: essenceVideo, name: "VP8", problem: errUnsupported},
	}})
	if err != nil {
		t.Fatal(err)
	}
	begin := 26 * time.Hour // where the encoder's clock stands
	now := time.Now()
	wall := now.Add(-time.Second)
	for i := range 20 {
		at := time.Duration(i) * 20 * time.Millisecond
		units := []timedUnit{
			{track: 0, payload: [][]byte{{1}}},
			{track: 3, payload: [][]byte{{1}}},
			{track: 1, payload: [][]byte{{0xfc, byte(i)}}},
		}
		if i%2 == 0 {
			picture := timedUnit{track: 2, dts: begin + at - 40*time.Millisecond, dtsKnown: true, wall: wall.Add(at), payload: [][]byte{testP}}
			if i == 4 {
				picture.payload = [][]byte{testSPS, testPPS, testIDR}
			}
			units = append(units, picture)
		}
		for _, u := range units {
			u.pts, u.arrival = begin+at, now.Add(at)
			if !in.enqueue(u) {
				t.Fatal("dropped")
			}
		}
	}
	reason := errors.New("the cable was pulled")
	in.end(reason)
	if got := in.run(); got != reason {
		t.Errorf("ended for %v", got)
	}
	if in.enqueue(timedUnit{track: 1, arrival: now, payload: [][]byte{{1}}}) {
		t.Error("enqueue goes on after the end")
	}
	p := <-publishers.published
	if len(p.tracks) != 2 || p.tracks[0].ClockRate != videoClockRate || p.tracks[1].ClockRate != opusClockRate {
		t.Fatalf("tracks %+v", p.tracks)
	}
	var pictures, sounds int64
	for _, u := range p.take(t, 1000) {
		switch {
		case u.Track == 0:
			if u.PTS != pictures*3600 || u.DTS != u.PTS-3600 || u.Random != (pictures == 0) ||
				!u.WallTime.Equal(wall.Add(time.Duration(80+40*pictures)*time.Millisecond)) {
				t.Errorf("picture %d: %+v", pictures, u)
			}
			pictures++
		case u.PTS != sounds*960 || u.Payload[0][1] != byte(4+sounds) || !u.WallTime.Equal(now.Add(time.Duration(80+20*sounds)*time.Millisecond)):
			t.Errorf("sound %d: %+v", sounds, u)
		default:
			sounds++
		}
	}
	if pictures != 8 || sounds != 16 {
		t.Errorf("%d pictures, %d sounds", pictures, sounds)
	}
	for _, want := range []string{"data teletext", "the cable was pulled", "transport=hand"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
}
