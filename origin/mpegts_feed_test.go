package origin

import (
	"bytes"
	"net"
	"os/exec"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

// tsFeed is a feed into fake publications, and what waits for its ingest.
func tsFeed(t testing.TB) (feed *mpegtsFeed, publishers *fakePublishers, wait func()) {
	gate, publishers, _ := testGate(GateConfig{})
	admitted, err := gate.admit(t.Context(), attempt{
		protocol: "SRT", stream: "theatre", proof: plainKey(testKey), remote: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan struct{})
	close(ran)
	feed = &mpegtsFeed{admission: admitted, transport: "SRT", begin: func(in *ingest) {
		ran = make(chan struct{})
		go func() { defer close(ran); _ = in.run() }()
	}}
	return feed, publishers, func() { <-ran }
}

// tsSound is a stream of AAC alone, whose clock begins anew in it.
func tsSound(t testing.TB) []byte {
	var sent bytes.Buffer
	track := &mpegts.Track{Codec: &tscodecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{
		Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2,
	}}}
	w := &mpegts.Writer{W: &sent, Tracks: []*mpegts.Track{track}}
	if err := w.Initialize(); err != nil {
		t.Fatal(err)
	}
	const frame = 1024 * mpegtsClockRate / 48000
	for i := range int64(200) {
		pts := (1<<mpegtsClockBits - 100*frame + i*frame) % (1 << mpegtsClockBits)
		if err := w.WriteMPEG4Audio(track, pts, [][]byte{{1, 2, 3, byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	return sent.Bytes()
}

// The clock of 33 bits begins anew after 26 hours; time goes on.
func TestMPEGTSClockWraps(t *testing.T) {
	feed, publishers, wait := tsFeed(t)
	feed.end(feed.read(bytes.NewReader(tsSound(t))))
	wait()
	units := (<-publishers.published).take(t, 1<<20)
	if len(units) != 200 {
		t.Fatalf("%d units", len(units))
	}
	for i, u := range units {
		if want := int64(i) * 1024; u.PTS != want || u.Payload[0][3] != byte(i) {
			t.Fatalf("unit %d: PTS %d, want %d; %v", i, u.PTS, want, u.Payload)
		}
	}
}

// H.265 with reordered pictures and Opus, as ffmpeg writes them.
func TestMPEGTSOfH265(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: make deps")
	}
	sent, err := exec.CommandContext(t.Context(), ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-f", "lavfi", "-i", "sine=r=48000", "-t", "2",
		"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "bframes=2:keyint=25:log-level=none", "-pix_fmt", "yuv420p",
		"-c:a", "libopus", "-ac", "2", "-f", "mpegts", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	feed, publishers, wait := tsFeed(t)
	feed.end(feed.read(bytes.NewReader(sent)))
	wait()
	p := <-publishers.published
	if _, ok := p.tracks[0].Codec.(*codecs.H265); !ok {
		t.Fatalf("video is %T", p.tracks[0].Codec)
	}
	pictures, reordered := 0, false
	for _, u := range p.take(t, 1<<20) {
		if u.Track == 0 {
			pictures++
			reordered = reordered || u.DTS < u.PTS
		}
	}
	if pictures != 50 || !reordered {
		t.Errorf("%d pictures, reordered %v", pictures, reordered)
	}
}

// Who sends no programme is refused, and nothing is kept of it meanwhile.
func TestMPEGTSWithoutProgramme(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, _, _ := tsFeed(t)
		packet := make([]byte, mpegtsPacket)
		packet[0], packet[1], packet[2], packet[3] = mpegtsSync, 0x1f, 0xff, 0x10 // null packets
		began := time.Now()
		if err := feed.read(slowly{packet}); err != errMPEGTSProbe {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > mpegtsProbeTime+time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// slowly is one packet each 10 ms, for ever.
type slowly struct{ packet []byte }

func (s slowly) Read(b []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return copy(b, s.packet), nil
}

// At a high rate the tables are far apart in bytes, and the demuxer gives up
// before it has seen a sound: it is tried again.
func TestMPEGTSProbesAgain(t *testing.T) {
	sound := tsSound(t)
	filler := make([]byte, mpegtsPacket)
	filler[0], filler[1], filler[2], filler[3] = mpegtsSync, 0x1f, 0xff, 0x10
	tables := sound[:2*mpegtsPacket]
	sent := slices.Concat(tables, bytes.Repeat(filler, 2<<20/mpegtsPacket), sound)
	feed, publishers, wait := tsFeed(t)
	feed.end(feed.read(bytes.NewReader(sent)))
	wait()
	if units := (<-publishers.published).take(t, 1<<20); len(units) != 200 {
		t.Errorf("%d units", len(units))
	}
}

// FuzzMPEGTS reads what an admitted encoder may send.
func FuzzMPEGTS(f *testing.F) {
	f.Add(tsSound(f)[:188*40])
	f.Add([]byte{0x47})
	f.Fuzz(func(t *testing.T, data []byte) {
		feed, publishers, wait := tsFeed(t)
		feed.end(feed.read(bytes.NewReader(data)))
		wait()
		select {
		case p := <-publishers.published:
			for range p.units {
			}
		default:
		}
	})
}
