package origin

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
)

// shapeAll gives pictures of these NAL units to a form and returns those that
// are published.
func shapeAll(t *testing.T, f form, pictures ...[][]byte) (all []shaped) {
	t.Helper()
	for _, payload := range pictures {
		s, err := f.shape(&timedUnit{payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.payload) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func TestParameterSetsFromAnnouncement(t *testing.T) {
	f := newForm(&codecs.H264{SPS: testSPS, PPS: testPPS})
	got := shapeAll(t, f, [][]byte{testIDR}, [][]byte{testP}, [][]byte{testIDR})
	if len(got) != 3 || !got[0].random || got[1].random {
		t.Fatalf("units %+v", got)
	}
	for _, i := range []int{0, 2} {
		if !samePayload(got[i].payload, testSPS, testPPS, testIDR) {
			t.Errorf("key picture %d: %x", i, got[i].payload)
		}
	}
	if !samePayload(got[1].payload, testP) {
		t.Errorf("picture: %x", got[1].payload)
	}
}

// Parameter sets in the stream are remembered, also when they come alone;
// delimiters disappear.
func TestParameterSetsInBand(t *testing.T) {
	f := newForm(&codecs.H264{})
	if f.codec() != nil {
		t.Error("a codec without parameter sets")
	}
	otherPPS := []byte{0x68, 0xee, 0x3c, 0xb0}
	got := shapeAll(t, f,
		[][]byte{testSPS}, [][]byte{testPPS},
		[][]byte{{0x09, 0xf0}, testIDR},
		[][]byte{otherPPS, testIDR},
		[][]byte{testIDR})
	if len(got) != 3 {
		t.Fatalf("units %+v", got)
	}
	for i, pps := range [][]byte{testPPS, otherPPS, otherPPS} {
		if !samePayload(got[i].payload, testSPS, pps, testIDR) {
			t.Errorf("key picture %d: %x", i, got[i].payload)
		}
		if got[i].changed != (i == 1) {
			t.Errorf("key picture %d: changed %v", i, got[i].changed)
		}
	}
	if c, ok := f.codec().(*codecs.H264); !ok || !bytes.Equal(c.PPS, otherPPS) {
		t.Errorf("codec %+v", f.codec())
	}
}

// An encoder that goes over to what no browser plays is disconnected with the
// reason, one with damaged parameter sets is not.
func TestParameterSetsChangeToUnplayable(t *testing.T) {
	b := newBench(t)
	b.report(0, b.now)
	b.report(1, b.now)
	b.second(0)
	b.must(b.in.take(timedUnit{track: 0, pts: b.in.tracks[0].previous, arrival: b.now, payload: [][]byte{{0x67, 0xff}, testIDR}}))
	err := b.in.take(timedUnit{track: 0, pts: b.in.tracks[0].previous, arrival: b.now, payload: [][]byte{testSPS422, testPPS, testIDR}})
	if err == nil || !strings.Contains(err.Error(), "yuv420p") {
		t.Errorf("%v", err)
	}
}

func TestUnitsBeyondBounds(t *testing.T) {
	video, audio := newForm(&codecs.H264{SPS: testSPS, PPS: testPPS}), newForm(&codecs.Opus{ChannelCount: 2})
	for name, c := range map[string]struct {
		form    form
		payload [][]byte
	}{
		"large picture":    {video, [][]byte{make([]byte, maxPictureBytes+1)}},
		"many NAL units":   {video, make([][]byte, maxPictureNALUs+1)},
		"large sound":      {audio, [][]byte{make([]byte, maxAudioFrameBytes+1)}},
		"empty sound":      {audio, [][]byte{{}}},
		"nothing of sound": {audio, nil},
		"two frames":       {audio, [][]byte{{1}, {2}}},
	} {
		if s, err := c.form.shape(&timedUnit{payload: c.payload}); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// Decoding times that a protocol brings are taken, but never go back.
func TestToldDTS(t *testing.T) {
	f := newForm(&codecs.H264{SPS: testSPS, PPS: testPPS})
	for _, c := range []struct {
		pts, dts, want int64
		err            error
	}{
		{0, -7200, -7200, nil},
		{10800, -3600, -3600, nil},
		{3600, -3600, -3599, nil},
		{7200, 9000, 0, errBack},
		{900000, 3600, 0, errReorder},
		{7200, 7200, 7200, nil},
	} {
		got, err := f.dts(shaped{}, unitTimes{pts: c.pts, dts: c.dts, dtsKnown: true})
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("PTS %d, DTS %d: %d, %v", c.pts, c.dts, got, err)
		}
	}
}
