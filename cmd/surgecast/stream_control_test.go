package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surgecast/origin"
	"surgecast/relay"
)

// TestMarkAndEnd marks and ends a stream of a real origin as an operator does,
// by commands that find its API in its folder.
func TestMarkAndEnd(t *testing.T) {
	e := newEvening(t)
	// A relay's folder is found first, and has no say.
	relayAPI := httptest.NewServer(newAPI(apiConfig{Token: "relay", Metrics: http.NotFoundHandler()}))
	t.Cleanup(relayAPI.Close)
	writeAPIFile(t, filepath.Join(e.dir, "a-relay"), apiFile{URL: relayAPI.URL, Token: "relay"})

	list := func() string { body, _ := e.get(t, e.url(0)+"/theatre/main/live.m3u8"); return string(body) }
	eventually(t, "the stream is live", func() error {
		if st := e.origin.store.Stream("theatre"); st.Index() == nil {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	// run gives the command the arguments of a person, "DIR" the pool's folder.
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

	for _, line := range []string{
		"mark theatre --class org.example.incision --id one --start 2999-01-01T00:00:00Z --with X-ORG-EXAMPLE-STEP=a,b;c --with X-B=2",
		"mark theatre --class org.example.break --id two --open",
		"mark theatre --class org.example.step --duration 1m30s",
	} {
		if out, err := run(line); err != nil || !strings.HasPrefix(out, "Marked theatre: ") {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
	eventually(t, "the marks are listed", func() error {
		text := list()
		for _, want := range []string{
			`#EXT-X-DATERANGE:ID="one",START-DATE="2999-01-01T00:00:00.000Z",DURATION=0.0,CLASS="org.example.incision",X-B="2",X-ORG-EXAMPLE-STEP="a,b;c"` + "\n",
			`,CLASS="org.example.break"` + "\n",
			`,DURATION=90.0,CLASS="org.example.step"` + "\n",
		} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("%s is not in\n%s", want, text)
			}
		}
		return nil
	})
	for line, want := range map[string]string{
		"mark theatre --class c --id one":                     `date range refused: "one" was used before`,
		"mark theatre --class c --start 2020-01-01T00:00:00Z": "date range refused: it ends before the live list begins, at ",
		"mark theatre --class c --duration 25h":               "a mark of 90000 s: its duration is 0s to 24h0m0s, or it is open",
		`mark theatre --class c --with X-A=a"b`:               `"a\"b" can't stand in a list: leave out quotes and control characters`,
		"mark theatre --class c --with name=b":                `attribute "name": write a name such as X-ORG-EXAMPLE-STEP, in capitals`,
		"mark cinema --class c":                               `this origin has no stream "cinema": its configuration names those that it has`,
		"switch theatre backup":                               "no encoder is connected to the input backup",
		"switch theatre auto":                                 `must be one of "primary","backup" but got "auto"`,
		"switch cinema backup":                                `this origin has no stream "cinema": its configuration names those that it has`,
		"end cinema --yes":                                    `this origin has no stream "cinema": its configuration names those that it has`,
		"end theatre":                                         "an end is final: theatre can be begun anew only by starting the origin again; say --yes to end it",
	} {
		if out, err := run(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", line, out, err, want)
		}
	}
	if strings.Contains(list(), "ENDLIST") {
		t.Fatal("the stream has ended without --yes")
	}

	for range 2 { // again it does nothing
		if out, err := run("end theatre --yes"); err != nil || !strings.HasPrefix(out, "theatre has ended.") {
			t.Errorf("%q, %v", out, err)
		}
	}
	if text := list(); !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") {
		t.Errorf("the list has not ended:\n%s", text)
	}
	if _, err := run("mark theatre --class c"); err == nil || !strings.Contains(err.Error(), "the stream has ended") {
		t.Errorf("marked behind the end: %v", err)
	}
}

// TestOnlyRelaysToAsk holds that a relay says where to ask instead, and which
// nodes did not answer.
func TestOnlyRelaysToAsk(t *testing.T) {
	dir := t.TempDir()
	startAPI(t, filepath.Join(dir, "b"))
	end := endCmd{Stream: "theatre", Yes: true, apiFlags: apiFlags{Dir: dir}}
	err := end.Run(t.Context(), &bytes.Buffer{})
	if want := "this node is a relay: streams are ended, marked, switched and slated at their origin, whose folder --dir names, or whose address --node"; err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	writeAPIFile(t, filepath.Join(dir, "a"), apiFile{URL: "http://127.0.0.1:1", Token: "x"})
	err = end.Run(t.Context(), &bytes.Buffer{})
	if want := "of the nodes that keep their data in " + dir + ", those that have a say in this are not running: no node answers at "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestChangesWantTheToken(t *testing.T) {
	asked := &fakeStreams{}
	api := newAPI(apiConfig{Token: "secret-token", Metrics: http.NotFoundHandler(), Streams: asked})
	for _, test := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"POST", "/streams/theatre/end", "", "", 401},
		{"POST", "/streams/theatre/marks", "secret", `{"class":"a"}`, 401},
		{"GET", "/streams/theatre/end", "secret-token", "", 405},
		{"POST", "/streams/theatre/marks", "secret-token", "", 400},
		{"POST", "/streams/theatre/marks", "secret-token", `{"clas":"a"}`, 400},
		{"POST", "/streams/theatre/marks", "secret-token", `{"class":"` + strings.Repeat("a", 5000) + `"}`, 400},
		{"POST", "/streams/theatre/marks", "secret-token", `{"class":"` + strings.Repeat("a", 2000) + `"}`, 400},
		{"POST", "/streams/theatre/marks", "secret-token", `{"class":"a"}`, 200},
		{"POST", "/streams/theatre/input", "secret", `{"input":"backup"}`, 401},
		{"POST", "/streams/theatre/input", "secret-token", "", 400},
		{"POST", "/streams/theatre/input", "secret-token", `{"input":"auto"}`, 400},
		{"POST", "/streams/theatre/input", "secret-token", `{"input":"backup"}`, 200},
		{"POST", "/streams/theatre/slate", "secret", `{"kind":"hold"}`, 401},
		{"POST", "/streams/theatre/slate", "secret-token", `{"kind":"party"}`, 400},
		{"POST", "/streams/theatre/slate", "secret-token", `{"kind":"hold"}`, 200},
		{"DELETE", "/streams/theatre/slate", "secret-token", "", 200},
		{"POST", "/slates", "secret-token", `{"kind":"hold","file":"no base64"}`, 400},
		{"POST", "/slates", "secret-token", `{"kind":"hold","file":"AAAA"}`, 200},
		{"DELETE", "/slates/abc", "secret-token", "", 200},
		{"POST", "/streams/theatre/end", "secret-token", "", 200},
	} {
		request := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		request.Header.Set("Authorization", "Bearer "+test.token)
		answer := httptest.NewRecorder()
		if api.ServeHTTP(answer, request); answer.Code != test.want {
			t.Errorf("%s %s %.40s: %d %s, want %d", test.method, test.path, test.body, answer.Code, answer.Body, test.want)
		}
	}
	if asked.ends != 1 || asked.marks != 1 {
		t.Errorf("%+v got through", asked)
	}
}

type fakeStreams struct{ ends, marks, switches, slates int }

func (f *fakeStreams) ShowSlate(string, origin.SlateKind) error { f.slates++; return nil }
func (f *fakeStreams) HideSlate(string) error                   { f.slates++; return nil }
func (f *fakeStreams) Slates() []origin.Slate                   { return nil }
func (f *fakeStreams) Shown() []origin.Shown                    { return nil }
func (f *fakeStreams) RemoveSlate(string) error                 { f.slates++; return nil }

func (f *fakeStreams) AddSlate(origin.SlateKind, string, []byte) (origin.Slate, error) {
	f.slates++
	return origin.Slate{}, nil
}

func (f *fakeStreams) End(string) error                   { f.ends++; return nil }
func (f *fakeStreams) Mark(string, relay.DateRange) error { f.marks++; return nil }
func (f *fakeStreams) Switch(string, origin.Input) error  { f.switches++; return nil }

// FuzzMark holds that whatever is marked, the list stays one, and says that.
func FuzzMark(f *testing.F) {
	f.Add(`{"class":"org.example.step","id":"a","duration_seconds":1.5,"attributes":{"X-A":"b,c=d"}}`)
	f.Add(`{"class":"a","open":true,"start":"2026-03-01T20:15:00+01:00"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var m markRequest
		if json.Unmarshal([]byte(text), &m) != nil {
			return
		}
		d, err := m.dateRange(time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC))
		if err != nil {
			return
		}
		list := relay.Playlist{Constants: relay.DefaultConstants(), DateRanges: []relay.DateRange{d}}
		back, err := relay.ParsePlaylist(list.AppendText(nil))
		if err != nil || len(back.DateRanges) != 1 || back.DateRanges[0] != d {
			t.Errorf("%q became %+v, %v", text, back, err)
		}
		if m.ID != "" && d.ID != m.ID || d.End.IsZero() != m.Open {
			t.Errorf("%q became %+v", text, d)
		}
	})
}
