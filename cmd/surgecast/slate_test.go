package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSlateCommands shows a slate of an operator's own on a real origin by
// commands, and takes it off.
func TestSlateCommands(t *testing.T) {
	e := newEvening(t)
	e.awaitSegments(t, 1)
	run := func(line string) (string, error) {
		var out bytes.Buffer
		parser, err := newParser(&out, &out)
		if err != nil {
			t.Fatal(err)
		}
		command, err := parser.Parse(append(strings.Fields(line), "--dir", e.dir))
		if err != nil {
			return "", err
		}
		bind(t.Context(), command, &out)
		err = command.Run()
		return out.String(), err
	}
	must := func(line, want string) string {
		t.Helper()
		out, err := run(line)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("%s: %q, %v; want %q", line, out, err, want)
		}
		return out
	}
	file := filepath.Join(repository, "origin/slate/hold-360p25-h264.mp4")
	noFile := filepath.Join(t.TempDir(), "slate.mp4")
	if err := os.WriteFile(noFile, []byte("no film"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"slate show cinema":                   `this origin has no stream "cinema"`,
		"slate off theatre":                   `no slate was commanded for "theatre"`,
		"slate show theatre party":            "must be one of",
		"slate add " + noFile:                 "the file has no pictures that can be shown",
		"slate add " + file + " --stream den": `this origin has no stream "den"`,
		"slate remove 00000000":               `"00000000": "surgecast slate list" shows all`,
	} {
		if out, err := run(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", line, out, err, want)
		}
	}
	out := must("slate add "+file+" --kind hold --stream theatre", "is kept: hold, H.264, 640x360, 25 pictures a second, 2s.")
	id := strings.Fields(out)[1]
	must("slate list", id+" ")
	must("slate show theatre", `theatre shows its slate "hold"`)
	eventually(t, "the slate is in the list", func() error {
		if text, _ := e.get(t, e.url(0)+"/theatre/main/live.m3u8"); strings.Count(string(text), "EXT-X-MAP") < 2 {
			return fmt.Errorf("one init segment:\n%s", text)
		}
		return nil
	})
	must("status", `theatre shows its slate "hold" by command`)
	if shown := e.origin.origin.Shown(); len(shown) != 1 || shown[0].Slate.ID != id {
		t.Errorf("shown: %+v, want %s", shown, id)
	}
	must("slate off theatre", "theatre comes back")
	eventually(t, "the programme is back", func() error {
		if shown := e.origin.origin.Shown(); len(shown) > 0 {
			return fmt.Errorf("%+v", shown)
		}
		return nil
	})
	must("slate remove "+id, "is removed")
}

// On a relay there are no slates.
func TestSlatesAreTheOrigins(t *testing.T) {
	dir := t.TempDir()
	startAPI(t, filepath.Join(dir, "a"))
	list := slateListCmd{apiFlags{Dir: dir}}
	if err := list.Run(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "this node is a relay") {
		t.Errorf("%v", err)
	}
}
