package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// strict holds playlists, by name, to npm's hls-parser in its strict mode and
// returns what it refuses. Without it, the test is skipped with the reason.
func strict(t *testing.T, lists map[string]string) []string {
	t.Helper()
	found, err := filepath.Glob("conformance/node_modules/hls-parser/package.json")
	if err != nil || len(found) == 0 {
		t.Skip("hls-parser is not installed: cmd/surgecast/conformance/install brings it by npm")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: ", err)
	}
	var in, complaint bytes.Buffer
	for name, text := range lists {
		line, err := json.Marshal(map[string]string{"name": name, "text": text})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	check := exec.CommandContext(t.Context(), node, "strict.cjs")
	check.Dir, check.Stdin, check.Stderr = "conformance", &in, &complaint
	out, err := check.Output()
	if err != nil {
		t.Fatalf("hls-parser: %v: %s", err, complaint.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != fmt.Sprintf("read %d", len(lists)) {
		t.Fatalf("hls-parser ends with %q, given %d lists", last, len(lists))
	}
	return lines[:len(lines)-1]
}

// Every snapshot of every seat, full and delta.
func checkStrict(t *testing.T, recordings []*recording) {
	lists := map[string]string{} // by text, which many share
	everySeat(func(_ *testing.T, r *recording, s *seatRecord) {
		for i, v := range s.versions {
			for kind, l := range map[string]*listing{"list": v.full, "delta": v.skip, "delta v2": v.v2} {
				lists[l.text] = fmt.Sprintf("%s, %s, %s %d", r.name, s.seat, kind, i)
			}
		}
	})(t, recordings)
	named := map[string]string{}
	for text, name := range lists {
		named[name] = text
	}
	complaints := strict(t, named)
	for _, complaint := range complaints[:min(len(complaints), 5)] {
		t.Error(complaint)
	}
	t.Logf("hls-parser read %d lists and refused %d", len(named), len(complaints))
}

// hls-parser is no rubber stamp: it refuses what is wrong.
func TestStrictRefuses(t *testing.T) {
	const good = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.675,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
#EXT-X-PART-INF:PART-TARGET=0.225
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="a/init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T20:00:00.000Z
#EXTINF:1.0,
a/7.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-03-01T20:00:01.000Z
#EXT-X-PART:DURATION=0.2,URI="a/8.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI="a/8.1.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="a/8.2.m4s"
`
	bad := map[string]string{}
	for what, change := range map[string][2]string{
		"no EXTM3U":             {"#EXTM3U\n", ""},
		"no target duration":    {"#EXT-X-TARGETDURATION:2\n", ""},
		"a long segment":        {"#EXTINF:1.0,", "#EXTINF:3.0,"},
		"a long part":           {"DURATION=0.2,URI=\"a/8.1", "DURATION=0.3,URI=\"a/8.1"},
		"a short part":          {"DURATION=0.2,URI=\"a/8.0.m4s\",INDEPENDENT=YES", "DURATION=0.1,URI=\"a/8.0.m4s\""},
		"no PART-INF":           {"#EXT-X-PART-INF:PART-TARGET=0.225\n", ""},
		"no hold-back":          {"PART-HOLD-BACK=0.675,", ""},
		"a short skip boundary": {"CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=8.0"},
		"no hint":               {"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a/8.2.m4s\"\n", ""},
		"a version too low":     {"#EXT-X-VERSION:9", "#EXT-X-VERSION:3"},
		"a tag twice":           {"#EXT-X-VERSION:9\n", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n"},
	} {
		bad[what] = strings.Replace(good, change[0], change[1], 1)
	}
	if refused := strict(t, map[string]string{"a good list": good}); len(refused) > 0 {
		t.Error(refused)
	}
	refused := strings.Join(strict(t, bad), "\n")
	for what := range bad {
		if !strings.Contains("\n"+refused, "\n"+what+": ") {
			t.Errorf("%s is not refused", what)
		}
	}
}
