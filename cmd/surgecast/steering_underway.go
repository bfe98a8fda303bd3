package main

import (
	"sync"
	"time"
)

// underway are the viewers whom this node has sent to a relay, or away from
// one, and who don't show in that relay's load yet: it is a mean of ten seconds,
// and comes by gossip. Without them all who come meanwhile would be sent to the
// relay that was the emptiest before.
type underway struct {
	mu   sync.Mutex
	sent map[string]*[loadShows + loadKnown + 1]sentBits // by pathway; at most maxUnderway
}

// sentBits are those of one second; negative when more left than came.
type sentBits struct {
	second int64 // unix
	bits   float64
}

const (
	loadShows = 10 // seconds of which a load is the mean
	loadKnown = 2  // seconds until a change of it is known: the tick, the pool's changes a second, gossip
	// maxUnderway bounds the pathways. With one more all are forgotten, as they
	// are after some seconds anyway.
	maxUnderway = 256
)

// add notes that so many bits/s will go out by a pathway, or no longer (negative).
func (u *underway) add(pathway string, bits float64) {
	now := time.Now().Unix()
	u.mu.Lock()
	defer u.mu.Unlock()
	seconds := u.sent[pathway]
	if seconds == nil {
		if u.sent == nil || len(u.sent) >= maxUnderway {
			u.sent = make(map[string]*[loadShows + loadKnown + 1]sentBits)
		}
		seconds = new([loadShows + loadKnown + 1]sentBits)
		u.sent[pathway] = seconds
	}
	one := &seconds[now%int64(len(seconds))]
	if one.second != now {
		*one = sentBits{second: now}
	}
	one.bits += bits
}

// bits is what a relay's load, as it is known now, does not show yet, in bits/s:
// all of those who went within loadKnown, then a tenth less with each second.
func (u *underway) bits(pathway string) (sum float64) {
	now := time.Now().Unix()
	u.mu.Lock()
	defer u.mu.Unlock()
	seconds := u.sent[pathway]
	if seconds == nil {
		return 0
	}
	for _, one := range seconds {
		if left := loadShows + loadKnown - (now - one.second); left > 0 {
			sum += one.bits * min(float64(left)/loadShows, 1)
		}
	}
	return sum
}
