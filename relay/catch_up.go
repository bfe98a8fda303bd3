package relay

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A node that joins takes a whole window at once, while the children that are
// there and their viewers wait for the newest part. On a narrow link the one
// must not stand in front of the other: what is older than the last segment goes
// to other nodes in pieces, all of them together at half of what the children's
// live media leave of the link.

const (
	// catchUpPiece is short against a part of any feed that needs this: on
	// 10 Mbit/s it takes 13 ms.
	catchUpPiece = 16 << 10
	// catchUpLeast is what there is for it in any case, in percent of the link.
	catchUpLeast = 10
)

// catchUp is when the link is free for the next piece.
type catchUp struct {
	mu   sync.Mutex
	next time.Time
}

// reserve takes the link for so long, and returns for how long to wait before.
func (c *catchUp) reserve(now time.Time, lasts time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	begins := now
	if c.next.After(now) {
		begins = c.next
	}
	c.next = begins.Add(lasts)
	return begins.Sub(now)
}

// catchUpRate is bits/s for nodes that join; 0: it is not bounded, since the link
// is not known.
func (s *Slots) catchUpRate() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Capacity == 0 {
		return 0
	}
	used, rate := int64(s.room(time.Now()).Used), s.rate
	return max((s.Capacity-used*rate)/2, s.Capacity/100*catchUpLeast)
}

// behind tells whether an object lies behind what those wait for who follow live.
func (w *Window) behind(name MediaName) bool {
	v := w.Version()
	return v != nil && name.Kind != Init && name.Number+1 < v.Playlist.MediaSequence+uint64(len(v.Playlist.Segments))
}

// sendOld answers another node with an object that lies behind. Each piece waits
// for its turn, however many nodes ask; how many can is bounded as all connections
// are.
func (s *server) sendOld(w http.ResponseWriter, r *http.Request, o *Object) {
	rate := int64(0)
	if s.Slots != nil {
		rate = s.Slots.catchUpRate()
	}
	if rate == 0 {
		s.sendObject(w, r, o)
		return
	}
	describeObject(w.Header(), o)
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(o.Body))}
	out := http.NewResponseController(w)
	for rest := o.Body; len(rest) > 0; {
		piece := rest[:min(len(rest), catchUpPiece)]
		rest = rest[len(piece):]
		lasts := time.Duration(int64(len(piece)) * 8 * int64(time.Second) / rate)
		if pause(r.Context(), s.Slots.catching.reserve(time.Now(), lasts)) != nil {
			panic(http.ErrAbortHandler) // nobody takes it for whole
		}
		setWriteDeadline(w, len(piece))
		if _, err := w.Write(piece); err != nil {
			return
		}
		_ = out.Flush() // an error shows at the next write
		s.Load.Add(int64(len(piece)), 0)
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
