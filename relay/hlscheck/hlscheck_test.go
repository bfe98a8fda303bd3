package hlscheck

import (
	"fmt"
	"strings"
	"testing"
)

// sample is a list of 8 segments of 2 s, the last 3 with parts, and 2 parts of
// an open one.
func sample() string {
	var b strings.Builder
	b.WriteString(`#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-MEDIA-SEQUENCE:100
#EXT-X-DISCONTINUITY-SEQUENCE:4
#EXT-X-DATERANGE:ID="a",START-DATE="2026-03-01T20:00:01.000Z",DURATION=1.0
#EXT-X-MAP:URI="1/init-0.mp4"
`)
	for i := range 9 {
		if i == 3 {
			b.WriteString("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"1/init-1.mp4\"\n")
		}
		fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T20:00:%02d.000Z\n", 2*i)
		for n := range 4 {
			if i >= 5 && i < 8 || i == 8 && n < 2 {
				fmt.Fprintf(&b, "#EXT-X-PART:DURATION=0.5,URI=\"1/%d.%d.m4s\"\n", 100+i, n)
			}
		}
		if i < 8 {
			fmt.Fprintf(&b, "#EXTINF:2.0,\n1/%d.m4s\n", 100+i)
		}
	}
	b.WriteString("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1/108.2.m4s\"\n" +
		"#EXT-X-RENDITION-REPORT:URI=\"../b/live.m3u8\",LAST-MSN=108,LAST-PART=1\n")
	return b.String()
}

func TestCheck(t *testing.T) {
	good := sample()
	if problems := Check(good, good); len(problems) > 0 {
		t.Fatal(problems)
	}
	for want, change := range map[string][2]string{
		"the first line":               {"#EXTM3U", "EXTM3U"},
		"stands 2 times":               {"#EXT-X-VERSION:9", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9"},
		"version 5":                    {"VERSION:9", "VERSION:5"},
		"segment 104 of 2.6s":          {"#EXTINF:2.0,\n1/104", "#EXTINF:2.6,\n1/104"},
		"over or under":                {"0.5,URI=\"1/107.1.m4s\"", "0.51,URI=\"1/107.1.m4s\""},
		"under 85 %":                   {"0.5,URI=\"1/107.1.m4s\"", "0.4,URI=\"1/107.1.m4s\""},
		"without EXT-X-MAP":            {"#EXT-X-MAP:URI=\"1/init-1.mp4\"\n", ""},
		"has no EXT-X-MAP in force":    {"#EXT-X-MAP:URI=\"1/init-0.mp4\"\n", ""},
		"no EXT-X-DISCONTINUITY-SEQ":   {"#EXT-X-DISCONTINUITY-SEQUENCE:4\n", ""},
		"behind its first part":        {"#EXT-X-PART:DURATION=0.5,URI=\"1/107.0.m4s\"\n", "#EXT-X-PART:DURATION=0.5,URI=\"1/107.0.m4s\"\n#EXT-X-PROGRAM-DATE-TIME:2026-03-01T20:00:14.000Z\n"},
		"hints":                        {"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1/108.2.m4s\"\n", ""},
		"want a relative URI":          {"../b/", "http://x/b/"},
		"want LAST-MSN":                {",LAST-PART=1", ""},
		"has no date":                  {"#EXT-X-PROGRAM-DATE-TIME:2026-03-01T20:00:06.000Z\n", ""},
		"want milliseconds and a zone": {"20:00:06.000Z", "20:00:06"},
		"no EXTINF":                    {"#EXTINF:2.0,\n1/103", "1/103"},
		"is a gap, segment 108":        {"1/108.1.m4s\"", "1/108.1.m4s\",GAP=YES"},
		"a hint behind the end":        {"#EXT-X-PRELOAD", "#EXT-X-ENDLIST\n#EXT-X-PRELOAD"},
		"PART-HOLD-BACK under":         {"PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.0"},
		"before the end":               {"20:00:06.000Z", "20:00:02.000Z"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if want == "over or under" {
			want = "part 1/107.1.m4s of 510ms"
		}
		if want == "a hint behind the end" {
			want = "behind the end"
		}
		if got := strings.Join(Check("", bad), "; "); bad == good || !strings.Contains(got, want) {
			t.Errorf("want %q, got %s", want, got)
		}
	}
}

func TestSteps(t *testing.T) {
	good := sample()
	without := func(n int, sequence string) string {
		s := strings.Replace(good, "#EXT-X-MEDIA-SEQUENCE:100", "#EXT-X-MEDIA-SEQUENCE:"+sequence, 1)
		from := strings.Index(s, "#EXT-X-PROGRAM-DATE-TIME")
		to := from
		for range n {
			to += strings.Index(s[to:], ".m4s\n") + 5
		}
		return s[:from] + s[to:]
	}
	for want, next := range map[string]string{
		"MEDIA-SEQUENCE 99 after 100":  without(0, "99"),
		"a removal left 5 segments":    without(3, "103"),
		"segment 104 changed":          strings.Replace(good, "1/104.m4s", "2/104.m4s", 1),
		"segment 103 changed":          strings.Replace(good, "init-1", "init-2", 1),
		"DISCONTINUITY-SEQUENCE 5":     strings.Replace(good, "SEQUENCE:4", "SEQUENCE:5", 1),
		"the constants changed":        strings.Replace(good, "HOLD-BACK=6.0", "HOLD-BACK=7.0", 1),
		"the parts of segment 108":     strings.Replace(good, "#EXT-X-PART:DURATION=0.5,URI=\"1/108.1.m4s\"\n", "", 1),
		"1/108.2.m4s was hinted":       strings.Replace(good, "#EXT-X-PRELOAD", "#EXT-X-PART:DURATION=0.5,URI=\"1/108.9.m4s\"\n#EXT-X-PRELOAD", 1),
		"closed without the hinted":    strings.Replace(good, "#EXT-X-PRELOAD", "#EXTINF:1.0,\n1/108.m4s\n#EXT-X-PRELOAD", 1),
		"DATERANGE \"a\" is gone":      strings.Replace(good, "#EXT-X-DATERANGE:ID=\"a\"", "#EXT-X-DATERANGE:ID=\"b\"", 1),
		"DATERANGE \"a\" is used":      strings.Replace(good, "START-DATE=\"2026-03-01T20:00:01", "START-DATE=\"2026-03-01T20:00:02", 1),
		"the list goes on behind its ": good,
	} {
		prev := good
		if strings.Contains(want, "goes on") {
			prev = good + "#EXT-X-ENDLIST\n"
		}
		if got := strings.Join(Check(prev, next), "; "); !strings.Contains(got, want) {
			t.Errorf("want %q, got %s", want, got)
		}
	}
	if problems := Check(good, without(1, "101")); len(problems) > 0 {
		t.Errorf("a legal removal: %v", problems)
	}
}

func TestSet(t *testing.T) {
	a := sample()
	b := strings.ReplaceAll(a, "../b/", "../a/")
	if problems := CheckSet(map[string]string{"a": a, "b": b}); len(problems) > 0 {
		t.Fatal(problems)
	}
	for want, b := range map[string]string{
		"0 reports":        b[:strings.Index(b, "#EXT-X-RENDITION")],
		"2 parts behind":   strings.Replace(b, "LAST-MSN=108,LAST-PART=1", "LAST-MSN=107,LAST-PART=2", 1),
		"a report of":      a,
		"other constants":  strings.Replace(b, "HOLD-BACK=6.0", "HOLD-BACK=7.0", 1),
		"begins -1s apart": strings.Replace(b, "20:00:06.000Z", "20:00:07.000Z", 1),
		"in one only":      strings.Replace(b, "#EXT-X-DISCONTINUITY\n", "", 1),
		"one has ended":    b + "#EXT-X-ENDLIST\n",
	} {
		if got := strings.Join(CheckSet(map[string]string{"a": a, "b": b}), "; "); !strings.Contains(got, want) {
			t.Errorf("want %q, got %s", want, got)
		}
	}
}
