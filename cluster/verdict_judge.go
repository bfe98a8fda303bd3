package cluster

// judgement is what the verdicts on one relay come to.
type judgement struct {
	up, lost, inDoubt int // probers that say so; lost is without doubt

	down    bool // not to be named to viewers
	doubted bool // its own verdicts do not count
	failure Failure
}

// judgement returns what is said of one relay.
func (v *Verdicts) judgement(name string) judgement { return v.judge(v.members())[name] }

// judge returns what follows from the verdicts for these members. It is worked
// out once a change of either.
func (v *Verdicts) judge(members []Member) map[string]judgement {
	v.mu.Lock()
	if v.judged != nil && sameSlice(v.of, members) {
		defer v.mu.Unlock()
		return v.judged
	}
	before := v.withdrawn
	v.judged, v.of = judge(v.given, members), members
	v.withdrawn = make(map[string]bool)
	for name, j := range v.judged {
		if j.down {
			v.withdrawn[name] = true
		}
	}
	judged, after := v.judged, v.withdrawn
	v.mu.Unlock()
	v.report(members, judged, before, after)
	return judged
}

// sameSlice relies on lists of members being made once a change, and shared.
func sameSlice(a, b []Member) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// report logs each relay that is withdrawn, or back, once.
func (v *Verdicts) report(members []Member, judged map[string]judgement, before, after map[string]bool) {
	for _, m := range withSeconds(members) {
		if before[m.Name] == after[m.Name] {
			continue
		}
		line, j := v.log.With("member", m.Name, "address", m.PublicMedia()), judged[m.Name]
		if after[m.Name] {
			line.Warn("relay withdrawn by its probers", "reason", j.failure, "down", j.lost+j.inDoubt, "up", j.up)
		} else {
			line.Info("relay is back, say its probers", "down", j.lost+j.inDoubt, "up", j.up)
		}
	}
}

// judge counts the verdicts of the members on each other.
//
// A relay that is dead can't take back what it said of others. So who is lost
// to as many as see it has no vote: with two relays left and one of them dead,
// the dead one's "up" would else hold the next one in the list for ever. Whoever
// is held by such votes alone loses its own in turn, as those of a rack that dies
// at once are.
//
// A prober in doubt of itself is no reason to withdraw a relay. Two of them are,
// when nobody sees it: else half a pool that dies at once would be named until
// gossip has found it dead.
func judge(given map[string]map[string]Verdict, members []Member) map[string]judgement {
	alive, doubted := namesOf(members), make(map[string]bool)
	judged := make(map[string]judgement, len(given))
	for before := -1; before < len(doubted); { // each round has fewer votes than the one before
		before = len(doubted)
		for target, verdicts := range given {
			judged[target] = tally(verdicts, func(prober string) bool { return alive[prober] && !doubted[prober] })
		}
		for target, j := range judged {
			if lost := j.lost + j.inDoubt; lost > 0 && lost >= j.up {
				doubted[target] = true
			}
		}
	}
	for target, j := range judged {
		j.down = j.lost > j.up || j.up == 0 && j.lost+j.inDoubt >= 2
		j.doubted = doubted[target]
		judged[target] = j
	}
	return judged
}

// tally counts the verdicts of those who have a vote. The failure is that which
// most of them name.
func tally(verdicts map[string]Verdict, votes func(prober string) bool) (j judgement) {
	named := make(map[Failure]int, len(Failures))
	for prober, v := range verdicts {
		if !votes(prober) {
			continue
		}
		switch v.Opinion {
		case OpinionUp:
			j.up++
			continue
		case OpinionDown:
			j.lost++
		case OpinionDoubt:
			j.inDoubt++
		default:
			continue
		}
		named[v.Failure]++
	}
	most := 0
	for _, f := range Failures {
		if named[f] > most {
			j.failure, most = f, named[f]
		}
	}
	return j
}
