package cluster

import (
	"net/netip"
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

// get returns a member, also one that has a successor at its address.
func (v *view) get(name string) (Member, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m, ok := v.members[name]
	return m, ok
}

// remove takes a member out.
func (v *view) remove(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.members[name]; ok {
		delete(v.members, name)
		v.notify()
	}
}

// replace puts a member in the place of one with another name, in one step.
func (v *view) replace(name string, m Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.members, name)
	v.members[m.Name] = m
	v.notify()
}

// list returns the members by name. It is made once a change and shared.
func (v *view) list() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sorted == nil {
		for _, m := range living(v.members) {
			v.sorted = append(v.sorted, m)
		}
		slices.SortFunc(v.sorted, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	}
	return v.sorted
}

// living leaves one member an address. A process that was killed and started
// again has a new name, and the gossip needs some seconds to find that the old
// one answers no more; but only one can hold the address: the younger.
func living(members map[string]Member) map[netip.AddrPort]Member {
	all := make(map[netip.AddrPort]Member, len(members))
	for _, m := range members {
		if other, ok := all[m.Address]; !ok || m.succeeds(other) {
			all[m.Address] = m
		}
	}
	return all
}

// succeeds says which of two members with one address is the real one.
func (m Member) succeeds(other Member) bool {
	switch {
	case m.Self || other.Self:
		return m.Self
	case m.born != other.born:
		return m.born > other.born
	}
	return m.Name > other.Name // any, but on all nodes the same
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
