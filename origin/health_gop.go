package origin

import (
	"slices"
	"time"
)

const (
	// longestGOP is what viewers can bear: nobody can join, change relay or rung
	// but at a key picture.
	longestGOP = 4 * time.Second

	// gopSlack is for the picture that a measured GOP may be longer.
	gopSlack = 100 * time.Millisecond

	// rememberedGOPs are looked at for their being of one length.
	rememberedGOPs = 8
)

// openSign is what a NAL unit says of a GOP's being open: pictures behind a key
// picture that refer to some before it, so that who joins there can't show them.
type openSign int

const (
	openNo      openSign = iota
	openPerhaps          // an entry point that is no key picture to us: H.264's recovery point
	openSurely           // a picture to be skipped by who joins: H.265's RASL
)

// gopHealth watches the key pictures.
type gopHealth struct {
	known  bool
	key    time.Duration // PTS of the newest one
	newest time.Duration // the greatest PTS since
	came   time.Time     // when it came

	lengths [rememberedGOPs]time.Duration
	count   int
	hole    bool // media was lost in the open one: its length says nothing

	entries int       // recovery points since the newest key picture
	open    time.Time // when it was last seen to be open
}

// anew forgets the key picture: the count is another one.
func (g *gopHealth) anew() { g.known, g.count = false, 0 }

func (g *gopHealth) picture(u *timedUnit, s shaped) {
	g.hole = g.hole || u.afterLoss
	switch {
	case s.open == openSurely:
		g.open = u.arrival
	case s.open == openPerhaps && !s.random:
		// One between two key pictures does no harm.
		if g.entries++; g.entries > 1 {
			g.open = u.arrival
		}
	}
	if !s.random {
		g.newest = max(g.newest, u.pts)
		return
	}
	if length := u.pts - g.key; g.known && length > 0 && !g.hole {
		g.lengths[g.count%rememberedGOPs] = length
		g.count++
	}
	g.known, g.key, g.newest, g.came, g.entries, g.hole = true, u.pts, u.pts, u.arrival, 0, false
}

// length is that of the newest closed GOP, or of the open one if that is longer;
// 0 while not known.
func (g *gopHealth) length() time.Duration {
	if !g.known {
		return 0
	}
	length := g.newest - g.key
	if g.count > 0 {
		length = max(length, g.lengths[(g.count-1)%rememberedGOPs])
	}
	return length
}

// variable tells the shortest and the longest of the GOPs if these are not of
// one length. One that differs may have been asked for, as by a cut.
func (g *gopHealth) variable() (shortest, longest time.Duration, ok bool) {
	if g.count < 4 {
		return 0, 0, false
	}
	var sorted [rememberedGOPs]time.Duration
	all := sorted[:copy(sorted[:], g.lengths[:min(g.count, rememberedGOPs)])]
	slices.Sort(all)
	usual, odd := all[len(all)/2], 0
	for _, length := range all {
		if (length - usual).Abs() > usual/5+gopSlack {
			odd++
		}
	}
	return all[0], all[len(all)-1], odd > 1
}
