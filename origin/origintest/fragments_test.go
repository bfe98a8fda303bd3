package origintest_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/origin/origintest"
)

// fragment is one audio track's, with four samples of 1024 ticks.
func fragment(t *testing.T, sequence uint32, base uint64) []byte {
	t.Helper()
	part := fmp4.Part{SequenceNumber: sequence, Tracks: []*fmp4.PartTrack{{ID: 2, BaseTime: base}}}
	for range 4 {
		part.Tracks[0].Samples = append(part.Tracks[0].Samples, &fmp4.Sample{Duration: 1024, Payload: []byte("payload")})
	}
	var b seekablebuffer.Buffer
	if err := part.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// following returns a checker that has taken the init segment and a fragment.
func following(t *testing.T) *origintest.Fragments {
	t.Helper()
	init := fmp4.Init{Tracks: []*fmp4.InitTrack{{ID: 2, TimeScale: 48000, Codec: &codecs.MPEG4Audio{
		Config: mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2},
	}}}}
	var b seekablebuffer.Buffer
	if err := init.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	f := &origintest.Fragments{}
	if err := f.Init(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := f.Media(fragment(t, 1, 500)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFragmentsGoOn(t *testing.T) {
	f := following(t)
	both := append(fragment(t, 2, 500+4096), fragment(t, 3, 500+8192)...)
	if err := f.Media(both); err != nil {
		t.Error(err)
	}
	f.Discontinuity()
	if err := f.Media(fragment(t, 4, 48000)); err != nil {
		t.Error("a hole at a discontinuity:", err)
	}
	if span, _ := f.Span(2); span.Start.Seconds() != 1 || len(f.Tracks()) != 1 {
		t.Errorf("covers %v of tracks %v", span, f.Tracks())
	}
}

// put writes a number over the four bytes at an offset from a box's kind.
func put(t *testing.T, media []byte, kind string, offset int, v uint32) []byte {
	t.Helper()
	at := bytes.Index(media, []byte(kind))
	if at < 0 {
		t.Fatalf("no %s", kind)
	}
	binary.BigEndian.PutUint32(media[at+4+offset:], v)
	return media
}

func TestFragmentsFindsFaults(t *testing.T) {
	good := func() []byte { return fragment(t, 2, 500+4096) }
	for fault, media := range map[string][]byte{
		"a hole":                fragment(t, 2, 500+4097),
		"a step back":           fragment(t, 2, 500+4095),
		"a used number":         fragment(t, 1, 500+4096),
		"a cut mdat":            good()[:len(good())-1],
		"bytes too many":        append(good(), 0),
		"a moof alone":          good()[:bytes.Index(good(), []byte("mdat"))-4],
		"an unknown track":      put(t, good(), "tfhd", 4, 7),
		"a sample too many":     put(t, good(), "trun", 4, 5),
		"a sample too few":      put(t, good(), "trun", 4, 3),
		"a wrong offset":        put(t, good(), "trun", 8, 9),
		"no decode time at all": bytes.Replace(good(), []byte("tfdt"), []byte("free"), 1),
	} {
		if err := following(t).Media(media); err == nil {
			t.Errorf("%s is not found", fault)
		}
	}
}
