package origin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestJournalRaisesTheEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		if int64(j.epoch) != time.Now().Unix() {
			t.Errorf("first epoch %v, want the clock", j.epoch)
		}
		j.note("theatre", streamRecord{MediaSequence: 17, Discontinuity: 3, Init: 1})
		if err := j.save(); err != nil {
			t.Fatal(err)
		}
		// The clock goes back an hour, as far as the journal can tell: it counts
		// on from what it knows.
		again, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		if again.epoch != j.epoch+1 {
			t.Errorf("epoch %v after %v", again.epoch, j.epoch)
		}
		if r, ok := again.stream("theatre"); !ok || r != (streamRecord{MediaSequence: 17, Discontinuity: 3, Init: 1}) {
			t.Errorf("record %+v, %v", r, ok)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%d files, want the journal alone", len(entries))
		}
	})
}

func TestUnreadableJournal(t *testing.T) {
	for name, text := range map[string]string{
		"empty":         "",
		"cut":           `{"v":1,"epoch":"0000`,
		"newer":         `{"v":2,"epoch":"00000001"}`,
		"no epoch":      `{"v":1}`,
		"last epoch":    `{"v":1,"epoch":"ffffffff"}`,
		"media end":     `{"v":1,"epoch":"00000001","streams":{"a":{"media_end":-1}}}`,
		"huge sequence": `{"v":1,"epoch":"00000001","streams":{"a":{"media_sequence":18446744073709551615}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, journalName)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openJournal(dir)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "restore it from a backup") {
				t.Errorf("got %v, want what to do", err)
			}
			if left, _ := os.ReadFile(path); string(left) != text {
				t.Error("the journal was changed")
			}
		})
	}
	if _, err := openJournal(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("no directory, no error")
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"v":1,"epoch":"0000000a","streams":{"theatre":{"media_sequence":17,"discontinuity":3,"init":1}}}`))
	f.Add([]byte(`{"v":1,"epoch":"fffffffe","streams":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var j journal
		if last, err := j.parse(text); err == nil && (last+1 <= last || j.state.Streams == nil) {
			t.Errorf("epoch %v is taken", last)
		}
	})
}
