package relay

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/grafov/m3u8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// sample is a list with all that a list can have.
func sample() *Playlist {
	w := NewWindow(DefaultConstants())
	f := newFeed(nil, w)
	for range 17*feedParts + 2 {
		f.render()
	}
	f.list.Segments[3].Discontinuity = true
	for i := 3; i < len(f.list.Segments); i++ {
		f.list.Segments[i].Map.Number = 1
	}
	f.list.Open.Map.Number = 1
	f.list.Segments[5].Gap = true
	f.list.Segments[6].Duration = 1000999 * time.Microsecond
	f.list.DiscontinuitySequence = 2
	for i, d := range []time.Duration{1500 * time.Millisecond, -1} {
		r, err := NewDateRange([]string{"act 1", "act 2"}[i], birth.Add(time.Duration(i)*10*time.Second), d, `CLASS="org.example.act"`)
		if err != nil {
			panic(err)
		}
		f.list.DateRanges = append(f.list.DateRanges, r)
	}
	f.list.Reports = []RenditionReport{{URI: "../audio-0/live.m3u8", LastMSN: 1017, LastPart: 1}, {URI: "../audio-1/live.m3u8", LastMSN: 1016, LastPart: 4}}
	return &f.list
}

func TestPlaylistText(t *testing.T) {
	p := sample()
	text := p.AppendText(nil)
	golden(t, "full.m3u8", text)
	back, err := ParsePlaylist(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, p) {
		t.Errorf("read back as\n%+v\nwant\n%+v", back, p)
	}
	v, err := newVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "delta.m3u8", v.delta().text)
}

// A delta keeps a date range that stands among the segments it skips.
func TestDeltaKeepsDateRanges(t *testing.T) {
	text := string(sample().AppendText(nil))
	line := "#EXT-X-DATERANGE:ID=\"between\",START-DATE=\"2026-03-01T20:00:01.000Z\"\n"
	text = strings.Replace(text, "0000000a/1001.m4s\n", "0000000a/1001.m4s\n"+line, 1)
	v, err := newVersion([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	delta := string(v.delta().text)
	if !strings.Contains(delta, line) || strings.Count(delta, "#EXT-X-DATERANGE") != 3 || strings.Contains(delta, "1001.m4s") {
		t.Error(delta)
	}
}

func TestDateRanges(t *testing.T) {
	r, err := NewDateRange("act 1", birth, 90*time.Second, `X-ACT=1,X-TITLE="one, two"`)
	if err != nil || !r.End.Equal(birth.Add(90*time.Second)) ||
		r.Attributes != `ID="act 1",START-DATE="2026-03-01T20:00:00.000Z",DURATION=90.0,X-ACT=1,X-TITLE="one, two"` {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := NewDateRange("open", birth, -1, ""); err != nil || !r.End.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range [][2]string{{"", ""}, {"a\"b", ""}, {"a\nb", ""}, {"a", "X=\"1"}, {"a", "X=1\n#EXT-X-ENDLIST"}, {"a", "nonsense"}} {
		if _, err := NewDateRange(bad[0], birth, 0, bad[1]); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if d, err := parseDateRange(`ID="a",END-DATE="2026-03-01T20:00:00Z"`); err != nil || !d.End.Equal(birth) || !d.Start.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestReport(t *testing.T) {
	p := sample()
	if r, ok := p.Report("main"); !ok || r != (RenditionReport{"../main/live.m3u8", 1017, 1}) {
		t.Errorf("%+v, %v", r, ok)
	}
	p.Open.Parts = nil
	if r, ok := p.Report("main"); !ok || r != (RenditionReport{"../main/live.m3u8", 1016, 4}) {
		t.Errorf("at the start of a segment: %+v, %v", r, ok)
	}
	if _, ok := (&Playlist{}).Report("main"); ok {
		t.Error("a report of an empty list")
	}
}

func TestEndedPlaylistHasNoHint(t *testing.T) {
	p := sample()
	p.Ended = true
	if text := string(p.AppendText(nil)); strings.Contains(text, "HINT") || strings.Contains(text, "REPORT") || !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") {
		t.Error(text[len(text)-200:])
	}
}

// A reader that is not ours agrees on what both know.
func TestPlaylistReadByAnotherLibrary(t *testing.T) {
	p := sample()
	list, kind, err := m3u8.DecodeFrom(strings.NewReader(string(p.AppendText(nil))), true)
	if err != nil || kind != m3u8.MEDIA {
		t.Fatal(kind, err)
	}
	m := list.(*m3u8.MediaPlaylist)
	if m.SeqNo != p.MediaSequence || m.TargetDuration != 2 || int(m.Count()) != len(p.Segments) {
		t.Errorf("sequence %d, target %v, %d segments", m.SeqNo, m.TargetDuration, m.Count())
	}
	for i := range p.Segments {
		s := m.Segments[i]
		if s.URI != p.Segments[i].Name.String() || !s.ProgramDateTime.Equal(p.Segments[i].ProgramDateTime) ||
			s.Discontinuity != p.Segments[i].Discontinuity || s.Duration != p.Segments[i].Duration.Seconds() {
			t.Errorf("segment %d: %+v", i, s)
		}
	}
}

func TestBadPlaylists(t *testing.T) {
	good := string(sample().AppendText(nil))
	for name, text := range map[string]string{
		"empty":               "",
		"HTML":                "<html>502</html>",
		"a second header":     strings.Replace(good, "#EXT-X-PART-INF", "#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF", 1),
		"a long part":         strings.Replace(good, "PART:DURATION=0.2,", "PART:DURATION=0.3,", 1),
		"a long segment":      strings.Replace(good, "#EXTINF:1.0,", "#EXTINF:2.5,", 1),
		"a missing segment":   strings.Replace(good, "#EXTINF:1.0,\n0000000a/1004.m4s\n", "", 1),
		"a wrong number":      strings.Replace(good, "a/1004.m4s", "a/1005.m4s", 1),
		"an absolute URI":     strings.Replace(good, "0000000a/1004.m4s", "http://elsewhere/1004.m4s", 1),
		"no target duration":  strings.Replace(good, "#EXT-X-TARGETDURATION:2\n", "", 1),
		"no media sequence":   strings.Replace(good, "#EXT-X-MEDIA-SEQUENCE:1000\n", "", 1),
		"a hint out of place": strings.Replace(good, "HINT:TYPE=PART,URI=\"0000000a/1017.2", "HINT:TYPE=PART,URI=\"0000000a/1017.3", 1),
		"a delta":             strings.Replace(good, "#EXT-X-MAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXT-X-MAP", 1),
		"NaN":                 strings.Replace(good, "#EXTINF:1.0,", "#EXTINF:NaN,", 1),
		"an open quote":       strings.Replace(good, "init-0.mp4\"", "init-0.mp4", 1),
		"a map of media":      strings.Replace(good, "init-0.mp4", "1.m4s", 1),
		"a header too late":   good + "#EXT-X-MEDIA-SEQUENCE:5\n",
		"a range without id":  strings.Replace(good, `ID="act 1",`, "", 1),
		"a bad range date":    strings.Replace(good, `START-DATE="2026-`, `START-DATE="26-`, 1),
		"a bad report":        strings.Replace(good, "LAST-MSN=1017", "LAST-MSN=x", 1),
		"a bad date":          strings.Replace(good, "DATE-TIME:2026-", "DATE-TIME:26-", 1),
		"text after the end":  good + "#EXT-X-ENDLIST\n#EXT-X-GAP\n",
		"too long":            good + strings.Repeat("#\n", maxPlaylistBytes/2),
	} {
		if text == good {
			t.Fatalf("%s: the sample was not changed", name)
		}
		if _, err := ParsePlaylist([]byte(text)); !errors.Is(err, ErrPlaylist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown := strings.Replace(good, "#EXT-X-PART-INF", "#EXT-X-OF-NEXT-YEAR:A=1\n#EXT-X-PART-INF", 1)
	if _, err := ParsePlaylist([]byte(strings.ReplaceAll(unknown, "\n", "\r\n"))); err != nil {
		t.Errorf("an unknown tag and CRLF: %v", err)
	}
}

// What is read can be written, and is then read as the same.
func FuzzPlaylist(f *testing.F) {
	f.Add(sample().AppendText(nil))
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := newVersion(text)
		if err != nil {
			return
		}
		_ = v.delta()
		p := v.Playlist
		_ = p.End()
		_ = p.Epoch()
		for msn := p.MediaSequence; msn < p.MediaSequence+3; msn++ {
			_, _ = p.has(msn, 0), p.tooFar(msn, 0)
		}
		if len(p.Open.Parts) == 0 {
			p.Open = Segment{Map: p.Open.Map} // tags without a part are not written
		}
		again, err := ParsePlaylist(p.AppendText(nil))
		if err != nil {
			if p.TargetDuration%time.Second != 0 || p.PartTarget == 0 {
				return
			}
			t.Fatalf("%v in\n%s", err, p.AppendText(nil))
		}
		if len(again.Segments) != len(p.Segments) || again.MediaSequence != p.MediaSequence || again.Hint != p.Hint && !p.Ended {
			t.Fatalf("read back as\n%+v\nwant\n%+v", again, p)
		}
	})
}
