package origin

import (
	"log/slog"
	"sync"
	"time"
)

// lossLogPeriod: one line about lost media in this time at most.
const lossLogPeriod = 10 * time.Second

// reception counts what of a feed does not arrive whole. Several goroutines may
// use it.
type reception struct {
	logger *slog.Logger

	mu      sync.Mutex
	lost    int64 // packets
	damaged int64 // access units
	invalid int64 // packets that are not what was announced
	logged  time.Time
	since   int64 // packets lost since it was logged
}

// lose counts packets that did not come.
func (r *reception) lose(packets int64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost += packets
	r.since += packets
	r.log(now, nil)
}

// damage counts an access unit that could not be used.
func (r *reception) damage(now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.damaged++
	r.log(now, err)
}

// refuse counts a packet that is from another sender or not what was announced,
// and tells of the first.
func (r *reception) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.invalid++; r.invalid == 1 {
		r.logger.Warn("packets from the publisher are not what was announced", "error", err)
	}
}

// log needs the lock.
func (r *reception) log(now time.Time, err error) {
	if !r.logged.IsZero() && now.Sub(r.logged) < lossLogPeriod {
		return
	}
	r.logged = now
	attributes := []any{"packets", r.since, "damaged", r.damaged}
	if err != nil {
		attributes = append(attributes, "error", err)
	}
	r.since = 0
	r.logger.Warn("media from the publisher is lost or damaged", attributes...)
}

// counts are lost packets, damaged units and invalid packets.
func (r *reception) counts() (lost, damaged, invalid int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost, r.damaged, r.invalid
}

// attributes are for the last line about a feed.
func (r *reception) attributes() []any {
	lost, damaged, invalid := r.counts()
	return []any{"lost_packets", lost, "damaged", damaged, "invalid_packets", invalid}
}
