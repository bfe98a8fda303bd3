package cluster

// turnProbers is how many relays look at each relay, beside the name servers.
const turnProbers = 3

// overlooksAll tells whether a member probes every relay: the name servers, and
// the origin, which sends new viewers on and so must know as well.
func (m Member) overlooksAll() bool {
	return m.State.Role == RoleNameServer || m.State.Role == RoleOrigin
}

// probes tells whether a member probes relays at all.
func (m Member) probes() bool { return m.overlooksAll() || m.takesTurns() }

// takesTurns tells whether a member is a relay that probes some of the others.
func (m Member) takesTurns() bool { return m.hasViewers() }

// hasViewers tells whether a member is a relay that viewers are, or may be, at.
func (m Member) hasViewers() bool { return m.State.Role == RoleRelay && m.listable() }

func (m Member) listable() bool {
	return m.State.Status == StatusServing || m.State.Status == StatusFull
}

// probed tells whether a member is one that is probed: a relay that is, or may
// soon be, named to viewers.
func (m Member) probed() bool {
	return m.State.Role == RoleRelay && (m.State.Status == StatusWarming || m.listable())
}

// hasTurn tells whether it is the relay's turn to probe the target: it is one
// of the three that rendezvous hashing finds for it. All nodes find the same
// without a word, and when one relay comes or goes only its own turns move.
//
// Turns do not go round with the time: three failures in a row must be seen by
// one prober, and clocks may be hours apart.
func hasTurn(members []Member, prober, target Member) bool {
	own, before := affinity(prober, target), 0
	for _, m := range members {
		if m.takesTurns() && m.Name != target.Name && m.Name != prober.Name && affinity(m, target) > own {
			if before++; before == turnProbers {
				return false // usually soon: this is asked for each relay, by each, each second
			}
		}
	}
	return true
}

// affinity is FNV-1a of both names.
func affinity(prober, target Member) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, name := range [...]string{prober.Name, target.Name} {
		for i := range len(name) {
			h = (h ^ uint64(name[i])) * prime
		}
	}
	return h
}
