package cluster

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxLost bounds the relays that are remembered; of more, those that are lost
	// last are not.
	maxLost = 256
	// lostMemory is how long one is remembered that does not answer us while
	// another relay does. If none does we are cut off, and know nothing of it.
	lostMemory = 5 * time.Minute
	// lostLife is how long at most: longer than any operation. After it what is
	// known of its capacity and load is no more worth than a guess.
	lostLife = 24 * time.Hour
)

// Lost are the relays that the gossip has found dead and that never said that
// they leave. They may be dead indeed; or it is we who hear no gossip, while
// viewers, and our own probes, reach them as before. It is safe for concurrent
// use.
//
//	gossip: dead ──▶ Lost ◀── probe: it answers, and how it is
//	gossip: alive ──▶ forgotten
type Lost struct {
	mu     sync.Mutex
	relays map[string]lostRelay // by name
	answer time.Time            // the last one to our probes, by any relay
	listed []Member             // by name; nil when it has to be made anew
}

type lostRelay struct {
	member       Member // as it was known last
	since, heard time.Time
}

func newLost() *Lost { return &Lost{relays: make(map[string]lostRelay)} }

// Members returns them by name. The slice is shared and must not be changed.
func (l *Lost) Members() []Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for name, r := range l.relays {
		if l.answer.Sub(r.heard) > lostMemory || now.Sub(r.since) > lostLife {
			l.forget(name)
		}
	}
	if l.listed == nil {
		for _, r := range l.relays {
			l.listed = append(l.listed, r.member)
		}
		slices.SortFunc(l.listed, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	}
	return l.listed
}

// add remembers a relay that had viewers.
func (l *Lost) add(m Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !m.hasViewers() || len(l.relays) >= maxLost {
		return
	}
	now := time.Now()
	l.relays[m.Name] = lostRelay{member: m, since: now, heard: now}
	l.listed = nil
}

// found forgets a relay that the gossip has again, and whoever was at its
// address before.
func (l *Lost) found(m Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, r := range l.relays {
		if name == m.Name || r.member.isAt(m) {
			l.forget(name)
		}
	}
}

// answered takes in that a relay, lost or not, answers our probes, and its status
// if it told.
func (l *Lost) answered(name string, s Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = time.Now()
	r, ok := l.relays[name]
	if !ok {
		return
	}
	r.heard = l.answer
	if s != "" && s != r.member.State.Status {
		r.member.State.Status = s
		l.listed = nil
	}
	l.relays[name] = r
}

// forget needs l.mu.
func (l *Lost) forget(name string) {
	delete(l.relays, name)
	l.listed = nil
}

// isAt tells whether two members can't both be there: their addresses are one.
func (m Member) isAt(other Member) bool {
	return m.Address == other.Address || m.PublicMedia() != "" && m.PublicMedia() == other.PublicMedia()
}
