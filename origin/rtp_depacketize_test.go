package origin

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/pion/rtp"
)

func mustDepacketizer(t testing.TB, f format.Format) depacketizer {
	t.Helper()
	d, _, err := newDepacketizer(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// feedPackets returns all units of the packets, and how many errors there were.
func feedPackets(d depacketizer, packets ...*rtp.Packet) (units []rtpUnit, failed int) {
	for _, p := range packets {
		got, err := d.depacketize(p)
		units = append(units, got...)
		if err != nil {
			failed++
		}
	}
	return units, failed
}

func packet(timestamp uint32, marker bool, payload ...byte) *rtp.Packet {
	return &rtp.Packet{Header: rtp.Header{Version: 2, Marker: marker, Timestamp: timestamp}, Payload: payload}
}

var (
	testSPS = []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x3d, 0x08}
	testPPS = []byte{0x68, 0xee, 0x3c, 0x80}
	testIDR = []byte{0x65, 0x88, 0x84, 0x00, 0x33}
	testP   = []byte{0x41, 0x9a, 0x24, 0x6c}
)

func h264Format(sps, pps []byte) *format.H264 {
	return &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: sps, PPS: pps}
}

// Without markers a picture ends where the next timestamp begins.
func TestPicturesWithoutMarker(t *testing.T) {
	d := mustDepacketizer(t, h264Format(testSPS, testPPS))
	units, _ := feedPackets(d,
		packet(1, false, testIDR...), packet(1, false, testIDR...),
		packet(2, false, testP...), packet(3, true, testP...))
	if len(units) != 3 || len(units[0].payload) != 2 || units[0].timestamp != 1 || units[1].timestamp != 2 || units[2].timestamp != 3 {
		t.Fatalf("units %+v", units)
	}
}

// Of a picture with a hole nothing comes out, the next one is whole.
func TestLostPacketDropsPicture(t *testing.T) {
	d := mustDepacketizer(t, h264Format(testSPS, testPPS))
	start, middle, end := []byte{0x7c, 0x85, 1}, []byte{0x7c, 0x05, 2}, []byte{0x7c, 0x45, 3}
	units, _ := feedPackets(d, packet(1, false, start...))
	hole := packet(1, false, middle...)
	d.lost(hole)
	more, failed := feedPackets(d, hole, packet(1, true, end...), packet(2, true, testP...))
	if units = append(units, more...); len(units) != 1 || units[0].timestamp != 2 || !units[0].afterLoss || failed != 2 {
		t.Fatalf("%d failed, units %+v", failed, units)
	}
}

func TestAudioFramesOfOnePacket(t *testing.T) {
	config := &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 1}
	d := mustDepacketizer(t, &format.MPEG4Audio{PayloadTyp: 96, Config: config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3})
	units, _ := feedPackets(d, packet(0xffffff00, true, 0, 32, 0, 2<<3, 0, 1<<3, 0xaa, 0xbb, 0xcc))
	if len(units) != 2 || units[1].timestamp != 0xffffff00+1024-1<<32 ||
		!samePayload(units[0].payload, []byte{0xaa, 0xbb}) || !samePayload(units[1].payload, []byte{0xcc}) {
		t.Fatalf("units %+v", units)
	}
}

func samePayload(got [][]byte, want ...[]byte) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			return false
		}
	}
	return true
}

// FuzzDepacketizer cuts the input into packets (length, marker and timestamp
// step, losses in front) and gives it to one of the formats.
func FuzzDepacketizer(f *testing.F) {
	pack := func(packets ...[]byte) (all []byte) {
		for _, p := range packets {
			all = append(all, 0x80|byte(len(p)>>8&0x0f), byte(len(p)))
			all = append(all, p...)
		}
		return all
	}
	f.Add(byte(0), pack(testSPS, testPPS, testIDR, testP, append([]byte{0x78, 0, byte(len(testSPS))}, testSPS...)))
	f.Add(byte(0), pack([]byte{0x7c, 0x85, 1}, []byte{0x7c, 0x05, 2}, []byte{0x7c, 0x45, 3}, []byte{0, 0, 0, 1, 0x65, 1, 0, 0, 1, 0x41}))
	tracks, samples := testFile(f, "testdata/bframes.mp4")
	e := newEncoder(f, tracks)
	captured := map[int][][]byte{} // what an encoder sends, the first third of a second
	for _, s := range samples[:20] {
		for _, p := range e.packets(f, s) {
			captured[s.track] = append(captured[s.track], p.Payload)
		}
	}
	f.Add(byte(5), pack(captured[0]...))
	f.Add(byte(2), pack(captured[1]...))
	f.Add(byte(1), pack([]byte{0x40, 0x01, 0x0c, 0x01}, []byte{0x26, 0x01, 0xaf, 0x08}, []byte{0x62, 0x01, 0x93, 1}, []byte{0x62, 0x01, 0x53, 2}, []byte{0x60, 0x01, 0, 3, 0x02, 0x01, 0xd0}))
	f.Add(byte(2), pack([]byte{0, 32, 0, 16, 0, 8, 1, 2, 3}, []byte{0, 16, 0, 16, 0xff, 0xf1}))
	f.Add(byte(3), pack([]byte{2, 1, 2}, []byte{0xff, 0xff, 3}))
	f.Add(byte(4), pack([]byte{0xfc, 1, 2}, nil))
	f.Add(byte(6), pack([]byte{0x18, 0x0a, 0x0b}, []byte{0x10, 0x32, 0x10, 1}, []byte{0x50, 0x32, 0x30, 2}, []byte{0x90, 0x32, 3}))
	f.Fuzz(func(t *testing.T, kind byte, input []byte) {
		formats := fuzzFormats()
		d, c, err := newDepacketizer(formats[int(kind)%len(formats)])
		if err != nil {
			t.Fatal(err)
		}
		form := newForm(c)
		var timestamp uint32
		var last int64 = -1 << 62
		for len(input) >= 2 {
			head := binary.BigEndian.Uint16(input)
			size := min(int(head&0x0fff), len(input)-2)
			if head&0x4000 != 0 {
				timestamp += 3600
			}
			p := packet(timestamp, head&0x8000 != 0, input[2:2+size]...)
			if head&0x2000 != 0 {
				d.lost(p)
			}
			input = input[2+size:]
			units, _ := d.depacketize(p)
			for _, u := range units {
				if len(u.payload) == 0 {
					t.Fatal("empty unit")
				}
				s, err := form.shape(&timedUnit{afterLoss: u.afterLoss, payload: u.payload})
				if err != nil || len(s.payload) == 0 {
					continue
				}
				pts := int64(u.timestamp)
				dts, err := form.dts(s, unitTimes{pts: pts})
				if err == nil && (dts > pts || dts <= last) {
					t.Fatalf("DTS %d after %d with PTS %d", dts, last, pts)
				}
				if err == nil {
					last = dts
				}
			}
			_ = checkCodec(form.codec())
		}
	})
}

// GStreamer describes ffmpeg's AAC with more bits than the form has room for.
func TestLATMFromGStreamer(t *testing.T) {
	var mux mpeg4audio.StreamMuxConfig
	if err := mux.Unmarshal([]byte{0x40, 0, 0x23, 0x20, 0xad, 0xca, 0}); err != nil { // a=fmtp:96 cpresent=0;config=40002320adca00
		t.Fatal(err)
	}
	d, codec, err := newDepacketizer(&format.MPEG4AudioLATM{PayloadTyp: 96, StreamMuxConfig: &mux})
	if err != nil {
		t.Fatal(err)
	}
	if c := codec.(*codecs.MPEG4Audio); checkCodec(c) != nil || c.Config.SampleRate != 48000 || c.Config.ChannelConfig != 2 {
		t.Errorf("described as %+v", c)
	}
	frame := bytes.Repeat([]byte{7}, 300)
	units, err := d.depacketize(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: true}, Payload: append([]byte{255, 45}, frame...)})
	if err != nil || len(units) != 1 || !bytes.Equal(units[0].payload[0], frame) {
		t.Errorf("%v, %v", units, err)
	}
}

func fuzzFormats() []format.Format {
	config := &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2}
	return []format.Format{
		h264Format(nil, nil),
		&format.H265{PayloadTyp: 96},
		&format.MPEG4Audio{PayloadTyp: 96, Config: config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3},
		&format.MPEG4AudioLATM{PayloadTyp: 96, StreamMuxConfig: &mpeg4audio.StreamMuxConfig{
			Programs: []*mpeg4audio.StreamMuxConfigProgram{{Layers: []*mpeg4audio.StreamMuxConfigLayer{{AudioSpecificConfig: config, LatmBufferFullness: 255}}}},
		}},
		&format.Opus{PayloadTyp: 96, ChannelCount: 2},
		h264Format(testSPS, testPPS),
		&format.AV1{PayloadTyp: 96},
	}
}
