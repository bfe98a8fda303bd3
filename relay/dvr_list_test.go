package relay

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func closedSegment(epoch Epoch, msn uint64, date time.Time, discontinuity bool) Segment {
	return Segment{
		Name: MediaName{Kind: SegmentMedia, Epoch: epoch, Number: msn}, Map: MediaName{Kind: Init, Epoch: epoch},
		Duration: time.Second, ProgramDateTime: date, Discontinuity: discontinuity,
	}
}

// What is missing between two segments becomes gaps that keep all numbers and
// the time; where that can't be, the list begins anew.
func TestHoles(t *testing.T) {
	for _, test := range []struct {
		name          string
		msn           uint64
		later         time.Duration // after the end of segment 100
		discontinuity bool
		number        uint64 // discontinuity sequence number; that of 100 is 3
		want          int    // segments appended
	}{
		{"next", 101, 0, false, 3, 1},
		{"next, of another run", 101, 0, true, 4, 1},
		{"ten later", 111, 10 * time.Second, true, 4, 11},
		{"clocks went back", 111, -time.Hour, true, 4, 11},
		{"two runs were lost", 111, 10 * time.Second, true, 6, 11},
		{"a discontinuity that can't be told", 101, 0, true, 6, 1},
		{"discontinuities went back", 111, 0, true, 2, 1},
		{"numbers went back", 90, 0, true, 4, 1},
		{"longer ago than the list", 111, time.Hour, true, 4, 1},
		{"more than a list holds", 1 << 40, time.Second, true, 4, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := longBuilder{length: time.Hour, longHeader: longHeader{target: 2 * time.Second}}
			b.add(closedSegment(10, 100, birth, false), 3)
			got := b.add(closedSegment(11, test.msn, birth.Add(time.Second+test.later), test.discontinuity), test.number)
			if got != test.want || b.next() != test.msn+1 {
				t.Errorf("%d segments were appended, want %d; next is %d", got, test.want, b.next())
			}
			l, err := parseLongList(b.version().text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, b.version().text)
			}
			number := l.discontinuity + uint64(bytes.Count(l.text, []byte("#EXT-X-DISCONTINUITY\n")))
			if number != test.number {
				t.Errorf("the last segment's discontinuity sequence number is %d, want %d", number, test.number)
			}
		})
	}
}

// Sound in a rendition of its own can be looked back on as well.
func TestTheLongIndexNamesLongListsAlone(t *testing.T) {
	index, err := os.ReadFile("testdata/sounds.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	text := string(longIndexText(index))
	if n := strings.Count(text, "/dvr.m3u8"); n < 2 || strings.Contains(text, "live.m3u8") {
		t.Errorf("%d long lists in\n%s", n, text)
	}
}

func TestSlideKeepsNumbers(t *testing.T) {
	b := longBuilder{length: 10 * time.Second, longHeader: longHeader{target: 2 * time.Second}}
	number := uint64(0)
	for i := range 100 {
		cut := i%7 == 6
		if cut {
			number++
		}
		b.add(closedSegment(10, uint64(100+i), birth.Add(time.Duration(i)*time.Second), cut), number)
		b.slide(0)
		if b.next() != uint64(101+i) || b.total > 10*time.Second {
			t.Fatalf("%d: next is %d, %v long", i, b.next(), b.total)
		}
		tags := uint64(0)
		for _, s := range b.segments {
			if s.Discontinuity {
				tags++
			}
		}
		if b.discontinuity+tags != number {
			t.Fatalf("%d: discontinuity sequence %d and %d tags, want %d", i, b.discontinuity, tags, number)
		}
	}
}

func TestALongListThatStepsBackIsRefused(t *testing.T) {
	make := func(epoch Epoch, from, to uint64) *longList {
		b := longBuilder{length: time.Hour, longHeader: longHeader{target: 2 * time.Second}}
		for n := from; n < to; n++ {
			b.add(closedSegment(epoch, n, birth.Add(time.Duration(n)*time.Second), false), 0)
		}
		return b.version()
	}
	before := make(10, 100, 120)
	for name, test := range map[string]struct {
		list *longList
		want error
	}{
		"newer":           {make(10, 105, 130), nil},
		"the same":        {make(10, 100, 120), nil},
		"begins earlier":  {make(10, 90, 130), ErrStepBack},
		"ends earlier":    {make(10, 110, 119), ErrStepBack},
		"other names":     {make(11, 105, 130), ErrStepBack},
		"a foreign epoch": {make(12, 130, 140), ErrPlaylist},
	} {
		if err := test.list.follows(before, DefaultConstants(), 11); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadLongLists(t *testing.T) {
	good, err := os.ReadFile("testdata/dvr.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	if l, err := parseLongList(good); err != nil || len(l.runs) != 1 || len(l.maps) != 1 {
		t.Fatal(l, err)
	}
	for name, text := range map[string]string{
		"HTML":               "<html></html>\n",
		"empty":              "",
		"half":               string(good[:len(good)/2+3]),
		"a path":             strings.Replace(string(good), "0000000a/1003.m4s", "../../etc/passwd", 1),
		"a part":             strings.Replace(string(good), "#EXTINF", "#EXT-X-PART:DURATION=1\n#EXTINF", 1),
		"a delta":            strings.Replace(string(good), "#EXTINF", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF", 1),
		"a number left out":  strings.Replace(string(good), "0000000a/1003.m4s", "0000000a/1004.m4s", 1),
		"too long a segment": strings.Replace(string(good), "#EXTINF:1.0", "#EXTINF:9.0", 1),
		"no MAP":             strings.Replace(string(good), "#EXT-X-MAP", "#EXT-X-MAB", 1),
		"two sequences":      strings.Replace(string(good), "#EXT-X-DISC", "#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISC", 1),
		"more after the end": strings.Replace(string(good), "#EXTINF", "#EXT-X-ENDLIST\n#EXTINF", 1),
	} {
		if _, err := parseLongList([]byte(text)); !errors.Is(err, ErrPlaylist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzLongList holds that whatever is taken names only what can be asked for,
// each once, and that the builder writes it again as the same list.
func FuzzLongList(f *testing.F) {
	for _, name := range []string{"dvr.m3u8", "dvr-restart.m3u8"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-GAP\n#EXTINF:0,\n00000000/9.m4s\n#EXT-X-ENDLIST\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLongList(text)
		if err != nil {
			return
		}
		end := l.sequence
		for _, run := range l.runs {
			if run.from < end || run.to <= run.from {
				t.Fatalf("runs overlap: %+v", l.runs)
			}
			end = run.to
			run.at(run.to - 1)
		}
		var segments []Segment
		header, err := scanLongList(text, func(s *Segment) { segments = append(segments, *s) })
		if err != nil {
			t.Fatal(err)
		}
		b := longBuilder{longHeader: header, length: time.Hour}
		b.resume(header, segments)
		again, err := parseLongList(b.version().text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.version().text)
		}
		if len(again.runs) != len(l.runs) || again.longHeader != l.longHeader {
			t.Fatalf("%+v became %+v", l, again)
		}
	})
}
