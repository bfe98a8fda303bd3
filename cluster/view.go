package cluster

import (
	"slices"
	"strings"
	"sync"
)

// view is the set of members that are alive, as of now.
type view struct {
	mu      sync.Mutex
	members map[string]Member
	sorted  []Member      // members by name; nil when it has to be made anew
	change  chan struct{} // closed and replaced at each change
}

func newView() *view {
	return &view{members: make(map[string]Member), change: make(chan struct{})}
}

// put adds or replaces a member and says whether that changed anything.
func (v *view) put(m Member) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.members[m.Name] == m {
		return false
	}
	v.members[m.Name] = m
	v.notify()
	return true
}

// remove takes a member out and returns it.
func (v *view) remove(name string) (Member, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m, ok := v.members[name]
	if ok {
		delete(v.members, name)
		v.notify()
	}
	return m, ok
}

// list returns the members by name. It is made once a change and shared.
func (v *view) list() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sorted == nil {
		v.sorted = make([]Member, 0, len(v.members))
		for _, m := range v.members {
			v.sorted = append(v.sorted, m)
		}
		slices.SortFunc(v.sorted, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	}
	return v.sorted
}

func (v *view) changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.change
}

func (v *view) notify() {
	v.sorted = nil
	close(v.change)
	v.change = make(chan struct{})
}
