package relay

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"time"
)

// ConnTracker is what an admitted connection is beside a net.Conn: whoever
// serves it says when it waits for a request. Those that wait are the ones that
// may be closed to make room. A connection of which nobody says anything counts
// as busy.
type ConnTracker interface {
	// SetIdle is cheap and may be called from any goroutine. A request that is
	// held back is no idleness.
	SetIdle(idle bool)
}

// TrackConn returns the tracker of a connection, or of the one below it that a
// gate admitted; one that does nothing when there is none.
func TrackConn(conn net.Conn) ConnTracker {
	for conn != nil {
		switch tracker := conn.(type) {
		case *admittedTCP: // who tells often need not come by way of it
			return tracker.seat
		case ConnTracker:
			return tracker
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = wrapper.NetConn()
	}
	return nobody{}
}

// TrackState is for http.Server.ConnState.
func TrackState(conn net.Conn, state http.ConnState) {
	TrackConn(conn).SetIdle(state == http.StateNew || state == http.StateIdle)
}

type nobody struct{}

func (nobody) SetIdle(bool) {}

// idlePatience is how long a connection is idle before it may be closed to make
// room. Who watches asks more often: a plain player once in a target duration.
const idlePatience = 5 * time.Second

// purgeInterval bounds the work of looking for idle connections when there are
// none: a look at 50,000 seats takes about a millisecond.
const purgeInterval = 50 * time.Millisecond

// crowded tells whether fewer than a sixteenth of the seats are free.
func (g *Gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seats)+g.forNodes >= g.total-g.total/16
}

// purge closes the connections that have been idle longest, up to a sixteenth
// of the seats, so that it is seldom needed.
func (g *Gate) purge() {
	now, last := time.Since(g.began), g.lastPurge.Load()
	if last != 0 && now-time.Duration(last) < purgeInterval || !g.lastPurge.CompareAndSwap(last, int64(now)) {
		return
	}
	idle := g.idle(now)
	for _, i := range idle[:min(len(idle), max(1, g.total/16))] {
		// One that has begun a request in this moment is spared.
		if i.seat.idleSince.CompareAndSwap(i.since, 0) {
			g.purged.Add(1)
			_ = i.seat.Close()
		}
	}
}

// idler is a connection that may be closed.
type idler struct {
	seat  *seat
	since int64
}

// idle returns those that may be closed, the longest idle first.
func (g *Gate) idle(now time.Duration) []idler {
	g.mu.Lock()
	var idle []idler
	for s := range g.seats {
		if since := s.idleSince.Load(); since != 0 && now-time.Duration(since) >= g.patience {
			idle = append(idle, idler{s, since})
		}
	}
	g.mu.Unlock()
	slices.SortFunc(idle, func(a, b idler) int { return cmp.Compare(a.since, b.since) })
	return idle
}
