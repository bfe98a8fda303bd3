package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// madeList is the long list at the origin: made here, from what closes here,
// and remembered over restarts.
type madeList struct {
	recording *Recording

	begun chan struct{} // closed when there is a segment, and from then on there is one

	mu      sync.Mutex
	builder longBuilder
	version *longList // nil: to be rendered for the next who asks
	index   longIndex
}

// newMadeList goes on with the list of an earlier life, as far as its media are
// still there.
func newMadeList(r *Recording, c Constants) (*madeList, error) {
	m := &madeList{recording: r, begun: make(chan struct{}), index: longIndex{path: filepath.Join(r.folder.path, indexName)}}
	m.builder.length, m.builder.target = r.length, c.TargetDuration
	header, segments, err := m.index.load()
	if err != nil {
		return nil, err
	}
	if header.target == c.TargetDuration {
		m.builder.resume(header, segments)
	}
	m.builder.slide(m.index.from)
	m.claim()
	m.builder.slide(0)
	m.index.stale = true // written anew with the first segment
	m.begin()
	return m, nil
}

// resume makes b go on with these segments.
func (b *longBuilder) resume(h longHeader, segments []Segment) {
	b.sequence, b.discontinuity, b.last = h.sequence, h.discontinuity, h.discontinuity
	b.ended = h.ended
	for i := range segments {
		if segments[i].Discontinuity {
			b.last++
		}
		b.push(segments[i])
	}
}

// claim takes up what is on disk. A segment that is missing there becomes a
// gap, and gaps at the front go.
func (m *madeList) claim() {
	named := map[MediaName]bool{}
	b := &m.builder
	for i := range b.segments {
		named[b.segments[i].Map] = true
		if !b.segments[i].Gap {
			named[b.segments[i].Name] = true
		}
	}
	folder := m.recording.folder
	files := folder.claim(func(name MediaName) bool { return named[name] })
	from := uint64(0)
	for i := range b.segments {
		s := &b.segments[i]
		s.Gap = s.Gap || !folder.has(s.Name) || !folder.has(s.Map)
		if !s.Gap && from == 0 {
			from = s.Name.Number
		}
	}
	if from == 0 {
		b.segments, b.total = nil, 0
		return
	}
	b.slide(from)
	m.recording.log.Info("the DVR of an earlier start goes on", "files", files, "length", b.total)
}

func (m *madeList) newest(context.Context) (*longList, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.builder.segments) == 0 {
		return nil, ErrNotFound
	}
	if m.version == nil {
		m.version = m.builder.version()
	}
	return m.version, nil
}

func (m *madeList) first(ctx context.Context) (*longList, error) {
	select {
	case <-m.begun:
		return m.newest(ctx)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// begin tells those who wait for a first segment when there is one. It needs
// m.mu.
func (m *madeList) begin() {
	select {
	case <-m.begun:
	default:
		if len(m.builder.segments) > 0 {
			close(m.begun)
		}
	}
}

// keep appends a segment that is on disk.
func (m *madeList) keep(s Segment, discontinuity uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &m.builder
	if b.ended {
		b.ended, m.index.stale = false, true // it lives on after a restart
	}
	added := b.add(s, discontinuity)
	m.index.dropped += b.slide(m.recording.folder.kept())
	m.version = nil
	m.begin()
	m.save(min(added, len(b.segments)))
}

// save writes what is new to the index. An index that can't be written costs
// the list after a restart, nothing now.
func (m *madeList) save(added int) {
	if err := m.index.save(&m.builder, added); err != nil {
		m.recording.dvr.disk.tell(err)
	}
}

func (m *madeList) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.builder.ended || len(m.builder.segments) == 0 {
		return
	}
	m.builder.ended, m.version, m.index.stale = true, nil, true
	m.save(0)
}

// fetch finds nothing: what an origin does not have, nobody has.
func (m *madeList) fetch(context.Context, MediaName, *longList) error { return ErrNotFound }

func (m *madeList) run(ctx context.Context) { <-ctx.Done() }

// indexName is the file of a long list, beside its epochs' folders.
const indexName = "list.m3u8"

// longIndex is a long list in a file: appended to with each segment, and
// written anew when half of it is gone from the list.
type longIndex struct {
	path    string
	stale   bool      // to be written anew
	from    uint64    // where the list began when it was loaded
	dropped int       // segments in the file that left the list
	inForce MediaName // the MAP at the file's end
}

// load reads the file, up to where a crash or a full disk cut it off.
func (x *longIndex) load() (longHeader, []Segment, error) {
	text, err := os.ReadFile(x.path)
	if errors.Is(err, fs.ErrNotExist) {
		return longHeader{}, nil, nil
	}
	if err != nil {
		return longHeader{}, nil, fmt.Errorf("read the long list: %w", err)
	}
	var segments []Segment
	header, _ := scanLongList(text, func(s *Segment) { segments = append(segments, *s) })
	x.from = header.sequence
	for line := range bytes.Lines(text) {
		value, tagged := bytes.CutPrefix(line, []byte(fromTag))
		value, whole := bytes.CutSuffix(value, []byte("\n"))
		if n, ok := parseDecimal(string(value)); tagged && whole && ok {
			x.from = n
		}
	}
	return header, segments, nil
}

// save brings the file up to date, b's last segments being new.
func (x *longIndex) save(b *longBuilder, added int) error {
	if x.stale || added == len(b.segments) || x.dropped > len(b.segments)+100 {
		return x.rewrite(b)
	}
	text := append([]byte(fromTag), strconv.FormatUint(b.sequence, 10)...)
	text = x.appendSegments(append(text, '\n'), b.segments[len(b.segments)-added:])
	f, err := os.OpenFile(x.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		x.stale = true // half a line may stand there
		return fmt.Errorf("append to the long list: %w", err)
	}
	return nil
}

// fromTag says with which segment the list begins: what stands before it in the
// file was dropped, and must not come back.
const fromTag = "#SURGECAST-FROM:"

func (x *longIndex) appendSegments(text []byte, segments []Segment) []byte {
	for i := range segments {
		text = segments[i].appendLong(text, x.inForce)
		x.inForce = segments[i].Map
	}
	return text
}

// rewrite replaces the file.
func (x *longIndex) rewrite(b *longBuilder) error {
	x.stale, x.dropped, x.inForce = true, 0, MediaName{}
	text := x.appendSegments(b.appendHeader(nil), b.segments)
	if b.ended {
		text = append(text, endList...)
	}
	f, err := os.CreateTemp(filepath.Dir(x.path), tempName+"*")
	if err != nil {
		return fmt.Errorf("write the long list: %w", err)
	}
	defer os.Remove(f.Name()) // fails once it was renamed
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), x.path)
	}
	if err != nil {
		return fmt.Errorf("write the long list: %w", err)
	}
	x.stale = false
	return nil
}
