package relay

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bodies that are sent from memory files are the bodies, and share a file.
func TestLargeBodiesAreSentFromAFile(t *testing.T) {
	l, f, addr := laneOf(t)
	bodies := make([][]byte, 5)
	name := func(i int) MediaName { return MediaName{Kind: SegmentMedia, Epoch: f.epoch, Number: uint64(1 + i)} }
	for i := range bodies {
		// Odd sizes, one of them larger than a file otherwise is.
		bodies[i] = bytes.Repeat([]byte{byte('a' + i), '\n', 'x'}, (30<<10)*(1+i)+i)
		if i == 3 {
			bodies[i] = bytes.Repeat(bodies[i], 24)
		}
		f.window.Put(name(i), bodies[i], time.Second)
	}
	for i := range 2 * len(bodies) {
		want := bodies[i%len(bodies)]
		resp, err := http.Get("http://" + addr + "/theatre/main/" + name(i%len(bodies)).String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if size, want := l.files.bytes.Load(), int64(fileBytes+roundUp(len(bodies[3]), largePage)); size != want {
		t.Errorf("the files have %d bytes instead of %d", size, want)
	}
}

// A file is closed when no body of it is left, and there are never more than
// their bound.
func TestFilesAreBoundedAndClosed(t *testing.T) {
	var files memoryFiles
	body := make([]byte, fileBytes/2)
	var answers []*prepared
	for range 2*filesMost/fileBytes + 1 {
		answers = append(answers, &prepared{body: body})
	}
	in := 0
	for _, p := range answers {
		if files.of(p) != nil {
			in++
		}
	}
	if size := files.bytes.Load(); in != len(answers)-1 || size != filesMost {
		t.Errorf("%d of %d bodies are in files of %d bytes", in, len(answers), size)
	}
	runtime.KeepAlive(answers)
	answers = nil
	until(t, "only the newest is open", func() bool { runtime.GC(); return files.bytes.Load() <= fileBytes })
}

// A body in a file lies in large pages where the system has any.
func TestFilesHaveLargePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no large pages")
	}
	var files memoryFiles
	b := files.of(&prepared{body: make([]byte, largePage+1)})
	if b == nil {
		t.Fatal("no file")
	}
	// Where a mapping of it may have a large page it gets one at the first touch.
	room, err := unix.MmapPtr(-1, 0, nil, 2*largePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.MunmapPtr(room, 2*largePage)
	at := unsafe.Add(room, -uintptr(room)&(largePage-1))
	if _, err := unix.MmapPtr(b.file.fd, 0, at, largePage, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_POPULATE); err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, of, _ := strings.Cut(string(maps), "/memfd:media")
	of, _, _ = strings.Cut(of, "VmFlags")
	if !strings.Contains(of, "ShmemPmdMapped:     2048 kB") {
		t.Skipf("this system gave no large page:%s", of)
	}
}
