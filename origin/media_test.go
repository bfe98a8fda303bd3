package origin

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// sample is an access unit of a test file.
type sample struct {
	track    int
	dts, pts int64
	random   bool
	payload  [][]byte
}

// testFile reads a file of H.264 and AAC, in the order of sending.
func testFile(t testing.TB, path string) (tracks []Track, samples []sample) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	perTrack := make([][]sample, len(p.Tracks))
	for i, track := range p.Tracks {
		tracks = append(tracks, Track{Codec: track.Codec, ClockRate: int(track.TimeScale)})
		// The file's edit lists let both tracks begin before zero: video by two
		// pictures for the B-frames, audio by one frame of priming. pmp4 drops
		// edit lists like these.
		dts := int64(-1024)
		if track.Codec.IsVideo() {
			tracks[i].ClockRate = videoClockRate
		}
		ticks := func(t int64) int64 { return t * int64(tracks[i].ClockRate) / int64(track.TimeScale) }
		for _, s := range track.Samples {
			payload, err := s.GetPayload()
			if err != nil {
				t.Fatal(err)
			}
			one := sample{track: i, dts: ticks(dts), pts: ticks(dts + int64(s.PTSOffset)), random: !s.IsNonSyncSample, payload: [][]byte{payload}}
			if track.Codec.IsVideo() {
				var avcc h264.AVCC
				if err := avcc.Unmarshal(payload); err != nil {
					t.Fatal(err)
				}
				one.payload = avcc
			}
			perTrack[i] = append(perTrack[i], one)
			dts += int64(s.Duration)
		}
	}
	for len(perTrack[0])+len(perTrack[1]) > 0 {
		next := 0
		if len(perTrack[0]) == 0 || len(perTrack[1]) > 0 && perTrack[1][0].dts*videoClockRate < perTrack[0][0].dts*int64(tracks[1].ClockRate) {
			next = 1
		}
		samples = append(samples, perTrack[next][0])
		perTrack[next] = perTrack[next][1:]
	}
	return tracks, samples
}

// encoder turns samples into RTP packets, with an own random-looking beginning
// of the timestamps for each track.
type encoder struct {
	medias     []*description.Media
	clockRates []int64
	first      []uint32
	encode     []func([][]byte) ([]*rtp.Packet, error)
}

func newEncoder(t testing.TB, tracks []Track) *encoder {
	t.Helper()
	e := &encoder{first: []uint32{0xffffff00, 0xfffffff0}} // they wrap soon
	for _, track := range tracks {
		e.clockRates = append(e.clockRates, int64(track.ClockRate))
		switch c := track.Codec.(type) {
		case *codecs.H264:
			f := &format.H264{PayloadTyp: 96, SPS: c.SPS, PPS: c.PPS, PacketizationMode: 1}
			encoder, err := f.CreateEncoder()
			if err != nil {
				t.Fatal(err)
			}
			e.medias = append(e.medias, &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{f}})
			e.encode = append(e.encode, encoder.Encode)
		case *codecs.MPEG4Audio:
			f := &format.MPEG4Audio{PayloadTyp: 97, Config: &c.Config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
			encoder, err := f.CreateEncoder()
			if err != nil {
				t.Fatal(err)
			}
			e.medias = append(e.medias, &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{f}})
			e.encode = append(e.encode, encoder.Encode)
		}
	}
	return e
}

func (e *encoder) packets(t testing.TB, s sample) []*rtp.Packet {
	t.Helper()
	packets, err := e.encode[s.track](s.payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		p.Timestamp = e.first[s.track] + uint32(s.pts)
	}
	return packets
}

// report is a sender report that says: the track's time pts was at wall.
func (e *encoder) report(track int, ssrc uint32, pts int64, wall time.Time) *rtcp.SenderReport {
	return &rtcp.SenderReport{SSRC: ssrc, NTPTime: ntpTimestamp(wall), RTPTime: e.first[track] + uint32(pts)}
}

// ntpTimestamp is the reverse of ntpTime.
func ntpTimestamp(wall time.Time) uint64 {
	seconds := uint64(wall.Unix() + ntpSecondsAt1970)
	return seconds<<32 | uint64(wall.Nanosecond())<<32/uint64(time.Second)
}
