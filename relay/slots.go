package relay

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// SlotsConfig says what a node's slots are made of.
type SlotsConfig struct {
	Store *Store // what a child takes: all of it

	// Self returns the id of this node. Called from any goroutine.
	Self func() string

	// Capacity is what the node's link carries, bits/s; 0: not known.
	Capacity int64

	// Refer returns host:port of those of the children, by id, that have room
	// for one more. Called from any goroutine, must not block. Nil: of none.
	Refer func(children []string) []string

	// Follows tells whether this node means to be fed by that one. As Refer.
	// Nil: by none.
	Follows func(node string) bool
}

// Slots are a node's places for children: other nodes that follow its lists.
// Gossip proposes who asks whom; who has the link grants. A child holds its slot
// while it asks, and is never refused while it holds one.
type Slots struct {
	SlotsConfig

	mu       sync.Mutex
	children map[string]time.Time // until when each holds its slot; at most hard, by room
	rate     int64                // of all live streams together, bits/s
	measured time.Time            // when that was looked up
	spare    time.Duration        // media that nodes without a slot may still take
	spent    time.Time            // when that was last counted

	catching catchUp // of nodes that join; has its own lock
}

// Room is how many children a node has and would have.
type Room struct {
	Used int
	// Best is how many get each part in time: on its way to all of them it takes
	// a quarter of its own duration. 0: not known at this moment, so none.
	Best int
	// Hard is how many the link carries beside everything else. Between Best and
	// Hard those get a slot for whom there is no room below, and those who have
	// viewers and lost their parent.
	Hard int
}

// Full tells whether a child that could go elsewhere should.
func (r Room) Full() bool { return r.Used >= r.Best }

const (
	// unknownSlots is how many children a node has whose link or whose streams'
	// rates are not known. They are as many as 1 Gbit/s has at 12 Mbit/s.
	unknownSlots = 20
	// maxSlots is what the gossip tells at most.
	maxSlots = 255
	// hardShare is the part of the link that children may fill, in percent; the
	// rest is for viewers, and for what a child that joins has to catch up with.
	hardShare = 60
	// bestShare follows from the time that a part takes to all children,
	// children × part bytes / link ≤ PART-TARGET / 4, for a part is rate ×
	// PART-TARGET.
	bestShare = 25
	// rateFor is how long the streams' rates are taken to be as they were.
	rateFor = time.Second
)

// NewSlots returns a node's slots, all free.
func NewSlots(c SlotsConfig) *Slots {
	if c.Refer == nil {
		c.Refer = func([]string) []string { return nil }
	}
	if c.Follows == nil {
		c.Follows = func(string) bool { return false }
	}
	return &Slots{SlotsConfig: c, children: map[string]time.Time{}}
}

// Room counts the slots.
func (s *Slots) Room() Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(time.Now())
}

// room needs s.mu. It drops those who no longer ask.
func (s *Slots) room(now time.Time) Room {
	maps.DeleteFunc(s.children, func(_ string, until time.Time) bool { return now.After(until) })
	r := Room{Used: len(s.children), Best: unknownSlots, Hard: unknownSlots}
	if s.Capacity == 0 {
		return r
	}
	switch rate, known := s.rates(now); {
	case !known:
		r.Best, r.Hard = 0, 0
	case rate > 0:
		r.Best, r.Hard = s.share(bestShare, rate), s.share(hardShare, rate)
	}
	return r
}

// share is how many children a part of the link feeds, in percent; one at
// least, for a node that feeds none is no parent.
func (s *Slots) share(percent, rate int64) int {
	return int(min(max(s.Capacity/100*percent/rate, 1), maxSlots))
}

// rates needs s.mu. They are not known while a stream has come of which the
// multivariant playlist has not: that is a moment at the beginning.
func (s *Slots) rates(now time.Time) (rate int64, known bool) {
	if s.rate != 0 && now.Sub(s.measured) < rateFor {
		return s.rate, true
	}
	known = true
	for _, st := range s.Store.Streams() {
		r := peakRate(st.Index())
		rate += r
		known = known && (r > 0 || !st.listed())
	}
	if known {
		s.rate, s.measured = rate, now
	}
	return rate, known
}

// listed tells whether there is a live list.
func (st *Stream) listed() bool {
	for _, rendition := range st.Renditions() {
		if st.Window(rendition).Version() != nil {
			return true
		}
	}
	return false
}

// circular tells whether a node must not be fed because it feeds this one, or
// is to: of two that ask each other at once, the one with the lesser id gives.
// What chain finds in the answers would be found too late here, for neither has
// one to give.
func (s *Slots) circular(node string) bool {
	return s.Follows(node) && s.Self() > node
}

// slotWish is what a node wants of another one's slots.
type slotWish struct {
	node string
	look bool          // not to be fed, but to learn whether it would be
	goes bool          // it has a window already, so viewers may wait for what comes next
	held time.Duration // how long it keeps the slot without asking again
}

// take gives a node a slot, or lets it keep the one that it has.
// One that only looks gets none, and learns whether it would. When it is
// refused, it is told of children that have room, if there are.
func (s *Slots) take(w slotWish) (ok bool, referral []string) {
	now := time.Now()
	s.mu.Lock()
	room := s.room(now)
	_, has := s.children[w.node]
	if has || !room.Full() || w.goes && room.Used < room.Hard {
		s.hold(w, now)
		s.mu.Unlock()
		return true, nil
	}
	children := slices.Sorted(maps.Keys(s.children))
	s.mu.Unlock()

	referral = s.Refer(children) // without the lock: it is somebody else's code
	if referral = referral[:min(len(referral), maxReferrals)]; len(referral) > 0 {
		return false, referral
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room = s.room(now); room.Used >= room.Hard {
		return false, nil
	}
	s.hold(w, now)
	return true, nil
}

// hold needs s.mu.
func (s *Slots) hold(w slotWish, now time.Time) {
	if !w.look {
		s.children[w.node] = now.Add(w.held)
	}
}

// fallback tells whether a node may have an object of that much media. A child
// may, and anybody while there is room. The others come here when their own
// parents fail them: of those, all together get one second of a rendition a
// second, so that a dying tree does not take the link of those that live; beyond it they are
// refused and ask the next.
func (s *Slots) fallback(node string, media time.Duration) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, has := s.children[node]; has || !s.room(now).Full() {
		return true
	}
	s.spare = min(s.spare+now.Sub(cmp.Or(s.spent, now.Add(-fallbackBurst))), fallbackBurst)
	s.spent = now
	if s.spare < media {
		return false
	}
	s.spare -= media
	return true
}

// fallbackBurst is what nodes without a slot may take at once, after a time in
// which none came.
const fallbackBurst = 2 * time.Second
