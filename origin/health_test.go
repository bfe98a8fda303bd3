package origin

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	tscodecs "github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts/codecs"
)

// watched is an ingest whose units are put in by hand, on a clock of its own.
type watched struct {
	in     *ingest
	chosen chosenEssences
	log    bytes.Buffer
	at     time.Time // of the feed's beginning
}

func newWatched(t testing.TB, essences ...essence) *watched {
	t.Helper()
	w := &watched{at: time.Date(2026, 9, 12, 18, 0, 0, 0, time.UTC)}
	chosen, err := chooseEssences(essences, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	w.chosen = chosen
	w.in = newIngest(announcement{tracks: essences}, chosen, func([]Track) (publication, error) {
		return nowhere{}, nil
	}, slog.New(slog.NewTextHandler(&w.log, nil)))
	return w
}

// nowhere is a publication that keeps nothing.
type nowhere struct{}

func (nowhere) Write(Unit) error      { return nil }
func (nowhere) Close()                {}
func (nowhere) Done() <-chan struct{} { return nil }

// raised are the names of the alarms that the log tells of, in order.
func (w *watched) raised() (names []string) {
	for line := range strings.Lines(w.log.String()) {
		if _, rest, ok := strings.Cut(line, "msg=alarm alarm="); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	return names
}

// material is what ffmpeg makes of a source for picture and one for sound.
type material struct {
	picture, sound string
	options        string // of the encoders
	want           []string
	text           string // in the log
	long           bool
}

const (
	ordinaryPicture = "testsrc2=s=480x270:r=25"
	ordinarySound   = "sine=f=440:r=48000"
	ordinaryOptions = "-c:v libx264 -preset ultrafast -tune zerolatency -b:v 2M -maxrate 2M -bufsize 2M -g 25 -sc_threshold 0 -c:a aac -b:a 96k"
	noisyPicture    = "mandelbrot=s=640x360:r=25,noise=alls=6:allf=t"
)

// What ffmpeg makes of each, as MPEG-TS, is judged as it would be on its way in.
func TestAlarmsOfMaterial(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("needs ffmpeg")
	}
	for name, m := range map[string]material{
		"moving": {},
		"black":  {picture: "color=black:s=480x270:r=25", sound: "anullsrc=r=48000:cl=stereo", want: []string{"still_picture", "silent_sound"}, text: "may be black"},
		"bars":   {picture: "smptebars=s=480x270:r=25", want: []string{"still_picture"}, text: "may be colour bars"},
		"frozen": {picture: ordinaryPicture + ",loop=-1:1:0", sound: "anoisesrc=a=0.0005:r=48000", want: []string{"still_picture"}, text: "may be frozen"},
		"open":   {options: "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=25:min-keyint=25:scenecut=0 -c:a aac", want: []string{"open_gop", "long_gop"}, text: "closed GOP"},

		"camera":               {long: true, picture: noisyPicture, sound: "anoisesrc=a=0.01:r=48000", options: "-c:v libx264 -preset veryfast -b:v 1M -maxrate 1M -bufsize 1M -g 50 -sc_threshold 0 -c:a aac"},
		"H.265":                {long: true, options: "-c:v libx265 -preset ultrafast -x265-params keyint=30:min-keyint=30:scenecut=0:open-gop=0:bframes=3:log-level=error -c:a libopus"},
		"open H.265":           {long: true, options: "-c:v libx265 -preset ultrafast -x265-params keyint=30:min-keyint=30:scenecut=0:open-gop=1:bframes=3:log-level=error -c:a aac", want: []string{"open_gop"}, text: "closed GOP"},
		"Opus":                 {long: true, sound: "anullsrc=r=48000:cl=stereo", options: "-c:v libx264 -preset ultrafast -g 25 -sc_threshold 0 -c:a libopus", want: []string{"silent_sound"}},
		"long":                 {long: true, options: "-c:v libx264 -preset ultrafast -g 250 -sc_threshold 0 -c:a aac", want: []string{"long_gop"}, text: "set the encoder"},
		"uneven":               {long: true, options: "-c:v libx264 -preset ultrafast -g 250 -sc_threshold 0 -force_key_frames 0,1,1.4,3,4.2,5,7.4,8,9.6,11 -c:a aac", want: []string{"variable_gop"}, text: "key frames come after 0.4 to"},
		"CBR black":            {long: true, picture: "color=black:s=640x360:r=25", options: "-c:v libx264 -preset veryfast -b:v 1M -maxrate 1M -bufsize 1M -x264-params nal-hrd=cbr:filler=1:keyint=50:scenecut=0 -c:a aac", want: []string{"still_picture"}, text: "may be black"},
		"baseline":             {long: true, picture: "smptebars=s=1280x720:r=25", options: "-c:v libx264 -preset ultrafast -profile:v baseline -b:v 3M -g 50 -sc_threshold 0 -c:a aac", want: []string{"still_picture"}, text: "may be colour bars"},
		"encoder's own choice": {long: true, picture: noisyPicture, options: "-c:v libx264 -preset superfast -g 48 -c:a aac"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m.long && os.Getenv("SURGECAST_PROVE") == "" {
				t.Skip("one of the long runs: SURGECAST_PROVE=1")
			}
			w := m.play(t)
			if got := w.raised(); !slices.Equal(got, m.want) || !strings.Contains(w.log.String(), m.text) {
				t.Errorf("alarms %v, want %v:\n%s", got, m.want, w.log.String())
			}
			health, _ := w.in.health.snapshot()
			if health.BitsPerSecond < 1000 || health.FrameRate < 24.7 || health.FrameRate > 25.3 || health.JitterSeconds > 0.05 ||
				health.AVOffsetSeconds == nil || *health.AVOffsetSeconds > 1 || *health.AVOffsetSeconds < -1 {
				t.Errorf("figures %+v", health)
			}
		})
	}
}

// seconds are enough for what is wanted: silence takes the longest.
func (m material) seconds() string {
	if m.long || slices.Contains(m.want, "silent_sound") {
		return "13"
	}
	return "11"
}

// play makes the material and gives it to a feed.
func (m material) play(t *testing.T) *watched {
	t.Helper()
	for value, usual := range map[*string]string{&m.picture: ordinaryPicture, &m.sound: ordinarySound, &m.options: ordinaryOptions} {
		if *value == "" {
			*value = usual
		}
	}
	file := filepath.Join(t.TempDir(), "material.ts")
	arguments := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", m.picture, "-f", "lavfi", "-i", m.sound, "-t", m.seconds()},
		strings.Fields(m.options+" -pix_fmt yuv420p -f mpegts "+file)...)
	if text, err := exec.Command("ffmpeg", arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	w, err := playTS(t, file)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// playTS gives a file to a feed, each unit when it is to be decoded, until the
// feed refuses one.
func playTS(t *testing.T, file string) (*watched, error) {
	t.Helper()
	reader := &mpegts.Reader{R: openFile(t, file)}
	if err := reader.Initialize(); err != nil {
		t.Fatal(err)
	}
	var essences []essence
	for _, track := range reader.Tracks() {
		essences = append(essences, mpegtsEssence(track.Codec))
	}
	if _, err := chooseEssences(essences, 1, false); err != nil {
		return nil, err
	}
	w := newWatched(t, essences...)
	var refused error
	take := func(track int, pts, dts int64, payload [][]byte) error {
		u := timedUnit{track: track, pts: ticksToDuration(pts, 90000), dts: ticksToDuration(dts, 90000), dtsKnown: true, payload: payload}
		u.arrival = w.at.Add(u.dts)
		refused = w.in.take(u)
		return refused
	}
	for i, track := range reader.Tracks() {
		picture := func(pts, dts int64, au [][]byte) error { return take(i, pts, dts, au) }
		frames := func(ticks int64) func(pts int64, frames [][]byte) error {
			return func(pts int64, frames [][]byte) error {
				for n, frame := range frames {
					at := pts + int64(n)*ticks
					if err := take(i, at, at, [][]byte{frame}); err != nil {
						return err
					}
				}
				return nil
			}
		}
		switch track.Codec.(type) {
		case *tscodecs.H264:
			reader.OnDataH264(track, picture)
		case *tscodecs.H265:
			reader.OnDataH265(track, picture)
		case *tscodecs.MPEG4Audio:
			reader.OnDataMPEG4Audio(track, frames(1920))
		case *tscodecs.Opus:
			reader.OnDataOpus(track, frames(1800))
		}
	}
	for reader.Read() == nil {
	}
	return w, refused
}

func openFile(t testing.TB, name string) *os.File {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}
