package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Why a window has no answer; the server maps them to HTTP in one place.
var (
	// ErrNotFound: never there, or gone, or never to come.
	ErrNotFound = errors.New("not in the window")
	// ErrTooFar: so far ahead of the window that the request is a mistake.
	ErrTooFar = errors.New("too far ahead of the window")
	// ErrStalled: it should have come by now; the source stands still.
	ErrStalled = errors.New("the stream stands still")
	// ErrStepBack: a list is older than the one that is published.
	ErrStepBack = errors.New("the list steps back")
	// ErrMissingMedia: a list names media that were not put before it.
	ErrMissingMedia = errors.New("the list names media that are not here")
)

// Object is a whole media object. Its bytes never change, so they are shared
// without copies.
type Object struct {
	Name     MediaName
	Body     []byte
	Duration time.Duration // 0 of an init segment
}

// Window is the live window of one rendition: the newest list and all media
// that it names. One fills it (an origin's timeline or a relay's follower),
// any number read and wait. Its size is bounded by who fills it: it holds what
// the newest list names, and what left a list less than keep ago.
type Window struct {
	constants Constants

	mu      sync.Mutex
	version *Version                // nil until the first list
	changed chan struct{}           // closed at the next version and at Close
	closed  bool                    // nothing comes any more
	objects map[MediaName]*Object   // whole objects
	awaited map[MediaName]*awaiting // objects to come that somebody waits for
	left    []leaving               // out of the list, oldest first
}

// awaiting is a wait for one object that all who ask for it share.
type awaiting struct {
	done    chan struct{} // closed when object is set, or never will be
	object  *Object       // nil when it never will come
	waiters int           // under Window.mu; with the last one the wait goes
}

// leaving is a segment that left the list, kept for clients that read an
// older one.
type leaving struct {
	segment Segment
	at      time.Time
}

// NewWindow returns an empty window for a stream of these constants.
func NewWindow(c Constants) *Window {
	return &Window{
		constants: c,
		changed:   make(chan struct{}),
		objects:   map[MediaName]*Object{},
		awaited:   map[MediaName]*awaiting{},
	}
}

// Put stores a whole object before the list that names it, and gives it to
// those who wait for it. The body must not be changed afterwards. A second Put
// of a name is ignored: published bytes never change.
func (w *Window) Put(name MediaName, body []byte, duration time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.objects[name] != nil {
		return
	}
	w.store(&Object{Name: name, Body: body, Duration: duration})
}

// store needs w.mu.
func (w *Window) store(o *Object) {
	w.objects[o.Name] = o
	if a := w.awaited[o.Name]; a != nil {
		a.object = o
		close(a.done)
		delete(w.awaited, o.Name)
	}
}

// Has tells whether the object is here.
func (w *Window) Has(name MediaName) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.objects[name] != nil
}

// Publish makes text the newest list and wakes all who wait for it. Segments
// that it closes are put together from their parts here. It keeps text.
//
// Errors: ErrPlaylist, ErrStepBack, ErrMissingMedia; the window then stays as
// it was.
func (w *Window) Publish(text []byte) error {
	v, err := newVersion(text)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrNotFound
	}
	if v.Playlist.Constants != w.constants {
		return fmt.Errorf("%w: its constants differ from the stream's", ErrPlaylist)
	}
	if w.version != nil {
		if string(w.version.Text) == string(text) {
			return nil
		}
		if err := v.Playlist.follows(w.version.Playlist); err != nil {
			return err
		}
	}
	if err := w.complete(v.Playlist); err != nil {
		return err
	}
	before := w.version
	w.version = v
	w.retire(before)
	w.settle()
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

// follows tells why p can't come after q.
func (p *Playlist) follows(q *Playlist) error {
	switch {
	case p.Epoch() < q.Epoch():
		return fmt.Errorf("%w: epoch %v after %v", ErrStepBack, p.Epoch(), q.Epoch())
	case p.MediaSequence < q.MediaSequence:
		return fmt.Errorf("%w: media sequence %d after %d", ErrStepBack, p.MediaSequence, q.MediaSequence)
	case p.DiscontinuitySequence < q.DiscontinuitySequence:
		return fmt.Errorf("%w: discontinuity sequence %d after %d", ErrStepBack, p.DiscontinuitySequence, q.DiscontinuitySequence)
	case p.OpenSequence() < q.OpenSequence(),
		p.OpenSequence() == q.OpenSequence() && len(p.Open.Parts) < len(q.Open.Parts):
		return fmt.Errorf("%w: ends at part %d of segment %d, after part %d of segment %d", ErrStepBack,
			len(p.Open.Parts), p.OpenSequence(), len(q.Open.Parts), q.OpenSequence())
	}
	for i := range p.Segments {
		msn := p.MediaSequence + uint64(i)
		if msn >= q.MediaSequence && msn < q.OpenSequence() && p.Segments[i].Name != q.Segments[msn-q.MediaSequence].Name {
			return fmt.Errorf("%w: segment %d has another name", ErrStepBack, msn)
		}
	}
	return nil
}

// complete makes sure that all media of p are here, and puts closed segments
// together from their parts. It needs w.mu.
func (w *Window) complete(p *Playlist) error {
	for i := range p.Segments {
		s := &p.Segments[i]
		if err := w.here(s.Map, s.Parts); err != nil {
			return err
		}
		if s.Gap || w.objects[s.Name] != nil {
			continue
		}
		if len(s.Parts) == 0 {
			return fmt.Errorf("%w: %v", ErrMissingMedia, s.Name)
		}
		w.assemble(s)
	}
	return w.here(p.Open.Map, p.Open.Parts)
}

// here tells which of these objects is missing. It needs w.mu.
func (w *Window) here(init MediaName, parts []Part) error {
	if init.Kind != 0 && w.objects[init] == nil {
		return fmt.Errorf("%w: %v", ErrMissingMedia, init)
	}
	for i := range parts {
		if !parts[i].Gap && w.objects[parts[i].Name] == nil {
			return fmt.Errorf("%w: %v", ErrMissingMedia, parts[i].Name)
		}
	}
	return nil
}

// assemble stores a segment as the concatenation of its parts. The parts then
// point into the segment, so that the bytes stand in memory once. It needs
// w.mu.
func (w *Window) assemble(s *Segment) {
	size := 0
	for i := range s.Parts {
		if !s.Parts[i].Gap {
			size += len(w.objects[s.Parts[i].Name].Body)
		}
	}
	body := make([]byte, 0, size)
	for i := range s.Parts {
		if s.Parts[i].Gap {
			continue
		}
		part := w.objects[s.Parts[i].Name]
		from := len(body)
		body = append(body, part.Body...)
		w.objects[part.Name] = &Object{Name: part.Name, Body: body[from:len(body):len(body)], Duration: s.Parts[i].Duration}
	}
	w.store(&Object{Name: s.Name, Body: body, Duration: s.Duration})
}

// keep is how long media stay after their segment left the list: what the
// slowest client that just read the list before needs.
func (w *Window) keep() time.Duration { return w.constants.maxHold() }

// retire forgets the media of segments that left the list long enough ago. It
// needs w.mu.
func (w *Window) retire(before *Version) {
	now := time.Now()
	p := w.version.Playlist
	if before != nil {
		q := before.Playlist
		for i := range q.Segments {
			if q.MediaSequence+uint64(i) >= p.MediaSequence {
				break
			}
			w.left = append(w.left, leaving{q.Segments[i], now})
		}
		// An open segment that never was closed: another epoch went on.
		if q.OpenSequence() < p.MediaSequence && len(q.Open.Parts) > 0 {
			w.left = append(w.left, leaving{q.Open, now})
		}
	}
	n := 0
	for n < len(w.left) && now.Sub(w.left[n].at) > w.keep() {
		w.drop(&w.left[n].segment)
		n++
	}
	w.left = append(w.left[:0], w.left[n:]...)
}

// drop needs w.mu.
func (w *Window) drop(s *Segment) {
	delete(w.objects, s.Name)
	epoch, msn := s.Name.Epoch, s.Name.Number
	if s.Name.Kind == 0 {
		epoch, msn = s.Parts[0].Name.Epoch, s.Parts[0].Name.Number
	}
	for part := 0; ; part++ {
		name := MediaName{Kind: PartMedia, Epoch: epoch, Number: msn, Part: part}
		if w.objects[name] == nil {
			break
		}
		delete(w.objects, name)
	}
	if s.Map.Kind != 0 && !w.maps(s.Map) {
		delete(w.objects, s.Map)
	}
}

// maps tells whether any segment that is kept needs the init segment. It needs
// w.mu.
func (w *Window) maps(init MediaName) bool {
	p := w.version.Playlist
	if p.Open.Map == init {
		return true
	}
	for i := range p.Segments {
		if p.Segments[i].Map == init {
			return true
		}
	}
	for i := range w.left {
		if w.left[i].segment.Map == init && time.Since(w.left[i].at) <= w.keep() {
			return true
		}
	}
	return false
}

// settle ends the waits for objects that will never come. It needs w.mu.
func (w *Window) settle() {
	for name, a := range w.awaited {
		if w.closed || w.upcoming(name) != nil {
			close(a.done)
			delete(w.awaited, name)
		}
	}
}

// upcoming tells why an object that is not here is not waited for: nil, if it
// is. A viewer may have come from a relay that is ahead of this one by a few
// parts, or by an epoch. It needs w.mu.
func (w *Window) upcoming(name MediaName) error {
	if w.version == nil {
		return ErrNotFound
	}
	p := w.version.Playlist
	epoch := p.Epoch()
	switch {
	case p.Ended || name.Epoch < epoch:
		return ErrNotFound
	case name.Kind == Init:
		if name.Epoch > epoch || name.Number == p.Open.Map.Number+1 {
			return nil
		}
		return ErrNotFound
	}
	part := -1
	if name.Kind == PartMedia {
		part = name.Part
	}
	switch {
	case p.has(name.Number, part) || name.Number < p.OpenSequence():
		return ErrNotFound
	case name.Epoch == epoch && p.tooFar(name.Number, part):
		return ErrTooFar
	}
	return nil
}

// Version returns the newest list, or nil before the first.
func (w *Window) Version() *Version {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

// Changed returns a channel that is closed at the next version.
func (w *Window) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// snapshot returns the newest list, the channel that is closed at the next
// one, and whether none will come.
func (w *Window) snapshot() (*Version, <-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version, w.changed, w.closed
}

// Await returns the newest list as soon as it holds the part of segment msn,
// or the whole segment when part is negative; at once when the list has ended.
//
// Errors: ErrTooFar at once; ErrStalled after 3 × TARGETDURATION; ErrNotFound
// when the window closes; the context's.
func (w *Window) Await(ctx context.Context, msn uint64, part int) (*Version, error) {
	v, changed, closed := w.snapshot()
	if v == nil {
		return nil, ErrNotFound
	}
	if v.Playlist.Ended || v.Playlist.has(msn, part) {
		return v, nil
	}
	if v.Playlist.tooFar(msn, part) {
		return nil, ErrTooFar
	}
	// Held no longer than this: an answer without what was asked for would
	// make players give up, so it is an error then.
	timer := time.NewTimer(w.constants.maxHold())
	defer timer.Stop()
	for !closed {
		select {
		case <-changed:
		case <-timer.C:
			return nil, ErrStalled
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		v, changed, closed = w.snapshot()
		if v.Playlist.Ended || v.Playlist.has(msn, part) {
			return v, nil
		}
	}
	return nil, ErrNotFound
}

// Media returns an object. One that comes next, or soon, is waited for and
// returned when it is whole.
//
// Errors: ErrNotFound; ErrTooFar; ErrStalled after 3 × TARGETDURATION; the
// context's.
func (w *Window) Media(ctx context.Context, name MediaName) (*Object, error) {
	a, o, err := w.await(name)
	if a == nil {
		return o, err
	}
	defer w.leave(name, a)
	timer := time.NewTimer(w.constants.maxHold())
	defer timer.Stop()
	select {
	case <-a.done:
		if a.object == nil {
			return nil, ErrNotFound
		}
		return a.object, nil
	case <-timer.C:
		return nil, ErrStalled
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// await returns the object, or the shared wait for it. There are never more
// waits than requests, whatever names these ask for.
func (w *Window) await(name MediaName) (*awaiting, *Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.objects[name]; o != nil {
		return nil, o, nil
	}
	if w.closed {
		return nil, nil, ErrNotFound
	}
	if err := w.upcoming(name); err != nil {
		return nil, nil, err
	}
	a := w.awaited[name]
	if a == nil {
		a = &awaiting{done: make(chan struct{})}
		w.awaited[name] = a
	}
	a.waiters++
	return a, nil, nil
}

// leave ends one request's wait.
func (w *Window) leave(name MediaName, a *awaiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.waiters--; a.waiters == 0 && w.awaited[name] == a {
		delete(w.awaited, name)
	}
}

// Close ends every wait. What is in the window stays readable.
func (w *Window) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	w.settle()
	close(w.changed)
}
