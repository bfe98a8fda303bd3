package origin

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

const (
	testKey = "0123456789abcdef-the-right-key"
	vanKey  = "0123456789abcdef-the-key-of-the-van"
)

// fakePublishers knows the stream theatre, with a key of its own and one of a
// broadcaster, and its branch 720, and hands out fakePublications.
type fakePublishers struct {
	sameKey   SameKey
	published chan *fakePublication
}

type fakePublication struct {
	stream string
	branch string
	tracks []Track
	units  chan Unit
	closed chan struct{}
	done   chan struct{}
}

func (p *fakePublishers) entry(stream string) (entry, bool) {
	if stream != "theatre" {
		return entry{}, false
	}
	return entry{keys: []publishKey{{key: testKey}, {broadcaster: "van", key: vanKey}}, sameKey: p.sameKey, branches: []string{"720"}}, true
}

func (p *fakePublishers) maxKeys() int { return 2 }

func (p *fakePublishers) accepts(string, string, []Track) error { return nil }

func (p *fakePublishers) publish(stream, branch string, _ bool, tracks []Track) (publication, error) {
	f := &fakePublication{
		stream: stream,
		branch: branch,
		tracks: tracks,
		units:  make(chan Unit, 10000),
		closed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	p.published <- f
	return f, nil
}

func (f *fakePublication) Write(u Unit) error    { f.units <- u; return nil }
func (f *fakePublication) Close()                { close(f.closed); close(f.units) }
func (f *fakePublication) Done() <-chan struct{} { return f.done }

// logLines collects log lines.
type logLines struct {
	mu    sync.Mutex
	lines bytes.Buffer
	more  chan struct{}
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.lines.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// await waits for a line with the text.
func (l *logLines) await(t testing.TB, text string) {
	t.Helper()
	for deadline := time.After(10 * time.Second); !bytes.Contains([]byte(l.String()), []byte(text)); {
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("no line with %q in the log:\n%s", text, l)
		}
	}
}

type testServer struct {
	*RTSP
	publishers *fakePublishers
	log        *logLines
}

// testGate is a gate to fakePublishers, with a log.
func testGate(config GateConfig) (*Gate, *fakePublishers, *logLines) {
	publishers := &fakePublishers{published: make(chan *fakePublication, 10), sameKey: NewestWins}
	log := &logLines{more: make(chan struct{}, 1)}
	config.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return newGate(config, publishers), publishers, log
}

// startRTSP runs a server on a port of its own until the test ends.
func startRTSP(t *testing.T, gate GateConfig, configure ...func(*RTSP)) *testServer {
	t.Helper()
	s := &testServer{}
	config := RTSPConfig{Listen: "127.0.0.1:0", UDPRTP: "127.0.0.1:0"}
	config.Gate, s.publishers, s.log = testGate(gate)
	config.Logger = config.Gate.logger
	var err error
	if s.RTSP, err = NewRTSP(config); err != nil {
		t.Fatal(err)
	}
	for _, c := range configure {
		c(s.RTSP)
	}
	runUntilEnd(t, s.Run)
	return s
}

func (s *testServer) url(key, stream string) string {
	return "rtsp://publish:" + key + "@" + s.Addr().String() + "/" + stream
}

// publication waits for the next one.
func (s *testServer) publication(t testing.TB) *fakePublication {
	t.Helper()
	select {
	case p := <-s.publishers.published:
		return p
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing was published, log:\n%s", s.log)
		return nil
	}
}

// take waits until n units are there, or all there will ever be.
func (f *fakePublication) take(t testing.TB, n int) (units []Unit) {
	t.Helper()
	for deadline := time.After(20 * time.Second); len(units) < n; {
		select {
		case u, ok := <-f.units:
			if !ok {
				return units
			}
			units = append(units, u)
		case <-deadline:
			t.Fatalf("only %d units came", len(units))
		}
	}
	return units
}

// connect begins to publish with gortsplib's client.
func (s *testServer) connect(t *testing.T, transport gortsplib.Transport, e *encoder) (*gortsplib.Client, net.Conn) {
	t.Helper()
	var conn net.Conn
	client := &gortsplib.Client{
		Transport:                &transport,
		DisableRTCPSenderReports: true,
		ListenPacket:             listenLoopback,
		DialContext: func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return conn, err
		},
	}
	if err := client.StartRecording(s.url(testKey, "theatre"), &description.Session{Medias: e.medias}); err != nil {
		t.Fatalf("%v, log:\n%s", err, s.log)
	}
	return client, conn
}

func ssrcOf(client *gortsplib.Client, media *description.Media) uint32 {
	return client.Stats().Session.Medias[media].Formats[media.Formats[0]].LocalSSRC
}

func TestRTSPTakesStream(t *testing.T) {
	for name, transport := range map[string]gortsplib.Transport{"tcp": gortsplib.TransportTCP, "udp": gortsplib.TransportUDP} {
		t.Run(name, func(t *testing.T) {
			s := startRTSP(t, GateConfig{})
			tracks, samples := testFile(t, "testdata/bframes.mp4")
			e := newEncoder(t, tracks)
			client, _ := s.connect(t, transport, e)
			// The encoder's clock is 3 s ahead, and has a fraction that goes wrong
			// when it is read as nanoseconds.
			zero := time.Now().Add(3 * time.Second).Truncate(time.Second).Add(987654321)
			for i, media := range e.medias {
				pts := int64(i) * 4800 // the reports of the two tracks are at other times
				wall := zero.Add(ticksToDuration(pts, e.clockRates[i]))
				if err := client.WritePacketRTCP(media, e.report(i, ssrcOf(client, media), pts, wall)); err != nil {
					t.Fatal(err)
				}
			}
			for _, sample := range samples {
				for _, packet := range e.packets(t, sample) {
					if err := client.WritePacketRTP(e.medias[sample.track], packet); err != nil {
						t.Fatal(err)
					}
				}
			}
			p := s.publication(t)
			checkUnits(t, p, tracks, samples, zero)
			client.Close()
			<-p.closed
			s.log.await(t, "encoder gone")
		})
	}
}

// checkUnits compares what was published with what was sent.
func checkUnits(t *testing.T, p *fakePublication, tracks []Track, samples []sample, zero time.Time) {
	t.Helper()
	if len(p.tracks) != 2 || !p.tracks[0].Codec.IsVideo() || p.tracks[1].ClockRate != 48000 {
		t.Fatalf("tracks %+v", p.tracks)
	}
	video := p.tracks[0].Codec.(*codecs.H264)
	if want := tracks[0].Codec.(*codecs.H264); !bytes.Equal(video.SPS, want.SPS) || !bytes.Equal(video.PPS, want.PPS) {
		t.Error("other parameter sets than announced")
	}
	// The publication's zero is the first picture.
	start := samples[firstVideo(samples)].pts
	var want []sample
	for _, s := range samples {
		if s.pts*videoClockRate >= start*int64(tracks[s.track].ClockRate) {
			want = append(want, s)
		}
	}
	units := p.take(t, len(want))
	if len(units) != len(want) {
		t.Fatalf("%d units instead of %d", len(units), len(want))
	}
	next := [2]int{}
	last := [2]int64{-1 << 62, -1 << 62}
	for _, u := range units {
		s := nthOfTrack(want, u.Track, next[u.Track])
		next[u.Track]++
		rate := int64(tracks[u.Track].ClockRate)
		offset := ticksToDuration(u.PTS, rate) - ticksToDuration(s.pts, rate) + ticksToDuration(start, videoClockRate)
		if offset.Abs() > time.Millisecond {
			t.Errorf("track %d: PTS %d is off by %v", u.Track, u.PTS, offset)
		}
		if wall := zero.Add(ticksToDuration(s.pts, rate)); u.WallTime.Sub(wall).Abs() > time.Millisecond {
			t.Errorf("track %d: wall time %v instead of %v", u.Track, u.WallTime, wall)
		}
		if u.DTS > u.PTS || u.DTS <= last[u.Track] {
			t.Errorf("track %d: DTS %d after %d with PTS %d", u.Track, u.DTS, last[u.Track], u.PTS)
		}
		last[u.Track] = u.DTS
		if u.Track == 0 {
			checkPicture(t, u, s, video)
		} else if !u.Random || len(u.Payload) != 1 || !bytes.Equal(u.Payload[0], s.payload[0]) {
			t.Errorf("other audio frame than sent at %d", u.PTS)
		}
	}
}

func checkPicture(t *testing.T, u Unit, s sample, c *codecs.H264) {
	t.Helper()
	if u.Random != s.random {
		t.Errorf("Random %v at PTS %d", u.Random, u.PTS)
	}
	payload := u.Payload
	if u.Random {
		if len(payload) < 3 || !bytes.Equal(payload[0], c.SPS) || !bytes.Equal(payload[1], c.PPS) {
			t.Fatalf("no parameter sets before the IDR at %d", u.PTS)
		}
		payload = payload[2:]
	}
	if !bytes.Equal(bytes.Join(payload, []byte{0}), bytes.Join(s.payload, []byte{0})) {
		t.Errorf("other picture than sent at %d", u.PTS)
	}
}

func firstVideo(samples []sample) int {
	for i, s := range samples {
		if s.track == 0 {
			return i
		}
	}
	return -1
}

func nthOfTrack(samples []sample, track, n int) sample {
	for _, s := range samples {
		if s.track == track {
			if n == 0 {
				return s
			}
			n--
		}
	}
	return sample{}
}
