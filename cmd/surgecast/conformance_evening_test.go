package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"surgecast/relay/hlscheck"
)

// realLines are the lines of the table that also hold for real encoders,
// processes and sockets, whose time no test commands.
var realLines = []string{"01", "02", "03", "04", "05", "06", "08", "09", "12", "34", "35", "36"}

// How long the real nodes are watched: by players who take every list, and by
// ones who only read media on.
func eveningTimes() (lists, media time.Duration) {
	return sized(8*time.Second, time.Minute), sized(8*time.Second, 10*time.Minute)
}

// An origin, a relay and a relay of it, as processes, with the built-in clip
// pushed by RTSP.
func TestConformanceEvening(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 20 s")
	}
	shortly(t)
	watchConformance(t)
}

func watchConformance(t *testing.T) {
	cert, key := certificateFiles(t)
	e := newEvening(t, setting{"tls.cert_file", cert}, setting{"tls.key_file", key})
	e.startRelay(t, 1)
	e.startRelayBelow(t, 2, 1)
	for n := 1; n <= 2; n++ {
		e.addReady(t, n, &roster{})
	}
	e.awaitSegments(t, 4)

	seats := e.takeSeats(t)
	lists, media := eveningTimes()
	// In make test a player before each node, each by another protocol: with the race
	// detector on, more of them would be slower than the lists come.
	if !proving() {
		seats = slices.DeleteFunc(seats, func(s *seat) bool { return s.protocol != s.node+1 })
	}
	r := &recording{programme: programme{name: "evening", lasts: lists, renditions: []string{"main"}, slow: !proving()}}
	watching, stop := context.WithTimeout(t.Context(), lists)
	defer stop()
	var players sync.WaitGroup
	r.take(watching, seats, &players)
	problems := make([]error, len(seats))
	reading, stopReading := context.WithTimeout(t.Context(), media)
	defer stopReading()
	for i, s := range seats {
		players.Go(func() { problems[i] = s.readOn(reading) })
	}
	if proving() {
		t.Run("line 44 plain players play without a warning", func(t *testing.T) { e.testPlainPlayers(t) })
	}
	players.Wait()
	r.enough(t)
	for _, row := range conformance {
		number, _, _ := strings.Cut(strings.TrimPrefix(row.line, "line "), " ")
		for _, line := range realLines {
			if line == number && !strings.Contains(row.line, "its tag is gone") {
				t.Run(row.line, func(t *testing.T) { row.test(t, []*recording{r}) })
			}
		}
	}
	t.Run(fmt.Sprintf("line 34 fragments go on over %v", media), func(t *testing.T) {
		for i, err := range problems {
			if err != nil {
				t.Errorf("%s: %v", seats[i].name, err)
			}
		}
	})
}

// startRelayBelow starts the nth relay below another one.
func (e *evening) startRelayBelow(t *testing.T, n, parent int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "relay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const none = "\nparents: []"
	if !bytes.Contains(text, []byte(none)) {
		t.Fatal("relay.yaml has no empty parents:")
	}
	text = bytes.Replace(text, []byte(none), fmt.Appendf(nil, "\nparents: [%s]", strings.TrimPrefix(e.url(parent), "http://")), 1)
	file := filepath.Join(e.dir, "relay-below.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	e.startRelayFrom(t, n, file)
}

// takeSeats puts a viewer before each of the three nodes for each protocol.
func (e *evening) takeSeats(t *testing.T) []*seat {
	var seats []*seat
	for n := range nodeNames {
		for i, p := range protocols {
			s := p.seat(t, n, e.address(n).String(), (&net.Dialer{}).DialContext)
			s.protocol, s.credential = i, e.origin.credential
			t.Cleanup(s.client.CloseIdleConnections)
			seats = append(seats, s)
		}
	}
	return seats
}

// readOn takes part after part, in the order of the list, and holds them to go
// on without a hole. The newest is asked for as its hint, before it is there.
func (s *seat) readOn(ctx context.Context) error {
	var c hlscheck.Continuity
	l := readListing(s.get(liveList).body)
	if problems := c.Init([]byte(s.get(theatre + l.segments[0].init).body)); len(problems) > 0 {
		return fmt.Errorf("init segment: %v", problems)
	}
	due := []string{l.hint()}
	for read := 0; ; read++ {
		for _, uri := range due {
			a := s.ask(ctx, http.MethodGet, theatre+uri)
			if ctx.Err() != nil {
				return nil
			}
			if a.err != nil || a.status != http.StatusOK {
				return fmt.Errorf("%s: %v", uri, a)
			}
			if problems := c.Media([]byte(a.body)); len(problems) > 0 {
				return fmt.Errorf("%s, the %dth: %v", uri, read, problems)
			}
		}
		msn, parts := l.open()
		a := s.ask(ctx, http.MethodGet, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", liveList, msn, len(parts)))
		if ctx.Err() != nil {
			return nil
		}
		if l = readListing(a.body); a.err != nil || a.status != http.StatusOK {
			return fmt.Errorf("part %d of segment %d: %v", len(parts), msn, a)
		}
		if due = l.after(due[len(due)-1]); len(due) == 0 {
			return fmt.Errorf("a list without the part that was hinted:\n%s", l.text)
		}
	}
}

// after returns the parts behind one, and the hint; none when it is not there.
func (l *listing) after(uri string) []string {
	var all []string
	found := false
	for _, segment := range l.segments {
		for _, p := range segment.parts {
			if found {
				all = append(all, p["URI"])
			}
			found = found || p["URI"] == uri
		}
	}
	if !found {
		return nil
	}
	return append(all, l.hint())
}

// plainTime is how long a player without low latency plays.
const plainTime = time.Minute

// plainPlayers are those that know nothing of low latency, with what they play
// silently and say of warnings. %s is the URL.
var plainPlayers = map[string][]string{
	"ffmpeg":         {"-nostdin", "-v", "warning", "-re", "-i", "%s", "-t", "60", "-f", "null", "-"},
	"mpv":            {"--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn", "--length=60", "--no-terminal", "%s"},
	"gst-launch-1.0": {"-q", "playbin", "uri=%s", "video-sink=fakesink sync=true", "audio-sink=fakesink sync=true"},
}

// testPlainPlayers lets each player that is installed read from each relay. An
// origin is not for them: they can't show the credential.
func (e *evening) testPlainPlayers(t *testing.T) {
	for player, args := range plainPlayers {
		path, err := exec.LookPath(player)
		if err != nil {
			t.Logf("%s is not installed", player)
			continue
		}
		for n := 1; n <= 2; n++ {
			t.Run(player+", "+nodeNames[n], func(t *testing.T) {
				t.Parallel()
				playPlainly(t, path, args, e.url(n)+"/theatre/index.m3u8")
			})
		}
	}
}

func playPlainly(t *testing.T, path string, args []string, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), plainTime+15*time.Second)
	defer cancel()
	all := make([]string, len(args))
	for i, arg := range args {
		all[i] = strings.ReplaceAll(arg, "%s", url)
	}
	player := exec.CommandContext(ctx, path, all...)
	player.Cancel = func() error { return player.Process.Signal(os.Interrupt) }
	player.WaitDelay = 5 * time.Second
	began := time.Now()
	out, err := player.CombinedOutput()
	played := time.Since(began)
	// One that plays until it is told to stop was told.
	if err != nil && ctx.Err() == nil || played < plainTime-15*time.Second {
		t.Errorf("ended after %v: %v: %s", played, err, out)
	}
	for line := range bytes.Lines(out) {
		if text := strings.TrimSpace(string(line)); text != "" && !strings.Contains(text, "Skip") && !goesElsewhere(text) && !strings.Contains(text, "Last message repeated") {
			t.Error(text)
		}
	}
}
