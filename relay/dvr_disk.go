package relay

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// errDiskFull: neither the budget nor the file system has room for one more.
var errDiskFull = errors.New("the disk is full")

const (
	// diskReserve is what is left free on the file system: others write to it,
	// a journal for example, and a full one stops them.
	diskReserve = 256 << 20
	// diskEvictions bounds how many files make room for one: where somebody
	// else fills the disk, what was given up would be taken at once.
	diskEvictions = 8
	// tempName begins the names of files that are being written.
	tempName = ".writing-"
)

// disk keeps the media of all long lists of a node as files:
//
//	root/{stream}/{rendition}/{epoch}/{msn}.m4s, init-{n}.mp4
//
// The names are made from parsed ones. A file is written under another name
// and renamed when it is whole and durable, so what has its name can be served.
// The oldest go first, by the date of what they show, which is the file's
// modification time.
type disk struct {
	root   string
	budget int64 // bytes
	log    *slog.Logger
	free   func() int64 // bytes that the file system has left for us

	mu      sync.Mutex
	folders map[string]*folder // by stream/rendition
	bytes   int64              // of all files
	listed  fileHeap           // segments that lists may name
	// released are segments that lists name no more, while they may still be
	// asked for: the last twentieth of the budget.
	released      fileHeap
	releasedBytes int64
	trouble       error // what the last write met; nil when it went well
}

// folder is where the media of one rendition are.
type folder struct {
	disk *disk
	path string

	// Guarded by disk.mu.
	files    map[MediaName]*file
	segments map[Epoch]int // how many of each epoch
	// upTo is the first segment that lists may still name.
	upTo uint64
}

// file is a media object on disk.
type file struct {
	folder  *folder
	name    MediaName
	size    int64
	date    time.Time
	claimed bool // false: of an earlier life, and not yet known to be right
	heap    *fileHeap
	index   int // in heap
}

// openDisk opens root, and finds what is in it.
func openDisk(root string, budget int64, log *slog.Logger) (*disk, error) {
	d := &disk{root: root, budget: budget, log: log, folders: map[string]*folder{}}
	d.free = d.statfs
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the DVR's folder: %w", err)
	}
	if err := d.scan(); err != nil {
		return nil, fmt.Errorf("read the DVR's folder: %w", err)
	}
	return d, nil
}

// statfs tells how many bytes can be written beyond the reserve.
func (d *disk) statfs() int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.root, &s); err != nil {
		return diskReserve // not known: a write will tell
	}
	return int64(s.Bavail)*int64(s.Bsize) - diskReserve
}

// folder returns the place of a rendition. The names are of the form that
// validLabel holds them to.
func (d *disk) folder(stream, rendition string) *folder {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.folderOf(stream, rendition)
}

// folderOf needs d.mu.
func (d *disk) folderOf(stream, rendition string) *folder {
	key := stream + "/" + rendition
	f := d.folders[key]
	if f == nil {
		f = &folder{disk: d, path: filepath.Join(d.root, stream, rendition), files: map[MediaName]*file{}, segments: map[Epoch]int{}}
		d.folders[key] = f
	}
	return f
}

// has tells whether the object is here and may be served.
func (f *folder) has(name MediaName) bool {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.files[name] != nil && f.files[name].claimed
}

// open opens an object for reading. It stays readable when it is deleted
// meanwhile. The error is fs.ErrNotExist when it is not here.
func (f *folder) open(name MediaName) (*os.File, int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	one := f.files[name]
	if one == nil || !one.claimed {
		return nil, 0, fs.ErrNotExist
	}
	opened, err := os.Open(f.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		f.disk.forget(one) // somebody else deleted it
	}
	return opened, one.size, err
}

func (f *folder) file(name MediaName) string { return filepath.Join(f.path, name.String()) }

// write stores an object that was filmed at date, as fill writes it, of about
// size bytes. One that is here already stays as it is.
func (f *folder) write(name MediaName, date time.Time, size int64, fill func(io.Writer) error) (err error) {
	d := f.disk
	if f.has(name) {
		return nil
	}
	defer func() { d.tell(err) }()
	if err := d.makeRoom(size); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.file(name)), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	temp, err := os.CreateTemp(f.path, tempName+"*")
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	defer os.Remove(temp.Name()) // fails once it was renamed
	if err := errors.Join(writeWhole(temp, fill), temp.Close()); err != nil {
		return err
	}
	if err := os.Chtimes(temp.Name(), date, date); err != nil {
		return fmt.Errorf("date file: %w", err)
	}
	return f.adopt(temp.Name(), name)
}

// writeWhole returns when the content is durable.
func writeWhole(temp *os.File, fill func(io.Writer) error) error {
	if err := fill(temp); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return nil
}

// adopt gives a file that is whole its name.
func (f *folder) adopt(temp string, name MediaName) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	// Its folder may have been empty, and deleted, meanwhile.
	if err := os.MkdirAll(filepath.Dir(f.file(name)), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Rename(temp, f.file(name)); err != nil {
		return fmt.Errorf("name file: %w", err)
	}
	info, err := os.Stat(f.file(name))
	if err != nil {
		return fmt.Errorf("look at file: %w", err)
	}
	if old := f.files[name]; old != nil {
		d.forget(old)
	}
	d.note(&file{folder: f, name: name, size: info.Size(), date: info.ModTime(), claimed: true})
	return nil
}

// tell logs when writing begins to fail and when it works again, not each time
// between.
func (d *disk) tell(err error) {
	d.mu.Lock()
	before := d.trouble
	var notOurs *foreignError
	if !errors.As(err, &notOurs) {
		d.trouble = err
	}
	after, bytes := d.trouble, d.bytes
	d.mu.Unlock()
	switch {
	case before == nil && after != nil:
		d.log.Error("the DVR does not grow, live goes on", "err", after, "folder", d.root, "bytes", bytes)
	case before != nil && after == nil:
		d.log.Info("the DVR grows again", "folder", d.root, "bytes", bytes)
	}
}

// foreignError is a failure of what is being written, not of the disk.
type foreignError struct{ error }

func (e *foreignError) Unwrap() error { return e.error }

// makeRoom deletes the oldest until size more bytes fit.
func (d *disk) makeRoom(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	soft := d.budget - d.budget/20
	for d.listed.Len() > 0 && d.bytes-d.releasedBytes+size > soft {
		d.release(d.listed.files[0])
	}
	for d.bytes+size > d.budget {
		if !d.deleteOldest() {
			return fmt.Errorf("%w: the budget of %d bytes is too small", errDiskFull, d.budget)
		}
	}
	for n := 0; d.free() < size; n++ {
		if n == diskEvictions || !d.deleteOldest() {
			return errDiskFull
		}
	}
	return nil
}

// release says that lists must not name the file any more. It needs d.mu.
func (d *disk) release(one *file) {
	heap.Remove(&d.listed, one.index)
	heap.Push(&d.released, one)
	d.releasedBytes += one.size
	one.folder.upTo = max(one.folder.upTo, one.name.Number+1)
}

// deleteOldest needs d.mu. It tells whether there was one.
func (d *disk) deleteOldest() bool {
	if d.released.Len() == 0 {
		if d.listed.Len() == 0 {
			return false
		}
		d.release(d.listed.files[0])
	}
	d.delete(d.released.files[0])
	return true
}

// delete needs d.mu.
func (d *disk) delete(one *file) {
	d.forget(one)
	f := one.folder
	if err := os.Remove(f.file(one.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("delete from the DVR", "err", err)
	}
	if one.name.Kind != Init && f.segments[one.name.Epoch] == 0 {
		f.tidy(one.name.Epoch)
	}
}

// tidy deletes the init segments of an epoch that has no other media, save
// those of the newest one, which is about to have some. It needs d.mu.
func (f *folder) tidy(epoch Epoch) {
	newest := epoch
	for name := range f.files {
		newest = max(newest, name.Epoch)
	}
	if newest == epoch {
		return
	}
	for name, one := range f.files {
		if name.Epoch == epoch {
			f.disk.delete(one)
		}
	}
	// Fails while there is anything else in it.
	_ = os.Remove(filepath.Join(f.path, epoch.String()))
}

// note takes a file into account. It needs d.mu.
func (d *disk) note(one *file) {
	one.folder.files[one.name] = one
	d.bytes += one.size
	// Init segments are small, and go with the last segment that needs them.
	if one.name.Kind != Init {
		one.folder.segments[one.name.Epoch]++
		heap.Push(&d.listed, one)
	}
}

// forget needs d.mu.
func (d *disk) forget(one *file) {
	delete(one.folder.files, one.name)
	d.bytes -= one.size
	if one.heap == &d.released {
		d.releasedBytes -= one.size
	}
	if one.heap != nil {
		one.folder.segments[one.name.Epoch]--
		heap.Remove(one.heap, one.index)
	}
}

// usage returns how much is here.
func (d *disk) usage() (files int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.folders {
		files += len(f.files)
	}
	return files, d.bytes
}

// fileHeap has the oldest file first.
type fileHeap struct{ files []*file }

func (h *fileHeap) Len() int           { return len(h.files) }
func (h *fileHeap) Less(i, j int) bool { return h.files[i].date.Before(h.files[j].date) }

func (h *fileHeap) Swap(i, j int) {
	h.files[i], h.files[j] = h.files[j], h.files[i]
	h.files[i].index, h.files[j].index = i, j
}

func (h *fileHeap) Push(x any) {
	one := x.(*file)
	one.heap, one.index = h, len(h.files)
	h.files = append(h.files, one)
}

func (h *fileHeap) Pop() any {
	last := len(h.files) - 1
	one := h.files[last]
	h.files[last], h.files = nil, h.files[:last]
	one.heap = nil
	return one
}
