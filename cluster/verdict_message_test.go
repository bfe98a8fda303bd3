package cluster

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var fullVerdict = Verdict{
	Prober: strings.Repeat("a", 32), Target: strings.Repeat("b", 32),
	Opinion: OpinionDoubt, Failure: FailureTimeout, Sequence: 12,
}

func TestVerdictsAreGolden(t *testing.T) {
	other := fullVerdict
	other.Target, other.Sequence = strings.Repeat("c", 32), 13
	up := Verdict{Prober: "x", Target: "y", Opinion: OpinionUp, Sequence: 1}
	all := []Verdict{other, up, fullVerdict}
	want := []string{
		`{"v":1,"k":"verdicts","p":"` + fullVerdict.Prober + `","o":"doubt","f":"timeout","l":{"` + fullVerdict.Target + `":12,"` + other.Target + `":13}}`,
		`{"v":1,"k":"verdicts","p":"x","o":"up","l":{"y":1}}`,
	}
	messages := encodeVerdicts(all...)
	if len(messages) != len(want) || string(messages[0]) != want[0] || string(messages[1]) != want[1] {
		t.Errorf("encoded %s\nwant    %s", messages, want)
	}
	if got, err := decodeVerdicts([]byte(want[0])); err != nil || !slices.Equal(got, []Verdict{fullVerdict, other}) {
		t.Errorf("decoded %+v, %v", got, err)
	}
	if got, err := decodeKnown(encodeKnown(all)); err != nil || !slices.Equal(got, []Verdict{fullVerdict, other, up}) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestVerdictsOfOthers(t *testing.T) {
	read := map[string][]Verdict{
		`{"v":9,"k":"verdicts","p":"x","o":"down","f":"on-fire","l":{"y":1e300},"new":[1]}`:                         {{"x", "y", OpinionDown, FailureWrong, maxSequence}},
		`{"v":1,"k":"verdicts","p":"x","o":"up","f":"timeout","l":{"y":-1}}`:                                        {{"x", "y", OpinionUp, "", 0}},
		`{"v":1,"k":"verdicts","p":"x","o":"up"` + `,"l":{"":1,"z":2,"` + strings.Repeat("y", 65) + `":3,"a\n":4}}`: {{"x", "z", OpinionUp, "", 2}},
	}
	for in, want := range read {
		if got, err := decodeVerdicts([]byte(in)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "null", "[]", "{}", "garbage",
		`{"v":0,"k":"verdicts","p":"x","o":"up","l":{"y":1}}`,
		`{"v":1,"k":"drain","p":"x","o":"up","l":{"y":1}}`,
		`{"v":1,"k":"verdicts","p":"","o":"up","l":{"y":1}}`,
		`{"v":1,"k":"verdicts","p":"x\n","o":"up","l":{"y":1}}`,
		`{"v":1,"k":"verdicts","p":"x","o":"maybe","l":{"y":1}}`,
		`{"v":1,"k":"verdicts","p":"x","o":"up","l":[7]}`,
		`{"v":1,"k":"verdicts","p":"x","o":"up"}`,
		strings.Repeat(" ", maxKnownBytes+1),
	} {
		if v, err := decodeVerdicts([]byte(in)); err == nil {
			t.Errorf("%.80q was read as %+v", in, v)
		}
	}
	for _, in := range []string{"", "null", `{"v":0}`, `{"v":1,"verdicts":7}`, strings.Repeat(" ", maxKnownBytes+1)} {
		if v, err := decodeKnown([]byte(in)); err == nil {
			t.Errorf("%.20q was read as %+v", in, v)
		}
	}
}

// What a node tells of all it knows must be what the others read.
func TestKnowledgeFits(t *testing.T) {
	all := make([]Verdict, maxVerdicts)
	for i := range all {
		all[i] = Verdict{fmt.Sprintf("%064d", i), fmt.Sprintf("%064d", i), OpinionDoubt, FailureTimeout, maxSequence}
	}
	b := encodeKnown(all)
	if got, err := decodeKnown(b); err != nil || !slices.Equal(got, all) {
		t.Errorf("%d bytes: %d verdicts, %v", len(b), len(got), err)
	}
}

func TestProbeAnswerIsGolden(t *testing.T) {
	a := ProbeAnswer{Name: "r1", Status: StatusServing, Streams: Positions{"theatre": {End: time.UnixMilli(1767225600123), Step: 225 * time.Millisecond}}}
	b := a.Encode()
	if want := `{"v":1,"n":"r1","s":{"theatre":{"e":1767225600123,"p":225}},"t":"serving"}`; string(b) != want {
		t.Errorf("encoded %s\nwant    %s", b, want)
	}
	got, err := DecodeProbeAnswer(b)
	if err != nil || got.Name != a.Name || got.Status != a.Status || got.Streams["theatre"] != a.Streams["theatre"] {
		t.Errorf("decoded %+v, %v", got, err)
	}
	for _, in := range []string{"", "null", "{}", "<html>", `{"v":1}`, `{"v":1,"n":"a b"}`, `{"v":1,"n":"r1","s":[]}`, `{"v":1,"n":"r1","x":"` + strings.Repeat("y", maxAnswerBytes) + `"}`} {
		if a, err := DecodeProbeAnswer([]byte(in)); err == nil {
			t.Errorf("%.40q was read as %+v", in, a)
		}
	}
}

func TestNewestOfAll(t *testing.T) {
	at := func(seconds int64) Positions {
		return Positions{"theatre": {End: time.Unix(1_800_000_000+seconds, 0), Step: 225 * time.Millisecond}}
	}
	tests := map[string]struct {
		answers []Positions
		own     Positions
		stale   []bool
	}{
		"nobody":                     {nil, nil, nil},
		"one, and no other":          {[]Positions{at(0)}, nil, []bool{false}},
		"one, and we know more":      {[]Positions{at(0)}, at(3), []bool{true}},
		"one of two":                 {[]Positions{at(0), at(3)}, nil, []bool{true, false}},
		"we are the stale one":       {[]Positions{at(0), at(1)}, at(-60), []bool{false, false}},
		"one has it not":             {[]Positions{at(0), {}, at(0)}, nil, []bool{false, true, false}},
		"only one has it":            {[]Positions{at(0), {}, {}}, nil, []bool{false, false, false}},
		"only we have it":            {[]Positions{{}, {}, {}}, at(0), []bool{true, true, true}},
		"one is beyond all bounds":   {[]Positions{at(0), at(1e9), at(1)}, nil, []bool{false, false, false}},
		"all but two are left":       {[]Positions{at(0), at(9), at(0), at(9)}, nil, []bool{true, false, true, false}},
		"within what is only late":   {[]Positions{at(0), at(2)}, nil, []bool{false, false}},
		"no media, and nobody has":   {[]Positions{{}, {}}, Positions{}, []bool{false, false}},
		"we have no media ourselves": {[]Positions{at(0), at(0)}, Positions{}, []bool{false, false}},
	}
	for name, test := range tests {
		known := newest(test.answers, test.own)
		for i, a := range test.answers {
			if got := a.behind(known); got != test.stale[i] {
				t.Errorf("%s: answer %d stale: %v", name, i, got)
			}
		}
	}
	long := Positions{"theatre": {End: time.Unix(1_800_000_003, 0), Step: time.Second}}
	if at(0).behind(long) {
		t.Error("three long parts are stale")
	}
}

func FuzzDecodeVerdict(f *testing.F) {
	f.Add(encodeVerdicts(fullVerdict)[0])
	f.Add(encodeKnown([]Verdict{fullVerdict, {Prober: "x", Target: "y", Opinion: OpinionUp, Sequence: 1}}))
	f.Add([]byte(`{"v":2,"k":"verdicts","p":"x","o":"down","f":"new","l":{"y":1e400,"":1,"z":null}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if all, err := decodeVerdicts(in); err == nil && len(all) > 0 {
			if again, err := decodeVerdicts(encodeVerdicts(all...)[0]); err != nil || !slices.Equal(again, all) {
				t.Fatalf("%+v became %+v, %v", all, again, err)
			}
		}
		if all, err := decodeKnown(in); err == nil {
			// Several messages on one relay become one.
			once, err := decodeKnown(encodeKnown(all))
			if err != nil || len(once) > len(all) {
				t.Fatalf("%+v became %+v, %v", all, once, err)
			}
			if again, err := decodeKnown(encodeKnown(once)); err != nil || !slices.Equal(again, once) {
				t.Fatalf("%+v became %+v, %v", once, again, err)
			}
		}
	})
}

func FuzzDecodeProbeAnswer(f *testing.F) {
	f.Add(ProbeAnswer{Name: "r1", Status: StatusFull, Streams: Positions{"theatre": {End: time.UnixMilli(1767225600123), Step: 225 * time.Millisecond}}}.Encode())
	f.Add([]byte(`{"v":2,"n":"r1","s":{"":{"e":-9223372036854775808,"p":9223372036854775807}},"new":null}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := DecodeProbeAnswer(in)
		if err != nil {
			return
		}
		b := a.Encode()
		again, err := DecodeProbeAnswer(b)
		if err != nil || !bytes.Equal(again.Encode(), b) {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
		a.Streams.behind(newest([]Positions{a.Streams}, a.Streams))
	})
}
