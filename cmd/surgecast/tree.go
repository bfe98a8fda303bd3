package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// tree tells a relay whom to ask for lists and media, as proposal has it from
// the newest of what gossip shows and of what parents said.
type tree struct {
	members func() []cluster.Member
	lineage func() (parent string, chain relay.Chain)

	mu       sync.Mutex
	referred map[string]time.Time // media addresses, and until when they come first; at most maxReferred
	last     proposal             // what bases were made of
	made     time.Time
	bases    []string
}

const (
	// maxReferred is how many referrals are remembered; with one more, all are
	// forgotten, since they only say what gossip will.
	maxReferred = 12
	// referredFor is how long they count: gossip knows more by then.
	referredFor = 10 * time.Second
	// proposalFor is how long a proposal stands while nothing seems to change: a
	// fetcher asks some fifty times a second.
	proposalFor = time.Second
)

func newTree(members func() []cluster.Member, lineage func() (string, relay.Chain)) *tree {
	return &tree{members: members, lineage: lineage, referred: map[string]time.Time{}}
}

// Parents returns base URLs, best first.
func (t *tree) Parents() []string {
	feeds, chain := t.lineage()
	now := proposal{members: t.members(), parent: chain.Parent()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.same(now) && time.Since(t.made) < proposalFor {
		return t.bases
	}
	t.last, t.made, t.bases = now, time.Now(), nil
	for media, until := range t.referred {
		if t.made.Before(until) {
			now.referred = append(now.referred, media)
		}
	}
	for _, m := range now.parents() {
		t.bases = append(t.bases, "http://"+m.State.Media)
	}
	if now.lost() && len(t.bases) > 0 && !slices.Contains(t.bases, feeds) {
		t.bases = slices.Insert(t.bases, 0, feeds)
	}
	return t.bases
}

// Refer puts the nodes to which a full parent sent this one before the others,
// if gossip knows them: an answer alone leads nobody astray.
func (t *tree) Refer(to []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.referred)+len(to) > maxReferred {
		clear(t.referred)
	}
	for _, media := range to {
		t.referred[media] = time.Now().Add(referredFor)
	}
	t.made = time.Time{}
}

// newSlots returns what the node has for children.
func (n *node) newSlots() *relay.Slots {
	return relay.NewSlots(relay.SlotsConfig{
		Store:    n.store,
		Self:     func() string { return n.cluster.Name() },
		Capacity: int64(n.config.Capacity),
		Refer: func(children []string) []string {
			return vacancies(n.cluster.Members(), children)
		},
		Follows: func(node string) bool { return n.follower != nil && n.follower.Follows(node) },
	})
}

// vacancies are the media addresses of those of the children that have a slot
// free, in random order, so that those who are sent on spread.
func vacancies(members []cluster.Member, children []string) []string {
	var free []string
	for _, m := range members {
		if m.State.Slots > 0 && !m.State.Taken && m.State.Tier < relay.MaxTier && stays(m) && slices.Contains(children, m.Name) {
			free = append(free, m.State.Media)
		}
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	return free
}

// treeTick is how often a node looks whether its place in the tree is another.
const treeTick = 500 * time.Millisecond

// tellTree tells the pool the node's place in the tree, when that has changed.
func (n *node) tellTree(ctx context.Context) error {
	return each(ctx, treeTick, func(time.Time) { n.setPlace(n.tier(), n.slots.Room()) })
}

// tier is how many hops the node's media come from the origin; 0 on an origin,
// and while there are none.
func (n *node) tier() int {
	_, chain := n.store.Lineage()
	return len(chain)
}

// parent is the media address of the node that feeds this one, or "".
func (n *node) parent() string {
	base, _ := n.store.Lineage()
	return strings.TrimPrefix(base, "http://")
}

func (n *node) setPlace(tier int, room relay.Room) {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.announced
	told.Tier = tier
	if room.Best > 0 { // else it is not known at this moment
		told.Slots, told.Taken = room.Best, room.Full()
	}
	if tier >= relay.MaxTier {
		told.Slots = 0 // a child would be too deep
	}
	if told == n.announced {
		return
	}
	n.announced = told
	n.cluster.SetState(told)
}
