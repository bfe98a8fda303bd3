package origin

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What encoders send that are not set as they should be is played where a browser
// can, with a word before it is on air; else it is refused, with what to set.
func TestOddEncoders(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("needs ffmpeg")
	}
	const x264, aac = " -c:v libx264 -preset veryfast ", " -c:a aac -b:a 64k "
	for name, c := range map[string]struct {
		options string
		refused string // "" if it is played
		alarm   string // in the log
		note    string
	}{
		"GOPs of 10 s, B-frames": {options: x264 + "-g 250 -bf 3 -sc_threshold 0" + aac, alarm: "alarm=long_gop"},
		"open GOPs, B-frames":    {options: x264 + "-x264-params open-gop=1:keyint=25:scenecut=0" + aac, alarm: "alarm=open_gop"},
		"no sound":               {options: x264 + "-g 25 -an"},
		"sound alone":            {options: "-vn" + aac},
		"H.265":                  {options: "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25" + aac, note: "set the encoder to H.264 to reach everyone"},
		"4:2:2, 10 bits":         {options: x264 + "-pix_fmt yuv422p10le" + aac, refused: "set the encoder's pixel format to 4:2:0 8 bit"},
		"10 bits":                {options: x264 + "-pix_fmt yuv420p10le" + aac, refused: "set the encoder's pixel format to 4:2:0 8 bit"},
		"H.265 4:2:2":            {options: "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv422p" + aac, refused: "set the encoder to profile Main"},
		"MPEG-2 video":           {options: "-c:v mpeg2video" + aac, refused: "set the encoder to H.264"},
		"MP2 sound":              {options: x264 + "-c:a mp2", refused: "set the encoder to H.264 (or H.265, AV1) and AAC-LC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "odd.ts")
			options := c.options
			if !strings.Contains(options, "pix_fmt") {
				options += " -pix_fmt yuv420p"
			}
			arguments := append(strings.Fields("-hide_banner -loglevel error -nostdin -f lavfi -i testsrc2=s=160x90:r=25 -f lavfi -i sine=r=48000 -t 6"),
				strings.Fields(options+" -f mpegts "+file)...)
			if text, err := exec.Command("ffmpeg", arguments...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			w, err := playTS(t, file)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("refused with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if w.in.units.Load() < 100 || !strings.Contains(w.log.String(), c.alarm) || !strings.Contains(strings.Join(w.chosen.notes(), "\n"), c.note) {
				t.Errorf("%d units, notes %q, log:\n%s", w.in.units.Load(), w.chosen.notes(), w.log.String())
			}
		})
	}
}
