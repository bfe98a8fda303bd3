package origin

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDescriptions(t *testing.T) {
	h264 := &codecs.H264{ // of x264, 1920 × 1080, 25 frames a second
		SPS: unhex(t, "67640028acd940780227e5c04400000fa40002ee023c60c658"),
		PPS: []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0},
	}
	h265 := &codecs.H265{ // of x265, 1920 × 1080, Main
		VPS: []byte{0x40, 0x01, 0x0c},
		SPS: unhex(t, "420101016000000300900000030000030078a003c08010e596566924caf01010000003001000000301e080"),
		PPS: unhex(t, "4401c172b46240"),
	}
	for want, codec := range map[string]codecs.Codec{
		"avc1.640028":      h264,
		"hvc1.1.6.L120.90": h265,
		"mp4a.40.2":        &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{Type: 2}},
		"mp4a.40.5":        &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{Type: 2, ExtensionType: 5}},
		"opus":             &codecs.Opus{ChannelCount: 2},
	} {
		got, err := describe(codec)
		if err != nil || got.codec != want {
			t.Errorf("%s: got %+v, %v", want, got, err)
		}
		if codec.IsVideo() && (got.width != 1920 || got.height != 1080) {
			t.Errorf("%s: %d × %d", want, got.width, got.height)
		}
	}
	for _, codec := range []codecs.Codec{
		&codecs.H264{},
		&codecs.H264{SPS: h264.SPS},
		&codecs.H264{SPS: []byte{0x67}, PPS: h264.PPS},
		&codecs.H265{SPS: h265.SPS},
		&codecs.H265{SPS: []byte{0x42}, PPS: h265.PPS, VPS: h265.VPS},
	} {
		if _, err := describe(codec); err == nil {
			t.Errorf("%+v: no error", codec)
		}
	}
}

func TestRatesRiseInSteps(t *testing.T) {
	var m meter
	if !m.add(250_000, 2*time.Second) || m.bandwidth != 1_200_000 || m.average != 1_000_000 {
		t.Errorf("1 Mbit/s: %d, %d", m.bandwidth, m.average)
	}
	if m.add(260_000, 2*time.Second) && m.bandwidth != 1_200_000 {
		t.Errorf("within the headroom: %d", m.bandwidth)
	}
	if m.add(100_000, 100*time.Millisecond) && m.bandwidth != 1_200_000 {
		t.Errorf("a short segment counts: %d", m.bandwidth)
	}
	if !m.add(500_000, 2*time.Second) || m.bandwidth != 2_400_000 {
		t.Errorf("2 Mbit/s: %d", m.bandwidth)
	}
	changes := 0
	for range 1000 {
		if m.add(10_000, 2*time.Second) {
			changes++
		}
	}
	if changes != 0 || m.bandwidth != 2_400_000 {
		t.Errorf("falling rates: %d changes, %d", changes, m.bandwidth)
	}
}

func TestFrameRateIsMeasuredWhereItIsNotTold(t *testing.T) {
	v := newVariant("main", []trackDescription{{codec: "avc1.640028", width: 640, height: 360}, {codec: "opus"}}, &meter{}, 29.97003)
	if v.FrameRate != 29.97 || v.Width != 640 || len(v.Codecs) != 2 {
		t.Errorf("%+v", v)
	}
}

func TestDamagedParametersAreIgnored(t *testing.T) {
	codec := &codecs.H264{SPS: unhex(t, "67640028acd940780227e5c04400000fa40002ee023c60c658"), PPS: []byte{0x68, 1}}
	p := packager{lead: videoID, tracks: map[int]Track{videoID: {Codec: codec, ClockRate: 90000}}}
	if got, changed := p.parameters(Unit{Payload: [][]byte{{0x67, 0x64}, {0x65}}}); changed || got != codec {
		t.Errorf("a damaged SPS was taken: %v", got)
	}
	if _, changed := p.parameters(Unit{Payload: [][]byte{{0x68, 2}, {0x65}}}); !changed {
		t.Error("a new PPS was not taken")
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte{0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78}, []byte{0x68})
	f.Add([]byte{0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x78}, []byte{0x44})
	f.Fuzz(func(_ *testing.T, sps, pps []byte) {
		_, _ = describe(&codecs.H264{SPS: sps, PPS: pps})
		_, _ = describe(&codecs.H265{VPS: pps, SPS: sps, PPS: pps})
	})
}
