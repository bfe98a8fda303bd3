package relay

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Store holds the streams of this node. It is safe for concurrent use.
type Store struct {
	mu      sync.RWMutex
	streams map[string]*Stream
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{streams: map[string]*Stream{}} }

// Stream returns the stream of that name, or nil.
func (s *Store) Stream(name string) *Stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.streams[name]
}

// Create returns the stream of that name, a new one if there is none. The
// number of streams is bounded by who calls: a configuration or a catalogue.
func (s *Store) Create(name string, c Constants) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[name]
	if st == nil {
		st = &Stream{
			Name: name, Constants: c, caching: newCaching(c), budget: newBudget(), length: DefaultWindow,
			windows: map[string]*Window{}, recordings: map[string]*Recording{}, recorded: make(chan struct{}), more: make(chan struct{}),
		}
		s.streams[name] = st
	}
	return st
}

// Remove forgets a stream and ends all waits for it.
func (s *Store) Remove(name string) {
	s.mu.Lock()
	st := s.streams[name]
	delete(s.streams, name)
	s.mu.Unlock()
	if st != nil {
		st.close()
	}
}

// Streams returns the streams in the order of their names.
func (s *Store) Streams() []*Stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Stream, 0, len(s.streams))
	for _, name := range slices.Sorted(maps.Keys(s.streams)) {
		all = append(all, s.streams[name])
	}
	return all
}

// Stream is one stream: its multivariant playlist and a window for each
// rendition.
type Stream struct {
	Name      string
	Constants Constants
	caching   *caching
	budget    *budget // of all renditions together

	mu         sync.RWMutex  // before Window.mu
	length     time.Duration // of the live lists, as the origin is configured
	index      *rendering    // of the multivariant playlist; nil until it is known
	longIndex  *rendering    // of that of the long lists
	rates      rates
	windows    map[string]*Window
	looked     bool                  // viewers can look back on it
	recordings map[string]*Recording // of the renditions that are recorded by now
	recorded   chan struct{}         // closed when looked or recordings change
	more       chan struct{}         // closed when there is one more window
}

// SetIndex sets the text of the multivariant playlist.
func (st *Stream) SetIndex(text []byte) {
	r, long, l := newRendering(text), newRendering(longIndexText(text)), readRates(text)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.index, st.longIndex, st.rates = r, long, l
}

// sessionRate is what a session of this stream is expected to need, bits/s; 0
// while that is not known.
func (st *Stream) sessionRate() int64 {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.rates.rate
}

// rung is the place of a rendition among so many: 0 is the lowest, and what is
// no variant.
func (st *Stream) rung(rendition string) (rung, rungs int) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return max(slices.Index(st.rates.rungs, rendition), 0), len(st.rates.rungs)
}

// Index returns the text of the multivariant playlist, or nil.
func (st *Stream) Index() []byte {
	if r := st.indexRendering(); r != nil {
		return r.text
	}
	return nil
}

func (st *Stream) indexRendering() *rendering {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.index
}

// Window returns a rendition's window, or nil.
func (st *Stream) Window(rendition string) *Window {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.windows[rendition]
}

// CreateWindow returns a rendition's window, a new one if there is none.
func (st *Stream) CreateWindow(rendition string) *Window {
	st.mu.Lock()
	defer st.mu.Unlock()
	w := st.windows[rendition]
	if w == nil {
		w = NewWindow(st.Constants)
		w.caching, w.budget = st.caching, st.budget
		w.setLength(st.length)
		st.windows[rendition] = w
		close(st.more)
		st.more = make(chan struct{})
	}
	return w
}

// SetLength says how long the live lists are, as the origin is configured:
// caches may keep their media that long. Default DefaultWindow.
func (st *Stream) SetLength(length time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.length = length
	for _, w := range st.windows {
		w.setLength(length)
	}
}

// grown returns a channel that is closed when there is one more window.
func (st *Stream) grown() <-chan struct{} {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.more
}

// recording returns what viewers can look back on of a rendition, or nil.
func (st *Stream) recording(rendition string) *Recording {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.recordings[rendition]
}

// setRecording lets viewers look back on a rendition; nil: no more.
func (st *Stream) setRecording(rendition string, r *Recording) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.recordings[rendition] = r
	if r == nil {
		delete(st.recordings, rendition)
	}
	st.tellRecorded()
}

// setLookedBack says whether viewers can look back: a recording of each
// rendition comes then, if it is not there yet.
func (st *Stream) setLookedBack(looked bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.looked = looked
	st.tellRecorded()
}

// tellRecorded needs st.mu.
func (st *Stream) tellRecorded() {
	close(st.recorded)
	st.recorded = make(chan struct{})
}

// awaitRecording is recording, but waits for one that is to come. Errors:
// ErrNotFound where none is; the context's.
func (st *Stream) awaitRecording(ctx context.Context, rendition string) (*Recording, error) {
	for {
		st.mu.RLock()
		r, looked, recorded := st.recordings[rendition], st.looked, st.recorded
		st.mu.RUnlock()
		switch {
		case r != nil:
			return r, nil
		case !looked:
			return nil, ErrNotFound
		}
		select {
		case <-recorded:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// longIndexRendering returns the multivariant playlist of the long lists, or
// nil where viewers can't look back.
func (st *Stream) longIndexRendering() *rendering {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if !st.looked {
		return nil
	}
	return st.longIndex
}

// Renditions returns the names of the renditions in their order.
func (st *Stream) Renditions() []string {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return slices.Sorted(maps.Keys(st.windows))
}

func (st *Stream) close() {
	for _, name := range st.Renditions() {
		st.Window(name).Close()
	}
}

// Lag returns the age of the newest media of the stream that is farthest
// behind: from the end of its last part to now. False when there is none.
func (s *Store) Lag() (time.Duration, bool) {
	var worst time.Duration
	found := false
	for _, st := range s.Streams() {
		for _, name := range st.Renditions() {
			v := st.Window(name).Version()
			if v == nil || v.Playlist.Ended || v.Playlist.End().IsZero() {
				continue
			}
			worst, found = max(worst, time.Since(v.Playlist.End())), true
		}
	}
	return worst, found
}
