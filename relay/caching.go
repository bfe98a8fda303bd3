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
//	media                                 1
//
// Whole seconds, rounded down: a cache that asks a moment early costs a
// request, one that asks late shows an old list. What is refused because it
// lies ahead (ErrTooFar) is kept as briefly as what nobody knows, else a cache
// would still refuse it when its time has come. 5xx is never kept: one bad
// second would be served for many.
type caching struct {
	list, waited           []string
	refused, waitedRefused []string
}

// newCaching returns what holds for a stream of these constants.
func newCaching(c Constants) *caching {
	return &caching{
		list:          keptFor(c.TargetDuration / 2),
		waited:        keptFor(6 * c.TargetDuration),
		refused:       keptFor(c.TargetDuration),
		waitedRefused: keptFor(4 * c.TargetDuration),
	}
}

func keptFor(age time.Duration) []string {
	return []string{fmt.Sprintf("public, max-age=%d", int(age.Seconds()))}
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
