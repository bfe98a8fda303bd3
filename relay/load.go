package relay

import (
	"sync"
	"time"
)

// loadWindow is the time over which a load is averaged.
const loadWindow = 10 * time.Second

// Load measures what a node delivers, without knowing to whom. A viewer is
// what takes one second of media a second: the media seconds that went out in
// the last 10 s, divided by 10 s. That counts people behind one address
// rightly and needs no address.
type Load struct {
	mu      sync.Mutex
	buckets [int(loadWindow/time.Second) + 1]bucket // a second each; one is being filled
	total   LoadTotals
	began   time.Time
}

type bucket struct {
	second int64 // unix
	bytes  int64
	media  time.Duration
}

// LoadTotals are counts since the process began.
type LoadTotals struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
}

// LoadSnapshot is a load at one moment.
type LoadSnapshot struct {
	Viewers       float64    `json:"viewers"`
	BitsPerSecond float64    `json:"bits_per_second"`
	Total         LoadTotals `json:"total"`

	over time.Duration // what the means are of, whole seconds
}

// NewLoad returns a load of nothing.
func NewLoad() *Load { return &Load{began: time.Now()} }

// Add counts an answer of that many bytes. media is the media time that a
// viewer got with it, 0 for lists and for other nodes.
func (l *Load) Add(bytes int64, media time.Duration) { l.AddMany(1, bytes, media) }

// AddMany counts answers that went out together: their bytes and media times in
// sum.
func (l *Load) AddMany(requests, bytes int64, media time.Duration) {
	now := time.Now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total.Requests += requests
	l.total.Bytes += bytes
	b := &l.buckets[now%int64(len(l.buckets))]
	if b.second != now {
		*b = bucket{second: now}
	}
	b.bytes += bytes
	b.media += media
}

// Snapshot returns the load over the last 10 full seconds, or over the life of
// the process if that is shorter.
func (l *Load) Snapshot() LoadSnapshot {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LoadSnapshot{Total: l.total}
	var bytes int64
	var media time.Duration
	for _, b := range l.buckets {
		if b.second < now.Unix() && b.second >= now.Unix()-int64(loadWindow/time.Second) {
			bytes += b.bytes
			media += b.media
		}
	}
	over := min(loadWindow, max(now.Sub(l.began).Truncate(time.Second), time.Second))
	s.over = over
	s.Viewers = media.Seconds() / over.Seconds()
	s.BitsPerSecond = float64(bytes) * 8 / over.Seconds()
	return s
}
