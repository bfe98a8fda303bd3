package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"surgecast/relay"
)

// journalName is the journal's file in the state directory.
const journalName = "journal.json"

// journalVersion is the form of the file.
const journalVersion = 1

// streamRecord is what is known of a stream's timeline.
type streamRecord struct {
	// MediaSequence is the number of the newest segment, the open one included.
	MediaSequence uint64 `json:"media_sequence"`
	// Discontinuity is that segment's discontinuity sequence number.
	Discontinuity uint64 `json:"discontinuity"`
	// Init is the number of the newest init segment.
	Init uint64 `json:"init"`
	// MediaEnd is the media time that the stream has come to: where a list has
	// nothing but gaps, no media tell it.
	MediaEnd time.Duration `json:"media_end,omitempty"`
	// Slate is the one that was commanded and not taken off.
	Slate SlateKind `json:"slate,omitempty"`
}

// maxMediaEnd is more than any stream plays.
const maxMediaEnd = 100 * 365 * 24 * time.Hour

// journalState is the content of the file.
type journalState struct {
	Version int                     `json:"v"`
	Epoch   string                  `json:"epoch"`
	Streams map[string]streamRecord `json:"streams"`
}

// journal keeps on disk what must never go back: the epoch and how far each
// stream's media sequence has come. The file is replaced whole, by rename, so
// that it is always one of the states that were saved.
//
// The epoch is raised and saved before anything is published, and a stream's
// first number before its first segment. After that a stream's record is saved
// behind the media path, at most once a segment. A crash therefore loses the
// newest segments at most: some tenths of a second of them, as long as the disk
// takes. The next start goes on with the next number where it has the list
// (see Origin.Restore), else at max(clock, newest known + 10). Since no
// segment is shorter than 1 s, the clock alone is ahead of all that was ever
// published; where the clock was set back in between, the 10 are more than the
// saving can be behind. An epoch is never used twice whatever is lost, so no
// URL is either.
type journal struct {
	path  string
	epoch relay.Epoch
	dirty chan struct{} // holds one: there is something to save

	saving sync.Mutex // held while the file is replaced; taken before mu

	mu    sync.Mutex
	state journalState
}

// openJournal reads the journal in dir, makes one when there is none, raises
// the epoch and saves it. The first epoch of all is the clock's seconds: were
// the journal lost, the new first one would still be higher than those counted
// up by one a start since.
func openJournal(dir string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, journalName), dirty: make(chan struct{}, 1)}
	text, err := os.ReadFile(j.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		j.state.Streams = map[string]streamRecord{}
		j.epoch = relay.Epoch(time.Now().Unix())
	case err != nil:
		return nil, j.unreadable(err)
	default:
		last, err := j.parse(text)
		if err != nil {
			return nil, j.unreadable(err)
		}
		j.epoch = last + 1
	}
	j.state.Version, j.state.Epoch = journalVersion, j.epoch.String()
	if err := j.save(); err != nil {
		return nil, err
	}
	return j, nil
}

// unreadable says what to do. To go on with a lower epoch is not offered: every
// relay would refuse it, and a URL would be used for other bytes.
func (j *journal) unreadable(err error) error {
	return fmt.Errorf("the journal %s can't be read (%w): restore it from a backup; if there is none and this machine's clock is right, move the file away, and epoch and media sequence numbers begin anew at the clock, above all that were used", j.path, err)
}

// parse fills the state and returns the epoch that was last in use.
func (j *journal) parse(text []byte) (relay.Epoch, error) {
	if err := json.Unmarshal(text, &j.state); err != nil {
		return 0, err
	}
	if j.state.Version != journalVersion {
		return 0, fmt.Errorf("its version is %d, this program reads %d", j.state.Version, journalVersion)
	}
	last, err := relay.ParseEpoch(j.state.Epoch)
	if err != nil {
		return 0, err
	}
	if last == math.MaxUint32 {
		return 0, errors.New("its epoch is the last that there is")
	}
	for name, r := range j.state.Streams {
		// Numbers in lists have 63 bits.
		if r.MediaSequence > math.MaxInt64/2 {
			return 0, fmt.Errorf("stream %q: media sequence number %d", name, r.MediaSequence)
		}
		if r.MediaEnd < 0 || r.MediaEnd > maxMediaEnd {
			return 0, fmt.Errorf("stream %q: media end at %v", name, r.MediaEnd)
		}
	}
	if j.state.Streams == nil {
		j.state.Streams = map[string]streamRecord{}
	}
	return last, nil
}

// raise makes the epoch of this start another one, durably. Nothing may have
// been published under the one before.
func (j *journal) raise(to relay.Epoch) error {
	j.mu.Lock()
	j.state.Epoch = to.String()
	j.mu.Unlock()
	if err := j.save(); err != nil {
		return err
	}
	j.epoch = to
	return nil
}

// stream returns what is known of a stream.
func (j *journal) stream(name string) (streamRecord, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, ok := j.state.Streams[name]
	return r, ok
}

// note records how far a stream has come, to be saved soon. It does not block.
func (j *journal) note(name string, r streamRecord) {
	j.mu.Lock()
	j.state.Streams[name] = r
	j.mu.Unlock()
	select {
	case j.dirty <- struct{}{}:
	default: // a save is due anyway and takes this with it
	}
}

// run saves what is noted until ctx ends, and once more then. A disk that
// refuses does not stop the programme: the numbers go on from the clock.
func (j *journal) run(ctx context.Context, logger *slog.Logger) {
	for {
		select {
		case <-j.dirty:
			if err := j.save(); err != nil {
				logger.Error("journal not saved", "err", err)
			}
		case <-ctx.Done():
			if err := j.save(); err != nil {
				logger.Error("journal not saved", "err", err)
			}
			return
		}
	}
}

// save replaces the file by the present state and returns when that is durable.
func (j *journal) save() error {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	text, err := json.MarshalIndent(j.state, "", "  ")
	j.mu.Unlock()
	if err == nil {
		err = replaceFile(j.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("save journal: %w", err)
	}
	return nil
}

// replaceFile writes a file so that after a crash either the old or the new
// content is there, whole.
func replaceFile(path string, content []byte) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
