package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func samplePool() *poolStatus {
	lag := 0.0412
	s := &poolStatus{Asked: "aaaaaaaabbbb", Nodes: []nodeStatus{
		{Name: "cccccccc0000", Role: "relay", State: "serving", Address: "127.0.0.3:8080", Version: "devel", Error: "timed out"},
		{Name: "bbbbbbbb0000", Role: "relay", State: "serving", Address: "127.0.0.2:8080", Version: "devel", Viewers: 12.2, BitsPerSecond: 34.56e6, LagSeconds: &lag, Tier: 1, Parent: "127.0.0.1:8080", CapacityBitsPerSecond: 750e6, CapacityFrom: "m5.large", DNSShare: 0.625},
		{Name: "aaaaaaaabbbb", Role: "origin", State: "serving", Address: "127.0.0.1:8080", Version: "devel", BitsPerSecond: 9e6},
		{Name: "dddddddd0000", Role: "relay", State: "warming", Address: "127.0.0.4:8080", Version: "v0.2.0"},
	}}
	s.sort()
	return s
}

func TestStatusTable(t *testing.T) {
	var out bytes.Buffer
	if err := samplePool().writeTable(&out, terminal{}); err != nil {
		t.Fatal(err)
	}
	want := `  NODE      ROLE    STATE    ADDRESS         TIER  PARENT          VIEWERS  MBIT/S   OF  FROM            LAG     DNS  VERSION
* aaaaaaaa  origin  serving  127.0.0.1:8080     -  -                     0     9.0    -  -                 -       -  devel
  bbbbbbbb  relay   serving  127.0.0.2:8080     1  127.0.0.1:8080       12    34.6  750  m5.large      41 ms  62.5 %  devel
  cccccccc  relay   serving  127.0.0.3:8080     -  -                     -       -    -  -         no answer       -  devel
  dddddddd  relay   warming  127.0.0.4:8080     -  -                     0     0.0    -  -                 -       -  v0.2.0

* was asked. 2 relays serving, 12 viewers, 43.6 Mbit/s in all. 1 node did not answer within 1s.
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}

// A narrow terminal gets the columns that matter most, and the last line folded.
func TestStatusTableIsAsNarrowAsTheTerminal(t *testing.T) {
	for width, want := range map[int]string{
		80: `  NODE      ROLE    STATE    ADDRESS         VIEWERS  MBIT/S        LAG     DNS`,
		71: `  NODE      STATE    ADDRESS         VIEWERS  MBIT/S        LAG     DNS`,
		60: `  NODE      STATE    ADDRESS         VIEWERS        LAG`,
		45: `  NODE      STATE    ADDRESS         VIEWERS`,
		20: `  NODE      STATE    ADDRESS`,
	} {
		var out bytes.Buffer
		if err := samplePool().writeTable(&out, terminal{width: width}); err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(out.String(), "\n")
		if strings.TrimRight(head, " ") != want {
			t.Errorf("%d characters: %q", width, head)
		}
		for line := range strings.Lines(out.String()) {
			if len(strings.TrimRight(line, "\n")) > max(width, 36) {
				t.Errorf("%d characters: %q is longer", width, line)
			}
		}
	}
}

var styles = regexp.MustCompile("\x1b\\[[0-9]+m")

// Colour changes nothing but the colour.
func TestStatusTableInColour(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := samplePool().writeTable(&plain, terminal{}); err != nil {
		t.Fatal(err)
	}
	if err := samplePool().writeTable(&colored, terminal{tty: true, color: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Errorf("a file gets %q", plain.String())
	}
	if got := styles.ReplaceAllString(colored.String(), ""); got != plain.String() {
		t.Errorf("got:\n%s\nwant:\n%s", got, plain.String())
	}
	for _, want := range []string{"\x1b[32mserving\x1b[0m", "\x1b[33mwarming\x1b[0m", "\x1b[31mserving\x1b[0m"} {
		if !strings.Contains(colored.String(), want) {
			t.Errorf("no %q in %q", want, colored.String())
		}
	}
}

// lineWriter ends a watch after some writes.
type lineWriter struct {
	text bytes.Buffer
	left int
	end  context.CancelFunc
}

func (w *lineWriter) Write(b []byte) (int, error) {
	if w.left--; w.left == 0 {
		w.end()
	}
	return w.text.Write(b)
}

func TestStatusWatch(t *testing.T) {
	dir := t.TempDir()
	startAPI(t, dir)
	for _, asJSON := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &lineWriter{left: 2, end: cancel}
		if err := (&statusCmd{apiFlags: apiFlags{Dir: dir}, Watch: true, JSON: asJSON}).Run(ctx, out); err != nil {
			t.Fatal(err)
		}
		if asJSON {
			decoder := json.NewDecoder(&out.text)
			for range 2 {
				var status poolStatus
				if err := decoder.Decode(&status); err != nil || len(status.Nodes) != 4 {
					t.Errorf("%v, %+v", err, status)
				}
			}
		} else if text := out.text.String(); strings.Count(text, "* aaaaaaaa") != 2 || strings.Contains(text, "\x1b") {
			t.Errorf("got %q", text)
		}
	}
}

// startAPI serves a sample pool's status and leaves its api.json in dir.
func startAPI(t *testing.T, dir string) apiFile {
	t.Helper()
	server := httptest.NewServer(newAPI(apiConfig{
		Token:   "secret-token",
		Status:  func(context.Context) *poolStatus { return samplePool() },
		Metrics: http.NotFoundHandler(),
	}))
	t.Cleanup(server.Close)
	api := apiFile{URL: server.URL, Token: "secret-token", PID: 1}
	writeAPIFile(t, dir, api)
	return api
}

func writeAPIFile(t *testing.T, dir string, api apiFile) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(api)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, apiFileName), string(text), 0o600)
}

// TestStatusFindsANodeThatLives asks in each of the folders that a person may
// name; beside the living node lies one that was killed.
func TestStatusFindsANodeThatLives(t *testing.T) {
	dir := t.TempDir()
	writeAPIFile(t, filepath.Join(dir, "state", "127.0.0.1"), apiFile{URL: "http://127.0.0.1:1", Token: "x"})
	startAPI(t, filepath.Join(dir, "state", "127.0.0.2"))
	for _, named := range []string{dir, filepath.Join(dir, "state"), filepath.Join(dir, "state", "127.0.0.2")} {
		var out bytes.Buffer
		if err := (&statusCmd{apiFlags: apiFlags{Dir: named}}).Run(t.Context(), &out); err != nil {
			t.Errorf("%s: %v", named, err)
		}
		if !strings.Contains(out.String(), "* aaaaaaaa  origin") {
			t.Errorf("%s: got\n%s", named, out.String())
		}
	}
}

func TestStatusByURL(t *testing.T) {
	dir := t.TempDir()
	api := startAPI(t, dir)
	bare := filepath.Join(dir, "token")
	writeFile(t, bare, api.Token+"\n", 0o600)
	for _, key := range []string{bare, filepath.Join(dir, apiFileName)} {
		var out bytes.Buffer
		if err := (&statusCmd{apiFlags: apiFlags{Node: api.URL, KeyFile: key}, JSON: true}).Run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		var got poolStatus
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Nodes) != 4 {
			t.Errorf("got %v, %s", err, out.String())
		}
	}
}

func TestStatusErrors(t *testing.T) {
	dir := t.TempDir()
	api := startAPI(t, filepath.Join(dir, "alive"))
	wrong := filepath.Join(dir, "wrong")
	writeFile(t, wrong, "another-token", 0o600)
	empty := t.TempDir()
	for _, test := range []struct {
		name    string
		command statusCmd
		want    string
	}{
		{"nobody there", statusCmd{apiFlags: apiFlags{Dir: empty}}, "no node is running that keeps its data in " + empty + " (no api.json in it): start one, or name its folder with --dir"},
		{"no folder", statusCmd{apiFlags: apiFlags{Dir: dir + "/x"}}, "there is no folder " + dir + "/x: --dir names a node's data folder or one above it"},
		{"no key", statusCmd{apiFlags: apiFlags{Node: api.URL}}, "--node needs --key-file: a copy of the api.json in that node's data folder"},
		{"wrong key", statusCmd{apiFlags: apiFlags{Node: api.URL, KeyFile: wrong}}, api.URL + " does not take this key: it is made anew at each start of the node, copy its api.json again"},
		{"no scheme, and nobody there", statusCmd{apiFlags: apiFlags{Node: "127.0.0.1:1", KeyFile: wrong}}, "no node answers at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused (is it up, and is this its ports.api?)"},
		{"no such key file", statusCmd{apiFlags: apiFlags{Node: api.URL, KeyFile: dir + "/x"}}, "--key-file: open " + dir + "/x: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.command.Run(t.Context(), &bytes.Buffer{})
			if err == nil || err.Error() != test.want {
				t.Errorf("\n got: %v\nwant: %s", err, test.want)
			}
		})
	}
}
