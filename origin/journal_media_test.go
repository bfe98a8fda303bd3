package origin

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"surgecast/relay"
)

// reel is a rendition of small parts, and its media journal.
type reel struct {
	*testing.T
	journal *mediaJournal
	window  *relay.Window
	line    *timeline
}

func newReel(t *testing.T, dir string) *reel {
	c := relay.DefaultConstants()
	r := &reel{T: t, journal: newMediaJournal(dir, "theatre", slog.New(slog.NewTextHandler(t.Output(), nil)), new(atomic.Int64))}
	r.window = relay.NewWindow(c)
	r.line = newTimeline(mainRendition, r.window, 7, c, 8*time.Second, streamRecord{}, false)
	r.line.birth(time.Unix(1000, 0))
	r.line.beginRun([]byte("init"), 1000, time.Unix(1000, 0))
	t.Cleanup(r.journal.close)
	return r
}

// play publishes so many parts of 0.2 s, five to a segment, and writes each list.
func (r *reel) play(parts int) {
	r.Helper()
	for range parts {
		if len(r.line.list.Open.Parts) == 0 {
			at := time.Duration(r.line.played) * time.Millisecond
			r.line.openSegment(at, time.Unix(1000, 0).Add(at))
		}
		r.line.addPart(fmt.Appendf(nil, "part %v", r.line.nextPart()), 200, len(r.line.list.Open.Parts) == 0)
		if len(r.line.list.Open.Parts) == 5 {
			r.line.closeSegment()
		}
		if err := publishAll([]*timeline{r.line}, nil); err != nil {
			r.Fatal(err)
		}
		r.write()
	}
}

func (r *reel) write() {
	r.journal.take(map[string]*relay.Window{mainRendition: r.window}, []byte("index"))
}

func (r *reel) dir() string { return filepath.Join(r.journal.dir, mainRendition) }

// recall reads the journal, and holds it to what always holds: the list can be
// read, and what it names is there.
func (r *reel) recall() restoration {
	r.Helper()
	found := recall(r.dir())
	if found.list == nil {
		r.Fatal("no list")
	}
	back := restoration{rendition: mainRendition, media: found.media}
	back.take(found.list)
	first := back.list.MediaSequence
	back.cut()
	// The newest file with a list names all that is here; where it was lost, the
	// one before it names one more.
	if back.list.MediaSequence > first+1 || back.list.MediaSequence > first && found.list.OpenSequence() == r.line.list.OpenSequence() {
		r.Fatalf("listed from segment %d, and here from %d", first, back.list.MediaSequence)
	}
	for i := range back.list.Segments {
		s := &back.list.Segments[i]
		body := found.media[s.Name]
		for _, part := range s.Parts {
			if got, want := string(found.media[part.Name]), "part "+part.Name.String(); got != want {
				r.Fatalf("part %v is %q", part.Name, got)
			}
		}
		if len(s.Parts) == 0 && string(body) != wholeReelSegment(s.Name) {
			r.Fatalf("segment %v is %q", s.Name, body)
		}
	}
	return back
}

func wholeReelSegment(name relay.MediaName) (body string) {
	for part := range 5 {
		body += fmt.Sprintf("part %v", relay.MediaName{Kind: relay.PartMedia, Epoch: name.Epoch, Number: name.Number, Part: part})
	}
	return body
}

// parts is how many parts have been played up to the end of a list.
func (r *restoration) played() int {
	if len(r.list.Segments) == 0 {
		return 0
	}
	last := r.list.Segments[len(r.list.Segments)-1]
	return int(r.list.OpenSequence()-1-1000)*5 + int(last.Duration/(200*time.Millisecond))
}

// Whatever part is the last before a crash: it is there, and so is all that is
// listed.
func TestMediaJournalHasEachPart(t *testing.T) {
	r := newReel(t, t.TempDir())
	for n := 1; n <= 75; n++ {
		r.play(1)
		back := r.recall()
		if back.played() != n {
			t.Fatalf("%d parts of %d", back.played(), n)
		}
		if files := len(segmentFiles(r.dir())); files != len(r.line.list.Segments)+1 {
			t.Fatalf("%d files of %d segments", files, len(r.line.list.Segments))
		}
	}
}

// A write that ends at any byte costs what that write was for, and nothing that
// was there before.
func TestMediaJournalTornAtEachByte(t *testing.T) {
	r := newReel(t, t.TempDir())
	r.play(13)
	path := filepath.Join(r.dir(), segmentFileName(r.line.list.OpenSequence()))
	whole := readFile(path)
	last := 0
	for size := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		back := r.recall()
		// Without its list the file is as if it had not been made: what stood in
		// the one before counts, and that ends before the segment's last part.
		if got := back.played(); got < last || got < 9 || got > last+2 && last > 0 {
			t.Fatalf("at byte %d of %d there are %d parts, after %d", size, len(whole), got, last)
		}
		last = back.played()
	}
	if last != 13 {
		t.Errorf("%d parts in the end", last)
	}
	for at := 0; at < len(whole); at += 13 { // what a bad disk keeps
		bad := append([]byte(nil), whole...)
		bad[at] ^= 0x40
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r.recall()
	}
}

// A garbled file in the middle costs what is before it, not the newest.
func TestMediaJournalOfABadDisk(t *testing.T) {
	r := newReel(t, t.TempDir())
	r.play(53)
	bad := r.line.list.OpenSequence() - 3
	if err := os.WriteFile(filepath.Join(r.dir(), segmentFileName(bad)), []byte("lost"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := recall(r.dir())
	back := restoration{rendition: mainRendition, media: found.media}
	back.take(found.list)
	back.cut()
	if back.list.MediaSequence != bad+1 || back.played() != 53 {
		t.Errorf("begins with segment %d after %d, %d parts", back.list.MediaSequence, bad, back.played())
	}
}

// A journal that is behind by seconds skips lists, not media.
func TestMediaJournalCatchesUp(t *testing.T) {
	r := newReel(t, t.TempDir())
	r.play(13)
	journal := r.journal
	r.journal = newMediaJournal(t.TempDir(), "elsewhere", slog.New(slog.DiscardHandler), new(atomic.Int64))
	r.play(24)
	r.journal = journal
	r.play(2)
	if back := r.recall(); back.played() != 39 {
		t.Errorf("%d parts", back.played())
	}
}

// A disk that takes nothing is told of once; when it does again, the list is
// there.
func TestMediaJournalWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, mediaFolder), nil, 0o600); err != nil {
		t.Fatal(err) // a file where the folder should be
	}
	r := newReel(t, dir)
	r.play(13)
	if r.journal.trouble == nil || r.journal.failed.Load() != 1 {
		t.Errorf("noticed: %v, %d times", r.journal.trouble, r.journal.failed.Load())
	}
	if err := os.Remove(filepath.Join(dir, mediaFolder)); err != nil {
		t.Fatal(err)
	}
	r.play(1)
	if r.journal.trouble != nil {
		t.Error(r.journal.trouble)
	}
	r.recall()
}

// The next life begins in the same folder: at no moment is there no list.
func TestMediaJournalOfTheNextLife(t *testing.T) {
	dir := t.TempDir()
	r := newReel(t, dir)
	r.play(53)
	r.journal.close()
	back := r.recall()
	other := filepath.Join(filepath.Dir(r.dir()), "audio-0")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}

	again := newReel(t, dir)
	again.line.epoch = 8
	again.line.initBytes = nil
	back.put(again.window)
	again.line.resume(&back) // its media are no fragments: the error is of those
	again.line.list = back.list
	again.line.list.Open.Discontinuity = true
	if err := publishAll([]*timeline{again.line}, nil); err != nil {
		t.Fatal(err)
	}
	again.write()
	if now := again.recall(); now.played() != 53 || now.list.OpenSequence() != back.list.OpenSequence() {
		t.Errorf("%d parts", now.played())
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a rendition that is no more is still there")
	}
	for n := back.list.MediaSequence; n < back.list.OpenSequence(); n++ {
		if !again.journal.folders[mainRendition].files[n] {
			t.Errorf("segment %d is not whole", n)
		}
	}
}

func FuzzSegmentRecord(f *testing.F) {
	b := appendRecord(nil, recordObject, []byte("00000007/init-0.mp4\n"), []byte("init"))
	b = appendRecord(b, recordObject, []byte("00000007/17.0.m4s\n"), []byte("part"))
	b = appendRecord(b, recordIndex, []byte("index"))
	b = appendRecord(b, recordList, []byte("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:17\n"))
	b = appendRecord(b, recordTail, []byte{0, 0, 0, 8}, []byte("tail"))
	b = appendRecord(b, recordClock, []byte{0, 0, 0, 0, 0, 0, 0, 8})
	f.Add(appendRecord(b, recordWhole))
	f.Add(appendRecord(nil, recordTail, []byte{0, 0, 0, 8}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := readSegmentRecord(b)
		name := relay.MediaName{Kind: relay.SegmentMedia, Epoch: 7, Number: 17}
		if body := r.segment(name); body != nil && !r.whole && r.objects[name] == nil {
			t.Error("half a segment is taken for a whole one")
		}
		for name, body := range r.objects {
			if name.Kind == 0 || len(body) == 0 {
				t.Errorf("object %v of %d bytes", name, len(body))
			}
		}
		if _, err := relay.ParsePlaylist(r.list); err != nil && !errors.Is(err, relay.ErrPlaylist) {
			t.Error(err)
		}
	})
}
