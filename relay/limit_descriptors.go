package relay

import (
	"math"
	"syscall"
)

// RaiseDescriptorLimit raises the process's limit of file descriptors as far as
// it may, and returns it; 1024 where the system does not tell.
func RaiseDescriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	if raised := (syscall.Rlimit{Cur: limit.Max, Max: limit.Max}); limit.Cur < limit.Max &&
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
		limit = raised
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// reservedDescriptors is how many of a limit are kept from viewers: for
// refusals, the media on disk and in memory, gossip, other nodes and the
// private API. At a small limit it is half of it.
func reservedDescriptors(limit int) int {
	return min(limit/2, max(256, min(limit/8, 4096)))
}
