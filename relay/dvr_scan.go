package relay

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// scan finds what an earlier life of the node left. Names that we would not
// have given are left alone; files that were being written are deleted.
func (d *disk) scan() error {
	streams, err := os.ReadDir(d.root)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, stream := range streams {
		if !stream.IsDir() || ValidStream(stream.Name()) != nil {
			continue
		}
		renditions, err := os.ReadDir(filepath.Join(d.root, stream.Name()))
		if err != nil {
			return err
		}
		for _, rendition := range renditions {
			if !rendition.IsDir() || !validLabel(rendition.Name()) {
				continue
			}
			if err := d.folderOf(stream.Name(), rendition.Name()).scan(); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan needs disk.mu.
func (f *folder) scan() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		_, err := ParseEpoch(entry.Name())
		switch {
		case entry.Type().IsRegular() && strings.HasPrefix(entry.Name(), tempName):
			err = os.Remove(filepath.Join(f.path, entry.Name()))
		case entry.IsDir() && err == nil:
			err = f.scanEpoch(entry.Name())
		default:
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) scanEpoch(epoch string) error {
	entries, err := os.ReadDir(filepath.Join(f.path, epoch))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, err := ParseMediaName(epoch + "/" + entry.Name())
		if err != nil || name.Kind == PartMedia || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		f.disk.note(&file{folder: f, name: name, size: info.Size(), date: info.ModTime()})
	}
	return nil
}

// unclaimed tells whether there are files of an earlier life that nobody has
// confirmed yet.
func (f *folder) unclaimed() bool {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	for _, one := range f.files {
		if !one.claimed {
			return true
		}
	}
	return false
}

// claim takes up the files of an earlier life that are right, and deletes the
// others. It returns how many were taken up.
func (f *folder) claim(right func(MediaName) bool) (taken int) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, one := range f.files {
		switch {
		case one.claimed:
		case one.size > 0 && right(name):
			one.claimed = true
			taken++
		default:
			d.delete(one)
		}
	}
	return taken
}

// trim deletes segments that were filmed before a date.
func (f *folder) trim(before time.Time) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, one := range f.files {
		if name.Kind != Init && one.date.Before(before) {
			d.delete(one)
		}
	}
}

// kept is the first segment that a list may name: those before were given up
// for want of space.
func (f *folder) kept() uint64 {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.upTo
}

// removeAll deletes the folder of a stream with all that is in it.
func (d *disk) removeAll(stream string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, f := range d.folders {
		if name, _, _ := strings.Cut(key, "/"); name != stream {
			continue
		}
		for _, one := range f.files {
			d.forget(one)
		}
	}
	return os.RemoveAll(filepath.Join(d.root, stream))
}

// streams are the names of those that have a folder.
func (d *disk) streams() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[string]bool{}
	for key := range d.folders {
		name, _, _ := strings.Cut(key, "/")
		found[name] = true
	}
	return found
}
