package relay

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A body that many take is copied into a memory file, from which the kernel
// sends without copying it again for each viewer. Bodies that come one after
// the other share a file, and with it large pages: what the kernel spends on
// sending it spends for each page.
const (
	fileLeast = 64 << 10      // bytes; a smaller body is cheaper to copy
	fileBytes = 4 * largePage // of a file; a larger body gets one of its own
	filesMost = 128 << 20     // bytes of all files, outside Go's memory limit; beyond it bodies are copied
	fileAlign = 4 << 10       // where a body begins: at a page
)

// memoryFiles are the files that are open. Only the newest is written to.
type memoryFiles struct {
	bytes atomic.Int64

	mu     sync.Mutex
	newest *memoryFile
	filled int // bytes of the newest
	large  int // bytes of the newest that are in large pages, as far as the system had some
}

// memoryFile holds bodies. Its descriptor is closed when nothing refers to it
// any more: one that is being sent from is never closed, nor its number used
// again for another stream's bytes.
type memoryFile struct {
	fd   int
	size int
}

// fileBody is where a body is in a file.
type fileBody struct {
	file *memoryFile
	at   int
}

// of returns where an answer's body is in a file, nil when it is to be copied.
func (m *memoryFiles) of(p *prepared) *fileBody {
	if b := p.file.Load(); b != nil || len(p.body) < fileLeast {
		return b
	}
	// Who comes while a body is being put into a file does not wait for that.
	if !m.mu.TryLock() {
		return nil
	}
	defer m.mu.Unlock()
	if p.file.Load() == nil {
		p.file.Store(m.put(p.body))
	}
	return p.file.Load()
}

// put copies a body into a file. It returns nil when there are files enough,
// or the system refuses. m.mu is held.
func (m *memoryFiles) put(body []byte) *fileBody {
	if m.newest == nil || m.filled+len(body) > m.newest.size {
		m.newest, m.filled, m.large = m.create(max(fileBytes, roundUp(len(body), largePage))), 0, 0
		if m.newest == nil {
			return nil
		}
	}
	b := &fileBody{m.newest, m.filled}
	m.filled = roundUp(b.at+len(body), fileAlign)
	for ; m.large < m.filled; m.large += largePage {
		enlarge(b.file.fd, m.large)
	}
	for n := 0; n < len(body); {
		written, err := syscall.Pwrite(b.file.fd, body[n:], int64(b.at+n))
		if err != nil && err != syscall.EINTR {
			return nil
		}
		n += max(written, 0)
	}
	return b
}

// create returns nil when there are files enough, or the system refuses.
func (m *memoryFiles) create(size int) *memoryFile {
	if m.bytes.Add(int64(size)) > filesMost {
		m.bytes.Add(int64(-size))
		return nil
	}
	fd, err := unix.MemfdCreate("media", unix.MFD_CLOEXEC)
	if err != nil {
		m.bytes.Add(int64(-size))
		return nil
	}
	f := &memoryFile{fd, size}
	runtime.AddCleanup(f, func(gone memoryFile) {
		_ = syscall.Close(gone.fd)
		m.bytes.Add(int64(-gone.size))
	}, *f)
	if unix.Ftruncate(fd, int64(size)) != nil {
		return nil
	}
	return f
}

// send makes one call of sendfile for n bytes of the body, from an offset.
func (b *fileBody) send(to, offset, n int) (int, error) {
	at := int64(b.at + offset)
	if n <= briefFileBytes {
		return brieflyFile(to, b.file.fd, &at, n)
	}
	return syscall.Sendfile(to, b.file.fd, &at, n)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
