package origin

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"surgecast/relay"
)

// mediaFolder is where the media journal is, in the state directory.
const mediaFolder = "live"

// mediaSuffix ends the names of its files, which begin with the media sequence
// number.
const mediaSuffix = ".segment"

// mediaJournal keeps the live lists of a stream, and all media that they name,
// on disk, so that the next start goes on where this one ended:
//
//	DIR/live/{stream}/{rendition}/{media sequence number}.segment
//
// It follows the windows as a viewer does, behind the media path: a disk that
// is slow makes it skip lists, one that is full or dead makes it fall silent,
// and the programme knows nothing of either. Nothing is synced: an end of the
// process, however hard, takes nothing from what was written. What a power cut
// takes, the sums of the records tell, and the relays have it.
type mediaJournal struct {
	dir     string // of the stream
	log     *slog.Logger
	folders map[string]*mediaJournalFolder // by rendition
	trouble error                          // what the last write met
	failed  *atomic.Int64                  // how often it began to fail
}

func newMediaJournal(dir, stream string, log *slog.Logger, failed *atomic.Int64) *mediaJournal {
	return &mediaJournal{
		dir: filepath.Join(dir, mediaFolder, stream), log: log, folders: map[string]*mediaJournalFolder{}, failed: failed,
	}
}

// take brings the disk to where the windows are.
func (j *mediaJournal) take(windows map[string]*relay.Window, index []byte) {
	var failed error
	for rendition, w := range windows {
		f := j.folders[rendition]
		if f == nil {
			if w.Version() == nil {
				continue // what an earlier life left is not done without yet
			}
			f = openMediaJournalFolder(filepath.Join(j.dir, rendition), w)
			j.folders[rendition] = f
			defer j.tidy()
		}
		if err := f.take(index); err != nil {
			f.drop()
			failed = err
		}
	}
	switch {
	case failed != nil && j.trouble == nil:
		j.failed.Add(1)
		j.log.Error("the media journal is not written: a restart would go on from what relays hold; the programme goes on", "err", failed, "folder", j.dir)
	case failed == nil && j.trouble != nil:
		j.log.Info("the media journal is written again", "folder", j.dir)
	}
	j.trouble = failed
}

// tidy deletes what an earlier life had and this one has not: renditions that
// are no more.
func (j *mediaJournal) tidy() {
	entries, _ := os.ReadDir(j.dir) // one that can't be read has nothing to be deleted
	for _, entry := range entries {
		if j.folders[entry.Name()] == nil {
			_ = os.RemoveAll(filepath.Join(j.dir, entry.Name())) // what stays is in nobody's way
		}
	}
}

// close gives back what is open.
func (j *mediaJournal) close() {
	for _, f := range j.folders {
		f.drop()
	}
}

// writeMedia keeps a stream's media journal until ctx ends, and once more then.
func (s *stream) writeMedia(ctx context.Context) {
	j := newMediaJournal(s.dir, s.Name, s.logger, s.unwritten)
	defer j.close()
	for {
		select {
		case <-s.news:
			afterViewers(ctx)
			j.take(s.windows())
		case <-ctx.Done():
			j.take(s.windows())
			return
		}
	}
}

// journalAfter is how long the journal lets those go first who wait for a part:
// on one core it would write a megabyte of 4K before they are answered.
const journalAfter = 10 * time.Millisecond

func afterViewers(ctx context.Context) {
	select {
	case <-time.After(journalAfter):
	case <-ctx.Done():
	}
}

// windows returns those of the stream, and its multivariant playlist.
func (s *stream) windows() (windows map[string]*relay.Window, index []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	windows = map[string]*relay.Window{}
	for _, t := range s.timelines() {
		windows[t.rendition] = t.window
	}
	return windows, s.index
}

// mediaJournalFolder writes one rendition. What it does is in such an order that
// at any moment the newest list on disk finds its media there: a file gets its
// name when it has what it is for, and goes when a newer list does without it.
type mediaJournalFolder struct {
	dir    string
	window *relay.Window

	files map[uint64]bool // by segment; whether it is whole, or as whole as it will ever be
	taken *relay.Version  // what was written last

	// Of the file that grows, which is that of the open segment.
	file   *os.File // nil: none
	number uint64
	named  bool // it has a list, and its name
	inits  map[relay.MediaName]bool
	parts  int    // so many are in it
	stays  []byte // the front of the list that is in it
}

// openMediaJournalFolder takes stock of what an earlier life left.
func openMediaJournalFolder(dir string, w *relay.Window) *mediaJournalFolder {
	f := &mediaJournalFolder{dir: dir, window: w, files: map[uint64]bool{}}
	unfinished, _ := filepath.Glob(filepath.Join(dir, newSegmentName+"*"))
	for _, path := range unfinished {
		_ = os.Remove(path) // it harms nobody
	}
	for _, n := range segmentFiles(dir) {
		f.files[n] = false
	}
	if v := w.Version(); v != nil {
		p := v.Playlist
		for i := range p.Segments {
			if n := p.MediaSequence + uint64(i); wholeOnDisk(f.path(n), &p.Segments[i]) {
				f.files[n] = true
			}
		}
	}
	return f
}

// wholeOnDisk tells whether a file has all of a segment.
func wholeOnDisk(path string, s *relay.Segment) bool {
	r := readSegmentRecord(readFile(path))
	return (s.Gap || r.segment(s.Name) != nil) && (s.Map.Kind == 0 || r.objects[s.Map] != nil)
}

// segmentFiles returns the numbers of the segments that have a file.
func segmentFiles(dir string) []uint64 {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // as if none had any
	}
	var numbers []uint64
	for _, entry := range entries {
		text, ok := strings.CutSuffix(entry.Name(), mediaSuffix)
		if n, err := strconv.ParseUint(text, 10, 63); ok && err == nil && entry.Type().IsRegular() && entry.Name() == segmentFileName(n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func (f *mediaJournalFolder) path(n uint64) string {
	return filepath.Join(f.dir, segmentFileName(n))
}

func segmentFileName(n uint64) string { return strconv.FormatUint(n, 10) + mediaSuffix }

// drop closes the file that grows; it is made anew with the next list.
func (f *mediaJournalFolder) drop() {
	if f.file != nil {
		_ = f.file.Close() // what could not be written is known already
		if !f.named {
			_ = os.Remove(f.file.Name())
		}
		f.file = nil
	}
	f.taken = nil
}

// take brings the folder to the newest list.
func (f *mediaJournalFolder) take(index []byte) error {
	v := f.window.Version()
	if v == nil || v == f.taken {
		return nil
	}
	p := v.Playlist
	if err := f.finish(p, func(n uint64) bool { _, there := f.files[n]; return !there || f.grows(n) }); err != nil {
		return err
	}
	if err := f.follow(v, index); err != nil {
		return err
	}
	// Of these, the list before needs what they have.
	if err := f.finish(p, func(uint64) bool { return true }); err != nil {
		return err
	}
	f.taken = v
	return f.forget(p)
}

func (f *mediaJournalFolder) grows(n uint64) bool { return f.file != nil && f.number == n }

// finish writes what is missing of the closed segments that match.
func (f *mediaJournalFolder) finish(p *relay.Playlist, match func(n uint64) bool) error {
	for i := range p.Segments {
		n := p.MediaSequence + uint64(i)
		if f.files[n] || !match(n) {
			continue
		}
		if err := f.finishOne(n, &p.Segments[i]); err != nil {
			return err
		}
	}
	return nil
}

// finishOne makes the file of a closed segment whole. Where some of it has left
// the window, since the disk was slow, it stays as it is, and a restart does
// without that segment and those before it.
func (f *mediaJournalFolder) finishOne(n uint64, s *relay.Segment) error {
	if !f.grows(n) {
		f = &mediaJournalFolder{dir: f.dir, window: f.window, files: f.files}
		if err := f.begin(n); err != nil {
			return err
		}
	}
	defer f.drop()
	b, missing := f.appendInit(nil, s.Map)
	switch {
	case missing != nil:
	case len(s.Parts) > 0 && len(s.Parts) >= f.parts:
		b, missing = f.appendParts(b, s.Parts)
	case !s.Gap:
		b, missing = f.appendObject(b, s.Name)
	}
	if missing == nil {
		if err := f.write(appendRecord(b, recordWhole)); err != nil {
			return err
		}
	}
	f.files[n] = true
	return nil
}

// begin makes the file of segment n grow.
func (f *mediaJournalFolder) begin(n uint64) error {
	if f.grows(n) {
		return nil
	}
	f.drop()
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	file, err := os.CreateTemp(f.dir, newSegmentName+"*")
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	f.file, f.number, f.named, f.inits, f.parts, f.stays = file, n, false, map[relay.MediaName]bool{}, 0, nil
	return nil
}

// newSegmentName begins the names of files that have nothing yet.
const newSegmentName = ".new-"

// write appends to the file that grows, and gives it its name.
func (f *mediaJournalFolder) write(b []byte) error {
	if _, err := f.file.Write(b); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if f.named {
		return nil
	}
	if err := os.Rename(f.file.Name(), f.path(f.number)); err != nil {
		return fmt.Errorf("name file: %w", err)
	}
	f.named, f.files[f.number] = true, false
	return nil
}

// follow writes what there is of the open segment, and the list. The list comes
// behind the media that it names, so that what a crash leaves can be had.
func (f *mediaJournalFolder) follow(v *relay.Version, index []byte) error {
	if err := f.begin(v.Playlist.OpenSequence()); err != nil {
		return err
	}
	open := &v.Playlist.Open
	b, err := f.appendInit(nil, open.Map)
	if err == nil {
		b, err = f.appendParts(b, open.Parts)
	}
	if err != nil {
		f.drop()
		return nil // it has left the window: a newer list is there
	}
	stays := v.Text[:v.ClosedLength()]
	if f.stays == nil || !bytes.Equal(stays, f.stays) {
		if index != nil {
			b = appendRecord(b, recordIndex, index)
		}
		b = appendRecord(b, recordList, v.Text)
		f.stays = stays
	} else {
		size := binary.BigEndian.AppendUint32(nil, uint32(len(stays)))
		b = appendRecord(b, recordTail, size, v.Text[len(stays):])
	}
	b = appendRecord(b, recordClock, binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano())))
	return f.write(b)
}

func (f *mediaJournalFolder) appendInit(b []byte, name relay.MediaName) ([]byte, error) {
	if name.Kind == 0 || f.inits[name] {
		return b, nil
	}
	f.inits[name] = true
	return f.appendObject(b, name)
}

// appendParts appends those that are not in the file.
func (f *mediaJournalFolder) appendParts(b []byte, parts []relay.Part) (_ []byte, err error) {
	for ; f.parts < len(parts); f.parts++ {
		if parts[f.parts].Gap {
			continue
		}
		if b, err = f.appendObject(b, parts[f.parts].Name); err != nil {
			return nil, err
		}
	}
	return b, nil
}

var errLeftWindow = errors.New("it has left the window")

func (f *mediaJournalFolder) appendObject(b []byte, name relay.MediaName) ([]byte, error) {
	if !f.window.Has(name) {
		return nil, errLeftWindow
	}
	// It is there, so nothing is waited for.
	o, err := f.window.Media(context.Background(), name)
	if err != nil {
		return nil, errLeftWindow
	}
	return appendRecord(b, recordObject, []byte(name.String()+"\n"), o.Body), nil
}

// forget deletes the files of segments that are not in the list, and what has
// no name.
func (f *mediaJournalFolder) forget(p *relay.Playlist) error {
	for n := range f.files {
		if n >= p.MediaSequence && n <= p.OpenSequence() {
			continue
		}
		if err := os.Remove(f.path(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("delete file: %w", err)
		}
		delete(f.files, n)
	}
	return nil
}
