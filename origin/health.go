package origin

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// healthWindow is how many seconds of a feed its figures look back on.
	healthWindow = 10

	// rateSeconds is what rates are taken over: long enough for a whole GOP as
	// it should be, short enough to show what happens now.
	rateSeconds = 5
)

// health watches one feed as its units come, for people to see what is wrong
// with it before viewers do. It decodes nothing: it knows sizes, times, and what
// the heads of NAL units say.
//
//	unit ─▶ trackHealth: the open second ─▶ window of ten ─▶ rules ─▶ alarms
//
// Its clock is when the units came; a tick each second stands in while none do.
// The ingest's goroutine feeds it, any other may look.
type health struct {
	logger   *slog.Logger
	queue    *unitQueue
	received *reception
	line     func() lineHealth // what the protocol knows of its line; nil: nothing

	mu       sync.Mutex
	tracks   []trackHealth // in the publication's order
	pictures int           // how many of them are video
	begun    time.Time     // when the first unit came
	end      time.Time     // of the open second
	last     time.Time     // when the newest unit came
	seconds  int           // closed so far
	deepest  int64         // bytes in the queue, the most of the open second
	queued   [healthWindow]int64
	lossy    [healthWindow]bool // something was lost or damaged in it
	spoiled  int64              // lost and damaged so far
	dropped  int64              // packets that the line did not bring in time, so far
	alarms   []alarmState       // one for each rule
	figures  Health             // as of the last second that was closed
}

// lineHealth is what a protocol knows of the line to the encoder.
type lineHealth struct {
	rtt time.Duration // 0: not known

	// resent are packets that were lost and asked for again, dropped those of
	// them that never came in time.
	resent, dropped int64
}

func newHealth(tracks []*ingestTrack, line func() lineHealth, queue *unitQueue, received *reception, logger *slog.Logger) *health {
	h := &health{logger: logger, queue: queue, received: received, line: line, alarms: make([]alarmState, len(alarmRules))}
	for _, t := range tracks {
		h.tracks = append(h.tracks, newTrackHealth(t))
		if t.video {
			h.pictures++
		}
	}
	return h
}

// unit takes a unit as it came, and as it is published. It allocates nothing.
func (h *health) unit(t *ingestTrack, u *timedUnit, s shaped) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun.IsZero() {
		h.begun, h.end = u.arrival, u.arrival.Add(time.Second)
	}
	h.pass(u.arrival)
	if u.arrival.After(h.last) {
		h.last = u.arrival
	}
	h.deepest = max(h.deepest, h.queue.bytes.Load())
	h.tracks[t.index].unit(u, s, u.arrival.Sub(h.begun))
}

// snapshot is as of the last second that was closed.
func (h *health) snapshot() (Health, []Alarm) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.figures, raised(h.alarms)
}

// tick lets seconds pass in which nothing comes.
func (h *health) tick(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun.IsZero() {
		h.pass(now)
	}
}

// pass closes the seconds that are over. Of a long silence the window's length
// is enough. It needs the lock, as all below.
func (h *health) pass(now time.Time) {
	if late := now.Sub(h.end); late > 2*healthWindow*time.Second {
		h.end = now.Add(-2 * healthWindow * time.Second)
	}
	for !now.Before(h.end) {
		h.close()
		h.end = h.end.Add(time.Second)
	}
}

// close closes the open second, and judges.
func (h *health) close() {
	for i := range h.tracks {
		h.tracks[i].close()
	}
	lost, damaged, _ := h.received.counts()
	at := h.seconds % healthWindow
	h.lossy[at] = lost+damaged > h.spoiled
	h.spoiled = lost + damaged
	h.queued[at], h.deepest = h.deepest, h.queue.bytes.Load()
	var line lineHealth
	if h.line != nil {
		line = h.line()
	}
	h.lossy[at] = h.lossy[at] || line.dropped > h.dropped
	h.dropped = line.dropped
	h.seconds++
	h.measure(line)
	h.judge()
}

// picture is the track with it, the first of several, nil without one.
func (h *health) picture() *trackHealth {
	if h.tracks[0].video {
		return &h.tracks[0]
	}
	return nil
}

// sounds are the tracks with sound.
func (h *health) sounds() []trackHealth {
	if h.tracks[0].video {
		return h.tracks[h.pictures:]
	}
	return h.tracks
}

// silence is how long nothing has come.
func (h *health) silence() time.Duration { return h.end.Sub(h.last) }
