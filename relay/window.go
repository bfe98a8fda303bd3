package relay

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	// ErrLost: no upstream has confirmed the list for too long, so it must not
	// be given as the newest. To the server it is as ErrStalled.
	ErrLost = fmt.Errorf("%w: its source is lost", ErrStalled)
	// ErrMissingMedia: a list names media that were not put before it.
	ErrMissingMedia = errors.New("the list names media that are not here")
)

// Object is a whole media object. Its bytes never change, so they are shared
// without copies.
type Object struct {
	Name     MediaName
	Body     []byte
	Duration time.Duration // 0 of an init segment

	parts   []*Object                // of a segment that was put in parts: its bytes are theirs, and counted there
	join    func() *Object           // of one that nobody has asked for yet: returns it with a Body
	caching []string                 // for how long caches may keep it: Cache-Control
	answer  atomic.Pointer[prepared] // nil until asked for
}

// whole returns the object with its bytes in Body. The first who asks for a
// segment that was put in parts joins them, and others who ask meanwhile wait
// for that: some ms, however large it is. Nobody who holds w.mu calls it.
func (o *Object) whole() *Object {
	if o == nil || o.join == nil {
		return o
	}
	return o.join()
}

// pieces are the object's bytes, in order.
func (o *Object) pieces() [][]byte {
	if o.join == nil {
		return [][]byte{o.Body}
	}
	pieces := make([][]byte, len(o.parts))
	for i, part := range o.parts {
		pieces[i] = part.Body
	}
	return pieces
}

// Window is the live window of one rendition: the newest list and all media
// that it names. One fills it (an origin's timeline or a relay's follower),
// any number read and wait. It is bounded in time by the list, and what left it
// less than keep ago, and in bytes by its stream's budget.
type Window struct {
	constants Constants
	caching   *caching
	budget    *budget

	joining sync.Mutex // before mu; so only one segment at a time stands in memory twice

	mu       sync.Mutex
	version  *Version                // nil until the first list
	changed  chan struct{}           // closed at the next version and at Close
	closed   bool                    // nothing comes any more
	objects  map[MediaName]*Object   // whole objects
	coming   map[MediaName]*incoming // objects of which the first bytes are here
	awaited  map[MediaName]*awaiting // objects to come that somebody waits for
	left     []leaving               // out of the list, oldest first
	floor    uint64                  // listed segments below it need not be here
	length   time.Duration           // of the live list, as the origin is configured
	lookBack time.Duration           // for how long segments can be had when they have left
	kept     []string                // Cache-Control of segments, by these two
	trusted  time.Time               // how long the list may be given as the newest; zero: it is the truth

	published time.Time // when version became the newest
}

// awaiting is a wait for one object that all who ask for it share.
type awaiting struct {
	done   chan struct{} // closed when object is set, or never will be
	object *Object       // nil when it never will come

	// Under Window.mu.
	arriving *incoming     // once its first bytes are here
	begun    chan struct{} // closed when arriving is set
	waiters  int           // with the last one the wait goes
}

// leaving is a segment that left the list, kept for clients that read an
// older one.
type leaving struct {
	segment Segment
	at      time.Time
}

// NewWindow returns an empty window for a stream of these constants.
func NewWindow(c Constants) *Window {
	w := &Window{
		constants: c,
		caching:   newCaching(c),
		budget:    newBudget(),
		changed:   make(chan struct{}),
		objects:   map[MediaName]*Object{},
		coming:    map[MediaName]*incoming{},
		awaited:   map[MediaName]*awaiting{},
		length:    DefaultWindow,
	}
	w.keepMedia()
	return w
}

// Put stores a whole object before the list that names it, and gives it to
// those who wait for it. The body must not be changed afterwards. A second Put
// of a name is ignored: published bytes never change. So is one beyond the
// budget: the list that names it then can't be published.
func (w *Window) Put(name MediaName, body []byte, duration time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.put(&Object{Name: name, Body: body, Duration: duration})
}

// put needs w.mu. Errors: ErrBudget.
func (w *Window) put(o *Object) error {
	if w.closed || w.objects[o.Name] != nil {
		return nil
	}
	if !w.budget.take(int64(len(o.Body))) {
		return fmt.Errorf("store %v: %w", o.Name, ErrBudget)
	}
	w.store(o)
	w.shed()
	return nil
}

// store needs w.mu; the object's bytes are counted already.
func (w *Window) store(o *Object) {
	o.caching = w.mediaCaching(o.Name)
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
// that it closes consist of the parts that were put. It keeps text.
//
// Errors: ErrPlaylist, ErrStepBack, ErrMissingMedia; the window then stays as
// it was.
func (w *Window) Publish(text []byte) error {
	v, err := newVersion(text)
	if err != nil {
		return err
	}
	return w.publish(v)
}

func (w *Window) publish(v *Version) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrNotFound
	}
	if w.version != nil && string(w.version.Text) == string(v.Text) {
		return nil
	}
	if err := w.admits(v); err != nil {
		return err
	}
	if err := w.complete(v.Playlist); err != nil {
		return err
	}
	before := w.version
	w.version, w.published = v, time.Now()
	w.retire(before)
	w.shed()
	w.settle()
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

// check tells why v can't be the next list, its media aside.
func (w *Window) check(v *Version) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.admits(v)
}

// admits needs w.mu.
func (w *Window) admits(v *Version) error {
	if v.Playlist.Constants != w.constants {
		return fmt.Errorf("%w: its constants differ from the stream's", ErrPlaylist)
	}
	if w.version == nil {
		return nil
	}
	return v.Playlist.follows(w.version.Playlist)
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
