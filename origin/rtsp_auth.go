package origin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

// publishUser is the user name of all publishers; the key is the password.
const publishUser = "publish"

// credentials says whether a request brings credentials at all. Clients first
// ask without, to be told how.
func credentials(request *base.Request) (headers.Authorization, bool) {
	var a headers.Authorization
	err := a.Unmarshal(request.Header["Authorization"])
	return a, err == nil && a.Username != ""
}

// authorized checks the key of a stream. For an unknown stream it does the
// same work with a key that nobody has, so that neither the answer nor its
// time tells which streams there are.
func authorized(conn *gortsplib.ServerConn, request *base.Request, key string, known bool) bool {
	if !known {
		key = rand.Text()
	}
	// It also makes the nonce that the 401 answer needs. Its comparison of
	// Basic passwords takes a time that depends on the key, hence the next step;
	// the response of Digest is different in each connection.
	valid := conn.VerifyCredentials(request, publishUser, key)
	if a, ok := credentials(request); ok && a.Method == headers.AuthMethodBasic {
		valid = equalSecret(a.Username, publishUser) && equalSecret(a.BasicPass, key)
	}
	return valid && known
}

// equalSecret compares in a time that depends on neither text nor length.
func equalSecret(a, b string) bool {
	hashA, hashB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(hashA[:], hashB[:]) == 1
}

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
