package relay

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Whatever a delta is merged with, the result is the full list to the letter,
// or the merge is refused.
func TestMergeIsToTheLetter(t *testing.T) {
	w := NewWindow(DefaultConstants())
	f := newFeed(t, w)
	var all []*Version
	for n := range 45 * feedParts {
		if n == 20*feedParts { // what an encoder with other settings brings
			f.list.Open.Map.Number++
			f.list.Open.Discontinuity = true
			w.Put(f.list.Open.Map, []byte("init"), 0)
		}
		f.part()
		all = append(all, w.Version())
	}
	merged := 0
	for i, v := range all {
		for _, before := range all[max(0, i-30):i] {
			text, err := mergeDelta(v.delta().text, before)
			if err != nil {
				t.Fatal(err)
			}
			if string(text) != string(v.Text) {
				// Parts that the older list still had in what is skipped.
				if same, known := mustParse(t, text).confirms(`"` + v.delta().etag + `"`); same || !known {
					t.Fatalf("the tag does not tell:\n%s\nwant\n%s", text, v.Text)
				}
				continue
			}
			merged++
		}
	}
	if want := 30 * len(all) * 9 / 10; merged < want {
		t.Errorf("%d of %d merged to the letter", merged, 30*len(all))
	}
	last := all[len(all)-1]
	for name, c := range map[string]struct {
		text   string
		before *Version
	}{
		"too old":     {string(last.delta().text), all[0]},
		"none":        {strings.Replace(string(last.delta().text), "SKIPPED-SEGMENTS", "NOTHING", 1), last},
		"too many":    {strings.Replace(string(last.delta().text), "SKIPPED-SEGMENTS=", "SKIPPED-SEGMENTS=9", 1), last},
		"no sequence": {strings.Replace(string(last.delta().text), "MEDIA-SEQUENCE", "SEQUENCE", 1), last},
	} {
		if text, err := mergeDelta([]byte(c.text), c.before); err == nil {
			t.Errorf("%s: merged to\n%s", name, text)
		}
	}
	if _, err := mergeDelta(last.delta().text, all[0]); !errors.Is(err, errMerge) {
		t.Error(err)
	}
	if text, err := mergeDelta(last.Text, all[0]); err != nil || !bytes.Equal(text, last.Text) {
		t.Error("a full list is no delta:", err)
	}
}

func mustParse(t *testing.T, text []byte) *Version {
	t.Helper()
	v, err := newVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func FuzzMergeDelta(f *testing.F) {
	w := NewWindow(DefaultConstants())
	feed := newFeed(f, w)
	feed.parts(30 * feedParts)
	before := w.Version()
	feed.parts(3)
	f.Add(w.Version().delta().text)
	f.Add([]byte("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1010\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		merged, err := mergeDelta(text, before)
		if err == nil && len(merged) > len(text)+len(before.Text)+64 {
			t.Fatalf("%d bytes from %d and %d", len(merged), len(text), len(before.Text))
		}
	})
}
