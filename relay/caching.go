package relay

import (
	"fmt"
	"time"
)

// caching is for how long caches may keep answers about a stream, as values of
// Cache-Control. The lifetimes are those of RFC 8216bis, appendix B.1, in
// TARGETDURATIONs:
//
//	                  there is one   there is none
//	list                 1/2              1
//	list, waited for      6               4
//	part                  6               1
//	segment, init     as they can be had  1
//
// Segments can be had for the length of the live list, and for that of the long
// one beside it. A part is asked for while it is new, waited for or not, and
// one URL has one lifetime.
//
// Whole seconds, rounded down: a cache that asks a moment early costs a
// request, one that asks late shows an old list. What is refused because it
// lies ahead (ErrTooFar) is kept as briefly as what nobody knows, else a cache
// would still refuse it when its time has come. 5xx is never kept: one bad
// second would be served for many.
type caching struct {
	list, waited           []string
	part                   []string
	refused, waitedRefused []string
}

// newCaching returns what holds for a stream of these constants.
func newCaching(c Constants) *caching {
	return &caching{
		list:          keptFor(c.TargetDuration / 2),
		waited:        keptFor(6 * c.TargetDuration),
		part:          immutableFor(6 * c.TargetDuration),
		refused:       keptFor(c.TargetDuration),
		waitedRefused: keptFor(4 * c.TargetDuration),
	}
}

func keptFor(age time.Duration) []string {
	return []string{fmt.Sprintf("public, max-age=%d", int(age.Seconds()))}
}

// immutableFor is keptFor for media, whose bytes never change.
func immutableFor(age time.Duration) []string {
	return []string{keptFor(age)[0] + ", immutable"}
}

// of returns the lifetime of a list.
func (c *caching) of(waited bool) []string {
	if waited {
		return c.waited
	}
	return c.list
}

// none returns the lifetime of there being no such list.
func (c *caching) none(waited bool) []string {
	if waited {
		return c.waitedRefused
	}
	return c.refused
}

// DefaultWindow is the length of the live list where none is configured.
const DefaultWindow = time.Minute

// setLength says how long the live list is. What is stored already keeps the
// lifetime that it came with.
func (w *Window) setLength(length time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.length = length
	w.keepMedia()
}

// keepMedia needs w.mu.
func (w *Window) keepMedia() { w.kept = immutableFor(w.length + w.lookBack) }

// cachingOf is for how long caches may keep a media object that comes now.
func (w *Window) cachingOf(name MediaName) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mediaCaching(name)
}

// mediaCaching needs w.mu.
func (w *Window) mediaCaching(name MediaName) []string {
	if name.Kind == PartMedia {
		return w.caching.part
	}
	return w.kept
}
