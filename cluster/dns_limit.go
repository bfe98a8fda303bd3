package cluster

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limiter bounds the answers of one kind that go by UDP to one network (IPv4:
// /24, IPv6: /56), so that who forges a victim's address gets the victim little
// more than what it was asked. Of the answers beyond the bound every second one
// is empty and says TC, so that a resolver in that network comes by TCP; the
// others are not sent.
//
// It is the response rate limiting of BIND, in a table of fixed size: a question
// costs one hash and one look, and no memory.
type limiter struct {
	interval int64 // nanoseconds between answers at the bound
	seed     maphash.Seed

	mu       sync.Mutex
	accounts [limitSets][limitWays]account
}

const (
	// limitSets times limitWays networks and kinds have accounts, 3 MB of them.
	limitSets = 1 << 15
	limitWays = 4
	// limitCredit is how much may be saved up, and limitDebt how long a flood is
	// remembered after its end.
	limitCredit = time.Second
	limitDebt   = 15 * time.Second
)

// account is how much a network had of one kind of answer.
type account struct {
	tag  uint64 // of network and kind; another one's with the same is as likely as a forged key
	paid int64  // unix nanoseconds up to which the answers are used up
	slip bool   // the next one beyond the bound is sent, empty
}

// admission says what is done with an answer.
type admission int

const (
	admitted admission = iota
	slipped            // empty, with TC
	dropped
)

// newLimiter returns nil, which limits nothing, for 0.
func newLimiter(perSecond int) *limiter {
	if perSecond <= 0 {
		return nil
	}
	return &limiter{interval: int64(time.Second) / int64(perSecond), seed: maphash.MakeSeed()}
}

// admit says what to do with an answer to a network. An answer of no known
// network is sent.
func (l *limiter) admit(to netip.Addr, k kind) admission {
	if l == nil || !to.IsValid() {
		return admitted
	}
	now, tag := time.Now().UnixNano(), l.tag(to, k)
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(tag, now)
	if a == nil {
		// A hundred thousand networks at once: the flood is spread so thin that
		// it hurts none of them, and to drop would hurt all resolvers.
		return admitted
	}
	balance := min(now-a.paid, int64(limitCredit)) - l.interval
	a.paid = now - max(balance, -int64(limitDebt))
	if balance >= 0 {
		return admitted
	}
	if a.slip = !a.slip; a.slip {
		return dropped
	}
	return slipped
}

// account finds, or opens, the one of a tag; nil when all of its places are
// taken. One that has its whole credit is as good as none. It needs l.mu.
func (l *limiter) account(tag uint64, now int64) *account {
	set := &l.accounts[tag%limitSets]
	var free *account
	for i := range set {
		switch a := &set[i]; {
		case a.tag == tag:
			return a
		case now-a.paid >= int64(limitCredit):
			free = a
		}
	}
	if free != nil {
		*free = account{tag: tag, paid: now - int64(limitCredit)}
	}
	return free
}

// tag stands for a network and a kind. The seed keeps others from finding two
// with the same.
func (l *limiter) tag(to netip.Addr, k kind) uint64 {
	var key [16 + 4]byte
	if to = to.Unmap(); to.Is4() {
		raw := to.As4()
		copy(key[:], raw[:3])
		key[15] = 1 // no network of IPv6 has this
	} else {
		raw := to.As16()
		copy(key[:], raw[:7])
	}
	binary.BigEndian.PutUint16(key[16:], k.qtype)
	key[18], key[19] = uint8(k.sort), k.name
	return maphash.Bytes(l.seed, key[:])
}

// kind is what an answer counts as. Only those with data differ by type. All
// relays' own names are one, as are all names that are not there: else whoever
// asks for another one each time would never reach the bound.
type kind struct {
	sort  sort
	qtype uint16 // of data
	name  uint8  // see numberOf
}

type sort uint8

const (
	data sort = iota
	noData
	noName
	failure // also of what could not be read
)

// The numbers of names.
const (
	apexNumber uint8 = iota // and of what is not there
	relaysNumber
	hostsNumber // name servers, and what is above them: a few
)

func numberOf(at place) uint8 {
	switch at {
	case atRelay:
		return relaysNumber
	case atHost, between:
		return hostsNumber
	}
	return apexNumber
}
