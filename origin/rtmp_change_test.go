package origin_test

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abema/go-mp4"
	"github.com/bluenviron/gortmplib"
	rtmpcodecs "github.com/bluenviron/gortmplib/pkg/codecs"
	"github.com/bluenviron/gortmplib/pkg/message"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"surgecast/origin/origintest"
)

// An encoder gets another size in the middle of its session, as OBS and hardware
// encoders do on a scene or a setting: the programme goes on with a discontinuity
// and another init segment, and no picture is missing.
func TestRTMPChangesThePicture(t *testing.T) {
	const each = 4 * time.Second
	film := newChangingFilm(t, each)
	for name, change := range map[string]struct {
		header bool          // another sequence header is sent; else the sets come in the picture
		clock  time.Duration // what the encoder's clock jumps by
	}{
		"sequence header":        {true, 0},
		"sets in the picture":    {false, 0},
		"clock begins anew":      {true, -each},
		"clock an hour later on": {false, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRTMPStage(t)
			film.push(t, s, change.header, change.clock)
			awaitNoFeeds(t.Context(), t, s.gate)
			s.look()
			s.checkEach()
			s.checkChange(t)
			out, err := origintest.CodedWindow(t.Context(), s.window)
			if err != nil {
				t.Fatal(err)
			}
			film.check(t, out)
			if index := string(s.store.Stream("theatre").Index()); !strings.Contains(index, "RESOLUTION=320x192") {
				t.Errorf("the multivariant playlist:\n%s", index)
			}
		})
	}
}

// checkChange holds that the size changes at the one discontinuity and nothing
// else does.
func (s *stage) checkChange(t *testing.T) {
	t.Helper()
	changes := 0
	list := s.newest()
	for i, segment := range list.Segments {
		if segment.Gap {
			t.Errorf("segment %d is a gap", i)
		}
		if i == 0 {
			continue
		}
		before := list.Segments[i-1]
		if off := segment.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration)); off.Abs() > 100*time.Millisecond {
			t.Errorf("segment %d is dated %v after the end of the one before", i, off)
		}
		if segment.Discontinuity != (segment.Map != before.Map) {
			t.Errorf("segment %d: discontinuity %v, init segment %v after %v", i, segment.Discontinuity, segment.Map, before.Map)
		}
		if segment.Discontinuity {
			changes++
			if was, is := s.width(t, i-1), s.width(t, i); was != 160 || is != 320 {
				t.Errorf("segment %d: %d wide after %d", i, is, was)
			}
		}
	}
	if changes != 1 {
		t.Errorf("%d discontinuities:\n%s", changes, s.versions[len(s.versions)-1].Text)
	}
}

// width is that of the pictures of the nth segment.
func (s *stage) width(t *testing.T, n int) int {
	t.Helper()
	var init fmp4.Init
	if err := init.Unmarshal(bytes.NewReader(s.objects[s.newest().Segments[n].Map].Body)); err != nil {
		t.Fatal(err)
	}
	var sps h264.SPS
	if err := sps.Unmarshal(init.Tracks[0].Codec.(*codecs.H264).SPS); err != nil {
		t.Fatal(err)
	}
	return sps.Width()
}

// changingFilm is two pieces of pictures, with reordered ones, the second one
// larger, and one of sound.
type changingFilm struct {
	pieces [2]*filmTrack
	sound  *filmTrack
	coded  origintest.Coded
}

func newChangingFilm(t *testing.T, each time.Duration) *changingFilm {
	t.Helper()
	encode := func(what string) *filmTrack {
		one, err := newFilmTrack(t, what, 0)
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	f := &changingFilm{sound: encode("sine=r=48000 -c:a aac -t 8")}
	f.coded.Sounds = f.sound.coded.Sounds
	for i, size := range []string{"160x96", "320x192"} {
		f.pieces[i] = encode("testsrc2=s=" + size + ":r=25 -c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -t 4")
		for _, p := range f.pieces[i].coded.Pictures {
			p.At += time.Duration(i) * each
			f.coded.Pictures = append(f.coded.Pictures, p)
		}
	}
	return f
}

// check holds what came out to be all of the film, bit for bit. Times are those
// of each piece: the second one begins where the longer track of the first ends.
func (f *changingFilm) check(t *testing.T, out origintest.Coded) {
	t.Helper()
	same := func(a, b origintest.CodedUnit) bool { return a.Hash == b.Hash }
	in := f.coded
	if !slices.EqualFunc(in.Pictures, out.Pictures, same) {
		t.Fatalf("%d pictures went in and %d came out, or others", len(in.Pictures), len(out.Pictures))
	}
	half := len(in.Pictures) / 2
	for i, pieces := range [][2][]origintest.CodedUnit{{in.Pictures[:half], out.Pictures[:half]}, {in.Pictures[half:], out.Pictures[half:]}} {
		if _, err := origintest.Compare(origintest.Coded{Pictures: pieces[0]}, origintest.Coded{Pictures: pieces[1]}); err != nil {
			t.Errorf("piece %d: %v", i, err)
		}
	}
	// Sound from before the first picture of a piece is left out, where pictures
	// are reordered by two, and what comes after the last one.
	next, holes := 0, 0
	for i, u := range out.Sounds {
		skipped := slices.IndexFunc(in.Sounds[next:], func(o origintest.CodedUnit) bool { return same(o, u) })
		if skipped < 0 || skipped > 5 {
			t.Fatalf("sound %d: after %d others", i, skipped)
		}
		if skipped > 0 {
			holes++
		}
		next += skipped + 1
		if i == 0 {
			continue
		}
		if between := u.At - out.Sounds[i-1].At; between < 0 || between > 130*time.Millisecond {
			t.Errorf("sound %d begins %v after the one before", i, between)
		}
	}
	if holes > 2 || len(in.Sounds)-next > 30 {
		t.Errorf("of %d sounds %d came out, with %d holes", len(in.Sounds), len(out.Sounds), holes)
	}
	if seam := out.Pictures[half].At - out.Pictures[half-2].At; seam < 0 || seam > 150*time.Millisecond { // in the order of decoding
		t.Errorf("the second piece begins %v after", seam)
	}
}

// push sends the film in real time in one session; clock is by how much the
// second piece is later than it should be, by its times.
func (f *changingFilm) push(t *testing.T, s *rtmpStage, header bool, clock time.Duration) {
	t.Helper()
	small, large := f.pieces[0].Codec.(*codecs.H264), f.pieces[1].Codec.(*codecs.H264)
	picture := &gortmplib.Track{Codec: &rtmpcodecs.H264{SPS: small.SPS, PPS: small.PPS}}
	sound := &gortmplib.Track{Codec: &rtmpcodecs.MPEG4Audio{Config: &f.sound.Codec.(*codecs.MPEG4Audio).Config}}
	client, writer := s.begin(t, picture, sound)
	defer client.Close()
	// Units in the order of their times, each with what sends it.
	type unit struct {
		at   time.Duration
		send func() error
	}
	var units []unit
	var begins time.Duration
	for i, piece := range f.pieces {
		jump := time.Duration(i) * clock
		var dts int64
		for n, sample := range piece.Samples {
			var nalus h264.AVCC
			if err := nalus.Unmarshal(piece.bodies[n]); err != nil {
				t.Fatal(err)
			}
			at := begins + piece.at(dts)
			shown := begins + piece.at(dts+int64(sample.PTSOffset))
			changes := i == 1 && n == 0
			if changes && !header {
				nalus = append(h264.AVCC{large.SPS, large.PPS}, nalus...)
			}
			units = append(units, unit{at, func() error {
				if changes && header {
					if err := client.Write(avcHeader(large, at+jump)); err != nil {
						return err
					}
				}
				return writer.WriteH264(picture, shown+jump, at+jump, nalus)
			}})
			dts += int64(sample.Duration)
		}
		begins += piece.at(dts)
	}
	var dts int64
	for n, sample := range f.sound.Samples {
		at := f.sound.at(dts)
		jump := time.Duration(0)
		if at >= begins/2 {
			jump = clock
		}
		units = append(units, unit{at, func() error { return writer.WriteMPEG4Audio(sound, at+jump, f.sound.bodies[n]) }})
		dts += int64(sample.Duration)
	}
	slices.SortStableFunc(units, func(a, b unit) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	for _, u := range units {
		time.Sleep(time.Until(began.Add(u.at)))
		if err := u.send(); err != nil {
			t.Fatal(err)
		}
		s.look()
	}
	time.Sleep(500 * time.Millisecond)
}

// avcHeader is the sequence header of a codec.
func avcHeader(c *codecs.H264, at time.Duration) message.Message {
	return &message.Video{
		ChunkStreamID: message.VideoChunkStreamID, MessageStreamID: 0x1000000, DTS: at,
		Codec: message.CodecH264, IsKeyFrame: true, Type: message.VideoTypeConfig,
		AVCConfig: &mp4.AVCDecoderConfiguration{
			AnyTypeBox: mp4.AnyTypeBox{Type: mp4.BoxTypeAvcC()}, ConfigurationVersion: 1,
			Profile: c.SPS[1], ProfileCompatibility: c.SPS[2], Level: c.SPS[3],
			Reserved: 0b111111, LengthSizeMinusOne: 3, Reserved2: 0b111,
			NumOfSequenceParameterSets: 1,
			SequenceParameterSets:      []mp4.AVCParameterSet{{Length: uint16(len(c.SPS)), NALUnit: c.SPS}},
			NumOfPictureParameterSets:  1,
			PictureParameterSets:       []mp4.AVCParameterSet{{Length: uint16(len(c.PPS)), NALUnit: c.PPS}},
		},
	}
}
