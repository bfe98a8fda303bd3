package cluster

// A name server that hears no gossip, and still reaches the relays as viewers
// do, must not forget them: in the end it would name the one that memberlist
// took for dead last, and send the whole crowd there.

// lostOf returns the relays to be named although the gossip has lost them: those
// that our own probes reach. While they reach nobody it is we who are cut off,
// and all stay that there were: the last good answer.
func (r *roster) lostOf(members []Member) []Member {
	if r.cfg.Lost == nil {
		return nil
	}
	var all, reached []Member
	for _, m := range r.cfg.Lost() {
		if !m.hasViewers() { // it told our probes that it drains
			continue
		}
		all = append(all, m)
		if r.cfg.Reached(m.Name) {
			reached = append(reached, m)
		}
	}
	if len(reached) > 0 || r.reachesAny(members) {
		return reached
	}
	return all
}

func (r *roster) reachesAny(members []Member) bool {
	for _, m := range members {
		if m.hasViewers() && r.cfg.Reached(m.Name) {
			return true
		}
	}
	return false
}

// remembered is how many of the named relays the gossip has lost.
func (r *roster) remembered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return r.lost
}

func (r *roster) setLost(now int) {
	switch {
	case r.lost == 0 && now > 0:
		r.cfg.Logger.Warn("the gossip has lost relays that this node still reaches: dns names them as they were known last", "relays", now)
	case r.lost > 0 && now == 0:
		r.cfg.Logger.Info("dns names no relay any more that the gossip has lost")
	}
	r.lost = now
}
