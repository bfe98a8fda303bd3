package origin

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/substructs"
)

// programmeOf writes pictures of these sizes, with an Opus packet behind each.
func programmeOf(t testing.TB, sizes ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	picture, sound := &mpegts.Track{Codec: &tscodecs.H264{}}, &mpegts.Track{Codec: &tscodecs.Opus{Desc: opusStereo}}
	w := &mpegts.Writer{W: &b, Tracks: []*mpegts.Track{picture, sound}}
	if err := w.Initialize(); err != nil {
		t.Fatal(err)
	}
	for i, size := range sizes {
		nalu := bytes.Repeat([]byte{0x65, byte(i + 1)}, size/2)
		at := int64(i) * 3600
		if err := w.WriteH264(picture, at+7200, at, [][]byte{nalu}); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteOpus(sound, at, [][]byte{{0xfc, byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

var opusStereo = &substructs.OpusAudioDescriptor{ChannelConfigCode: 2}

// unitsOf reads a programme and returns what is in it, as text.
func unitsOf(t testing.TB, reader *mpegts.Reader) (units []string) {
	t.Helper()
	for i, track := range reader.Tracks() {
		switch track.Codec.(type) {
		case *tscodecs.H264:
			reader.OnDataH264(track, func(pts, dts int64, au [][]byte) error {
				units = append(units, fmt.Sprintf("%d %d %d %d %x", i, pts, dts, len(au), hashUnit(nil, au)))
				return nil
			})
		case *tscodecs.Opus:
			reader.OnDataOpus(track, func(pts int64, packets [][]byte) error {
				units = append(units, fmt.Sprintf("%d %d %x", i, pts, packets))
				return nil
			})
		}
	}
	reader.OnDecodeError(func(err error) { units = append(units, err.Error()) })
	for reader.Read() == nil {
	}
	return units
}

// What is read is the same, to the byte and in the same order, with pictures of
// all lengths that a packet's rest can have, and with packets that are sent
// twice or lost.
func TestSplitPicturesAreWhole(t *testing.T) {
	var sizes []int
	for size := range 190 {
		sizes = append(sizes, 66_000+size, 200+size)
	}
	whole := programmeOf(t, sizes...)
	lossy := bytes.Clone(whole)
	for i := len(lossy)/mpegtsPacket - 1; i > 40; i-- {
		at := i * mpegtsPacket
		if i%997 == 0 {
			lossy = append(lossy[:at], lossy[at+mpegtsPacket:]...)
		}
	}
	for name, programme := range map[string][]byte{"whole": whole, "lossy": lossy} {
		plain := &mpegts.Reader{R: bytes.NewReader(programme)}
		if err := plain.Initialize(); err != nil {
			t.Fatal(err)
		}
		split, err := probeMPEGTS(bytes.NewReader(programme))
		if err != nil {
			t.Fatal(err)
		}
		want, got := unitsOf(t, plain), unitsOf(t, split)
		if len(want) < len(sizes) || len(got) != len(want) {
			t.Fatalf("%s: %d units, want %d", name, len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s: unit %d: %.80s, want %.80s", name, i, got[i], want[i])
			}
		}
	}
}

// A start that is sent twice is passed on once, and counters count on.
func TestSplitCounts(t *testing.T) {
	programme, counters := programmeOf(t, 70_000, 70_000, 70_000), map[int]byte{}
	var twice []byte
	for at := 0; at < len(programme); at += mpegtsPacket {
		p := programme[at : at+mpegtsPacket]
		twice = append(twice, p...)
		if p[1]&0x40 != 0 && p[1]&0x1f == 1 { // a track's
			twice = append(twice, p...)
		}
	}
	out, err := io.ReadAll(&mpegtsSplit{from: bytes.NewReader(twice)})
	if err != nil {
		t.Fatal(err)
	}
	halves := 0
	for at := 0; at < len(out); at += mpegtsPacket {
		p := out[at : at+mpegtsPacket]
		pid := int(p[1]&0x1f)<<8 | int(p[2])
		before, known := counters[pid]
		counters[pid] = p[3] & 0x0f
		if step := (p[3] - before) & 0x0f; known && step != 1 && step != 0 {
			t.Errorf("packet %d of PID %d: the counter goes on by %d", at/mpegtsPacket, pid, step)
		}
		if p[1]&0x40 != 0 && p[3]&0x20 != 0 && int(p[4]) == mpegtsPacket-6 {
			halves++
		}
	}
	if halves != 3 {
		t.Errorf("%d pictures are split", halves)
	}
}

// The time that reading takes grows with the size of a picture, not with its
// square.
func TestLargePicturesAreReadQuickly(t *testing.T) {
	programme := programmeOf(t, 1_000_000, 1_000_000, 1_000_000)
	plain := &mpegts.Reader{R: bytes.NewReader(programme)}
	if err := plain.Initialize(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	unitsOf(t, plain)
	slow := time.Since(began)
	split, err := probeMPEGTS(bytes.NewReader(programme))
	if err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	unitsOf(t, split)
	if quick := time.Since(began); quick > slow/3 {
		t.Errorf("three pictures of 1 MB take %v, as the library reads them %v", quick, slow)
	}
}
