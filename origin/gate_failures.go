package origin

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// freeFailures is how many wrong keys an address may send before its
	// answers are delayed: an encoder with yesterday's key is told at once.
	freeFailures = 3

	// maxFailureDelay bounds the delay of a refusal. Right keys are never
	// delayed, so that nobody is locked out by a neighbour behind the same NAT.
	maxFailureDelay = 5 * time.Second

	// failureMemory is how long wrong keys are held against an address.
	failureMemory = 10 * time.Minute

	// maxFailureAddresses bounds the memory for them. When it is reached all
	// is forgotten: who has that many addresses isn't slowed down by it anyway.
	maxFailureAddresses = 4096
)

// failures counts wrong keys by address.
type failures struct {
	mu        sync.Mutex
	byAddress map[netip.Addr]failure
}

type failure struct {
	count int
	last  time.Time
}

func newFailures() *failures {
	return &failures{byAddress: make(map[netip.Addr]failure)}
}

// add counts a wrong key and returns how long its answer has to wait: from
// the fourth on 250 ms, doubled with each.
func (f *failures) add(address netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := f.byAddress[address]
	if now.Sub(entry.last) > failureMemory {
		entry.count = 0
	}
	entry.count++
	entry.last = now
	if len(f.byAddress) >= maxFailureAddresses {
		clear(f.byAddress)
	}
	f.byAddress[address] = entry
	if entry.count <= freeFailures {
		return 0
	}
	return min(maxFailureDelay, 250*time.Millisecond<<min(entry.count-freeFailures-1, 10))
}
