package relay

import (
	"context"
	"errors"
	"time"
)

// errToCome: it is worth waiting for.
var errToCome = errors.New("still to come")

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

// Newest returns the newest list, for a reader.
//
// Errors: ErrNotFound before the first; ErrLost.
func (w *Window) Newest() (*Version, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.version == nil:
		return nil, ErrNotFound
	case w.lost():
		return nil, ErrLost
	}
	return w.version, nil
}

// trust lets the list be given as the newest for d more. A relay calls it each
// time that an upstream confirms what it has; of a window for which it was
// never called, as an origin's, the list is always the truth.
//
// What a relay does without it, when every upstream is gone: its lists turn to
// 503 after 3 × TARGETDURATION. A list that is older would make players believe
// that nothing new came, and stay; on an error they try another relay, which
// may have what is lost here. Media stay: they are true for ever, and a player
// plays out all that it knows of.
func (w *Window) trust(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trusted = time.Now().Add(d)
}

// lost needs w.mu.
func (w *Window) lost() bool {
	return !w.trusted.IsZero() && !w.version.Playlist.Ended && time.Now().After(w.trusted)
}

// peek returns an object that is here, as it stands in memory; else nil.
func (w *Window) peek(name MediaName) *Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.objects[name]
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
// Errors: ErrTooFar and ErrLost at once; ErrStalled after 3 × TARGETDURATION;
// ErrNotFound when the window closes; the context's.
func (w *Window) Await(ctx context.Context, msn uint64, part int) (*Version, error) {
	v, err := w.ready(msn, part)
	if !errors.Is(err, errToCome) {
		return v, err
	}
	// Held no longer than this: an answer without what was asked for would
	// make players give up, so it is an error then.
	timer := time.NewTimer(w.constants.maxHold())
	defer timer.Stop()
	for {
		v, changed, closed := w.snapshot()
		switch {
		case v.Playlist.Ended || v.Playlist.has(msn, part):
			return v, nil
		case closed:
			return nil, ErrNotFound
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, ErrStalled
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// ready is Await for one who does not wait here. It makes no timer and nothing
// else that would have to be collected: each request that is held begins with it.
//
// Errors: errToCome, and those of Await that come at once.
func (w *Window) ready(msn uint64, part int) (*Version, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.version
	switch {
	case v == nil:
		return nil, ErrNotFound
	case v.Playlist.Ended || v.Playlist.has(msn, part):
		if w.lost() {
			return nil, ErrLost
		}
		return v, nil
	case v.Playlist.tooFar(msn, part):
		return nil, ErrTooFar
	case w.closed:
		return nil, ErrNotFound
	}
	return nil, errToCome
}

// Media returns an object. One that comes next, or soon, is waited for and
// returned when it is whole.
//
// Errors: ErrNotFound; ErrTooFar; ErrStalled after 3 × TARGETDURATION; the
// context's.
func (w *Window) Media(ctx context.Context, name MediaName) (*Object, error) {
	a, o, err := w.await(name)
	if a == nil {
		return o.whole(), err
	}
	defer w.leave(name, a)
	timer := time.NewTimer(w.constants.maxHold())
	defer timer.Stop()
	select {
	case <-a.done:
		if a.object == nil {
			return nil, ErrNotFound
		}
		return a.object.whole(), nil
	case <-timer.C:
		return nil, ErrStalled
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// media is Media for one who does not wait here, as ready is Await.
//
// Errors: errToCome, and those of Media that come at once.
func (w *Window) media(name MediaName) (*Object, error) {
	w.mu.Lock()
	o, err := w.find(name)
	w.mu.Unlock()
	return o.whole(), err
}

// arriving is Media for a reader that takes bytes as they come: it returns the
// whole object, or the one of which the first bytes are here.
func (w *Window) arriving(ctx context.Context, name MediaName) (*Object, *incoming, error) {
	a, o, err := w.await(name)
	if a == nil {
		return o.whole(), nil, err
	}
	defer w.leave(name, a)
	timer := time.NewTimer(w.constants.maxHold())
	defer timer.Stop()
	for {
		in, begun := w.begun(a)
		if in != nil {
			return nil, in, nil
		}
		select {
		case <-begun:
		case <-a.done:
			if a.object == nil {
				return nil, nil, ErrNotFound
			}
			return a.object.whole(), nil, nil
		case <-timer.C:
			return nil, nil, ErrStalled
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// begun returns what arrives, or the channel that is closed when it begins to.
func (w *Window) begun(a *awaiting) (*incoming, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.arriving, a.begun
}

// maxForeseen bounds the objects of epochs to come that are waited for at a
// time. Nothing is known of those, so requests could name any number of them;
// one more gets 503 at once. Those of this epoch are bounded by how far ahead
// a request may be.
const maxForeseen = 64

// await returns the object, which need not be whole, or the shared wait for it.
func (w *Window) await(name MediaName) (*awaiting, *Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o, err := w.find(name); !errors.Is(err, errToCome) {
		return nil, o, err
	}
	a := w.awaited[name]
	if a == nil {
		a = &awaiting{done: make(chan struct{}), begun: make(chan struct{})}
		if in := w.coming[name]; in != nil {
			a.arriving = in
			close(a.begun)
		}
		w.awaited[name] = a
	}
	a.waiters++
	return a, nil, nil
}

// find returns an object that is here; it need not be whole. It needs w.mu.
//
// Errors: errToCome, and those of Media that come at once.
func (w *Window) find(name MediaName) (*Object, error) {
	if o := w.objects[name]; o != nil {
		return o, nil
	}
	if w.closed {
		return nil, ErrNotFound
	}
	if err := w.upcoming(name); err != nil && w.coming[name] == nil {
		return nil, err
	}
	if w.awaited[name] == nil && w.foreseen(name) >= maxForeseen {
		return nil, ErrStalled
	}
	return nil, errToCome
}

// foreseen counts the objects of epochs to come that are waited for, if name
// is one. It needs w.mu.
func (w *Window) foreseen(name MediaName) int {
	if w.version == nil || name.Epoch <= w.version.Playlist.Epoch() {
		return 0
	}
	n := 0
	for other := range w.awaited {
		if other.Epoch > w.version.Playlist.Epoch() {
			n++
		}
	}
	return n
}

// leave ends one request's wait.
func (w *Window) leave(name MediaName, a *awaiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.waiters--; a.waiters == 0 && w.awaited[name] == a {
		delete(w.awaited, name)
	}
}

// settle ends the waits for objects that will never come. It needs w.mu.
func (w *Window) settle() {
	for name, a := range w.awaited {
		if w.closed || w.coming[name] == nil && w.upcoming(name) != nil {
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
