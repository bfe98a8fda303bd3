package relay

import (
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A body that many take is copied into a memory file, from which the kernel
// sends without copying it again for each viewer.
const (
	fileLeast = 64 << 10  // bytes; a smaller body is cheaper to copy
	filesMost = 128 << 20 // bytes of all files, outside Go's memory limit; beyond it bodies are copied
	filesOpen = 1024      // descriptors of files; beyond it too
)

// memoryFiles counts the files that are open.
type memoryFiles struct{ bytes, open atomic.Int64 }

// memoryFile is a body in a file. Its descriptor is closed when nothing refers
// to it any more: one that is being sent from is never closed, nor its number
// used again for another stream's bytes.
type memoryFile struct {
	fd   int
	size int
}

// of returns the file of an answer's body, nil when it is to be copied.
func (m *memoryFiles) of(p *prepared) *memoryFile {
	if f := p.file.Load(); f != nil || len(p.body) < fileLeast {
		return f
	}
	bytes, open := m.bytes.Add(int64(len(p.body))), m.open.Add(1)
	if bytes > filesMost || open > filesOpen {
		m.forget(len(p.body))
		return nil
	}
	f := m.create(p.body)
	if f == nil || !p.file.CompareAndSwap(nil, f) {
		return p.file.Load() // another made it at the same time; ours is collected
	}
	return f
}

// create returns nil when the system refuses.
func (m *memoryFiles) create(body []byte) *memoryFile {
	fd, err := unix.MemfdCreate("media", unix.MFD_CLOEXEC)
	if err != nil {
		m.forget(len(body))
		return nil
	}
	f := &memoryFile{fd, len(body)}
	runtime.AddCleanup(f, func(gone memoryFile) {
		_ = syscall.Close(gone.fd)
		m.forget(gone.size)
	}, *f)
	for written := 0; written < len(body); {
		n, err := syscall.Pwrite(fd, body[written:], int64(written))
		if err != nil {
			return nil
		}
		written += n
	}
	return f
}

func (m *memoryFiles) forget(bytes int) {
	m.bytes.Add(int64(-bytes))
	m.open.Add(-1)
}
