package relay

import (
	"errors"
	"net/http"
)

// intent is the header by which a parent knows whether it is to feed this node.
func (r *fetcher) intent(q question) []string {
	if r.Self == nil || !q.follow {
		return nil
	}
	return []string{nodeHeader, r.Self()}
}

// traced returns the way that a list of a parent came.
//
// Errors: errChain, errLoop, errDeep.
func (r *fetcher) traced(base string, h http.Header) (Chain, error) {
	chain, err := parseChain(h.Get(chainHeader))
	r.parents.know(base, chain.Parent())
	if err == nil && r.Self != nil {
		err = chain.admits(r.Self())
	}
	return chain, err
}

// aim notes which parent is asked to feed this node.
func (r *fetcher) aim(base string) {
	id := r.parents.id(base)
	r.Follower.mu.Lock() // r has a mu of its own
	defer r.Follower.mu.Unlock()
	r.aims[r.path] = id
}

// Follows tells whether a node is asked for the next list, as far as its id is
// known from what it answered before.
func (f *Follower) Follows(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range f.aims {
		if id == node {
			return true
		}
	}
	return false
}

// referral is where an upstream sent us when it refused.
func referral(err error) []string {
	var status *StatusError
	if !errors.As(err, &status) {
		return nil
	}
	return status.Referral
}

// switched counts one change of parent.
func (f *Follower) switched() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.switches++
}

// Switches counts how often lists began to come from another parent.
func (f *Follower) Switches() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.switches
}

// Lineage returns the base URL of the parent that gave the newest list, and the
// way that it came, of the rendition that is farthest from the origin. Both are
// empty on an origin and before the first list.
func (s *Store) Lineage() (parent string, chain Chain) {
	for _, st := range s.Streams() {
		for _, rendition := range st.Renditions() {
			if v := st.Window(rendition).Version(); v != nil && (parent == "" || len(v.chain) > len(chain)) {
				parent, chain = v.parent, v.chain
			}
		}
	}
	return parent, chain
}
