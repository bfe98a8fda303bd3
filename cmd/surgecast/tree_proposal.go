package main

import (
	"cmp"
	"hash/fnv"
	"slices"

	"surgecast/cluster"
)

// A relay is proposed parents from what gossip shows, by a rule that all of the
// pool compute alike without talking; whoever is asked grants a slot or sends it
// on:
//
//   - As long as the origin has slots for all, all ask the origin.
//   - Else tier 1 asks it: those whom it feeds, and of the others the biggest,
//     until its slots are given. So tier 1 is left only by who dies or drains.
//   - The others take two of tier 1, by rendezvous hash: so they spread evenly,
//     and only the children of one that leaves look for another. Behind these
//     stand two of tier 2, and the origin last.

// ofTier is how many parents of one tier are proposed.
const ofTier = 2

// proposal is what one relay knows when it looks for parents.
type proposal struct {
	members  []cluster.Member
	parent   string   // the id of the node that feeds it now; "" when none does
	referred []string // media addresses to which full parents sent it
}

// same tells whether nothing is known that was not known to the other.
func (p proposal) same(q proposal) bool {
	return p.parent == q.parent && len(p.members) == len(q.members) &&
		(len(p.members) == 0 || &p.members[0] == &q.members[0]) // a view's slice is never changed
}

// lost tells whether gossip knows the node no more that feeds this one. As long
// as it does feed, it lives, and it is the gossip that is ill.
func (p proposal) lost() bool {
	return p.parent != "" && !slices.ContainsFunc(p.members, func(m cluster.Member) bool { return m.Name == p.parent })
}

// parents are the members to ask, best first; none while there is no origin.
func (p proposal) parents() []cluster.Member {
	origins, relays := p.sorted()
	places := 0
	for _, o := range origins {
		places += o.State.Slots
	}
	// An origin of a release that has no slots takes all who ask.
	if len(origins) == 0 || places == 0 || len(relays) <= places {
		return origins
	}
	first, others := tierOne(relays, places)
	near := p.choose(first)
	if slices.ContainsFunc(first, isSelf) {
		return append(origins, near...)
	}
	second := slices.DeleteFunc(others, func(m cluster.Member) bool {
		return m.State.Tier != 2 && !slices.Contains(p.referred, m.State.Media)
	})
	return slices.Concat(near, p.choose(second), origins)
}

// sorted returns who can be asked: origins, and relays that stay.
func (p proposal) sorted() (origins, relays []cluster.Member) {
	for _, m := range p.members {
		switch {
		case m.State.Role == cluster.RoleOrigin:
			origins = append(origins, m)
		case m.State.Role == cluster.RoleRelay && (stays(m) || m.Self):
			relays = append(relays, m)
		}
	}
	return origins, relays
}

// stays tells whether a member is not about to leave.
func stays(m cluster.Member) bool {
	return m.State.Status != cluster.StatusDraining && m.State.Status != cluster.StatusLeft
}

func isSelf(m cluster.Member) bool { return m.Self }

// tierOne divides the relays into those whom the origins feed, and the others.
func tierOne(relays []cluster.Member, places int) (first, others []cluster.Member) {
	all := slices.Clone(relays)
	slices.SortStableFunc(all, func(a, b cluster.Member) int {
		return cmp.Or(
			-compareBool(a.State.Tier == 1, b.State.Tier == 1),
			-cmp.Compare(a.State.Capacity, b.State.Capacity),
			cmp.Compare(rendezvous("origin", a.Name), rendezvous("origin", b.Name)),
		)
	})
	n := places
	for n < len(all) && all[n].State.Tier == 1 { // granted beyond it: they stay
		n++
	}
	return all[:n], all[n:]
}

// choose returns at most two of the relays, in the order in which this one
// would have them: the one that feeds it, those to which it was sent, those that
// are fed (one that comes at the same time has nothing to give yet), those with
// a slot free, and by rendezvous hash. A full one is better than none: it sends
// on who comes, and takes who has viewers and lost its parent.
func (p proposal) choose(relays []cluster.Member) []cluster.Member {
	self := ""
	if i := slices.IndexFunc(p.members, isSelf); i >= 0 {
		self = p.members[i].Name
	}
	all := slices.DeleteFunc(slices.Clone(relays), func(m cluster.Member) bool {
		return m.Self || m.State.Slots == 0
	})
	slices.SortStableFunc(all, func(a, b cluster.Member) int {
		return cmp.Or(
			-compareBool(a.Name == p.parent, b.Name == p.parent),
			-compareBool(slices.Contains(p.referred, a.State.Media), slices.Contains(p.referred, b.State.Media)),
			-compareBool(a.State.Tier > 0, b.State.Tier > 0),
			compareBool(a.State.Taken, b.State.Taken),
			cmp.Compare(rendezvous(self, a.Name), rendezvous(self, b.Name)),
		)
	})
	return all[:min(len(all), ofTier)]
}

// rendezvous is the place of one node in the order of another.
func rendezvous(of, node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of + " " + node))
	return mix(h.Sum64())
}

// mix spreads what FNV leaves in the low bits (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
