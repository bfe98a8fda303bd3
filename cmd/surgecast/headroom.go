package main

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// headroom is what a node knows of the room for viewers that is left, its own
// and the pool's. It is looked at once a second; what the pool knows of others
// comes by gossip alone.
type headroom struct {
	*capacity
	admission *relay.Admission
	load      *relay.Load

	mu      sync.Mutex
	hearsay hearsay
	reserve reserve
	own     outlook
	pool    poolOutlook
	last    relay.AdmissionSnapshot
	// As of the last look:
	told     BitRate // what the pool takes the node for; 0: unknown
	pressure relay.Pressure
}

// poolOutlook is what is to be expected of the pool's relays together.
type poolOutlook struct {
	outlook
	Tight  bool // without its fullest relay the others could not carry its viewers
	spare  spare
	relays []poolRelay
}

// newHeadroom finds out what a node's link carries.
func newHeadroom(config *NodeConfig, o nodeOptions, folder string, load *relay.Load) (*headroom, error) {
	c, err := newCapacity(config.Capacity, o.Cloud.Wait(), o.Env.Cards, o.Address, folder)
	return &headroom{
		capacity: c, load: load, admission: relay.NewAdmission(load, int64(c.known)),
		own: outlook{FullIn: math.Inf(1)}, pool: poolOutlook{outlook: outlook{FullIn: math.Inf(1)}},
	}, err
}

// glance is what a look shows.
type glance struct {
	Percent  int     // of what the pool takes the node for
	Told     BitRate // what that is; 0: unknown
	Full     bool
	OwnSoon  bool // the alarm for this node begins now
	PoolSoon bool // the alarm for the pool begins now
	Tight    bool // the pool has too little room for the loss of a relay from now on
	Spare    bool // the advice that a relay can go begins now
}

// look takes all as of now; self is the node's name.
func (h *headroom) look(now time.Time, self string, members []cluster.Member) (g glance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rising := 0.
	if h.known > 0 && !h.last.Full {
		rising = h.own.Rising * 100 / float64(h.known)
	}
	relays := h.hearsay.relays(now, members, h.last.BitsPerSecond, rising)
	h.pressure = h.reserve.look(now, self, relays)
	h.last = h.admission.Look(int64(h.known), h.pressure)
	g.Full = h.last.Full
	g.Told = h.Told(usualCapacity(members))
	h.told = g.Told
	g.Percent = loadPercent(h.last.BitsPerSecond, g.Told)
	g.OwnSoon = h.own.look(now, h.last.BitsPerSecond, float64(h.known)*float64(h.last.Line)/100)

	var load float64
	for _, r := range relays {
		load += r.load
	}
	h.pool.relays = relays
	g.PoolSoon = h.pool.look(now, load, usable(relays))
	g.Tight = h.reserve.keeping && !h.pool.Tight
	h.pool.Tight = h.reserve.keeping
	g.Spare = h.pool.spare.look(now, relays)
	return g
}

// usualCapacity is the median of what the other relays tell of theirs, bits/s;
// 0 when they tell nothing.
func usualCapacity(members []cluster.Member) int64 {
	var told []int64
	for _, m := range members {
		if m.State.Role == cluster.RoleRelay && !m.Self && m.State.Capacity > 0 {
			told = append(told, m.State.Capacity)
		}
	}
	if len(told) == 0 {
		return 0
	}
	slices.Sort(told)
	return told[(len(told)-1)/2]
}

// loadPercent is 0 where the capacity is not known.
func loadPercent(bitsPerSecond float64, capacity BitRate) int {
	if capacity == 0 {
		return 0
	}
	return min(100, int(bitsPerSecond*100/float64(capacity)))
}

// ownLoad is how full a node is at this moment, with all who were let in.
type ownLoad struct {
	percent  float64 // of what the pool takes it for
	rescuing bool    // the viewers of a lost relay come
}

func (h *headroom) ownLoad() (own ownLoad) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told > 0 {
		own.percent = 100 * h.admission.Expected() / float64(h.told)
	}
	own.rescuing = h.pressure == relay.Rescuing
	return own
}

// outlooks are the own one and the pool's, as of the last look.
func (h *headroom) outlooks() (own outlook, pool poolOutlook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.own, h.pool
}

// counts are what was let in and what was not, as of the last look.
func (h *headroom) counts() relay.AdmissionSnapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// lookAtHeadroom tells the pool how full the node is, and people what is to be
// expected. It is called each second.
func (n *node) lookAtHeadroom() {
	members := n.cluster.Members()
	g := n.headroom.look(time.Now(), n.cluster.Name(), members)
	n.setLoad(g.Percent, g.Told, len(members))
	if n.role == cluster.RoleRelay {
		n.setFull(g.Full)
	}
	if err := n.headroom.carry(n.load.Snapshot().BitsPerSecond); err != nil {
		n.log.Warn("capacity", "err", err)
	}
	own, pool := n.headroom.outlooks()
	if g.OwnSoon && n.role == cluster.RoleRelay {
		n.log.Warn("this relay will be full soon", "full_in", inSeconds(own.FullIn), "rising", perSecond(own.Rising))
	}
	if !leads(members) {
		return
	}
	if g.PoolSoon {
		n.log.Warn("the pool will be full soon: start more relays", "full_in", inSeconds(pool.FullIn), "rising", perSecond(pool.Rising), "relays", len(pool.relays))
	}
	if g.Tight {
		n.log.Warn("the pool could not carry the viewers of its fullest relay if that died: start more relays", "relays", len(pool.relays))
	}
	if g.Spare {
		n.log.Info("the pool is nearly empty: a relay could be drained", "relay", short(pool.spare.Name), "under_percent", spareUnder, "for", spareAfter)
	}
}

// setFull moves a relay between serving and full.
func (n *node) setFull(full bool) {
	if full {
		n.setStatus(cluster.StatusFull, cluster.StatusServing)
	} else {
		n.setStatus(cluster.StatusServing, cluster.StatusFull)
	}
}

// leads tells whether this node is the one that speaks for the pool: the origin
// (of several the one with the lowest name), or without one in sight the name
// server with the lowest name. After a partition both sides may have one.
func leads(members []cluster.Member) bool {
	for _, role := range []cluster.Role{cluster.RoleOrigin, cluster.RoleNameServer} {
		for _, m := range members { // sorted by name
			if m.State.Role == role && m.State.Status != cluster.StatusLeft {
				return m.Self
			}
		}
	}
	return false
}

func inSeconds(s float64) string { return fmt.Sprintf("%.0fs", s) }

// perSecond is by how much a load rises, as people read it.
func perSecond(bits float64) slog.Value {
	return slog.StringValue(fmt.Sprintf("%.1fMbit/s each second", bits/1e6))
}
