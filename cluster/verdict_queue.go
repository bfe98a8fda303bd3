package cluster

import (
	"math"
	"sync"
)

// repeats, times the logarithm of the pool's size, is how often a node passes
// each verdict on: in a pool of a hundred that reaches all but one in a thousand
// while a tenth of the packets is lost. Exchanges of all knowledge bring the rest.
const repeats = 3

// verdictQueue is the verdicts that go along with gossip. Those go first that
// were sent the least often, and of them the newest. So what has just happened
// is heard of at once, also while hundreds of verdicts on a lost rack are still
// under way. (memberlist's own queue sends the longest first, and that a relay is
// back is the shortest.)
type verdictQueue struct {
	size  func() int         // of the pool
	holds func(Verdict) bool // no newer one has taken its place

	mu    sync.Mutex
	sent  [][]Verdict // by how often they were sent; the newest last
	count int         // of sent
}

// add queues a verdict. Beyond maxVerdicts those are dropped that were sent most
// often, and of them the oldest.
func (q *verdictQueue) add(v Verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(0, v)
	for times := len(q.sent) - 1; q.count > maxVerdicts; times-- {
		excess := min(q.count-maxVerdicts, len(q.sent[times]))
		q.sent[times] = q.sent[times][excess:]
		q.count -= excess
	}
}

// put needs q.mu.
func (q *verdictQueue) put(times int, v Verdict) {
	if times == len(q.sent) {
		q.sent = append(q.sent, nil)
	}
	q.sent[times] = append(q.sent[times], v)
	q.count++
}

// len is how many are queued; some may not hold any more.
func (q *verdictQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// packet takes as many verdicts as fit into limit bytes, where each message costs
// overhead more.
func (q *verdictQueue) packet(overhead, limit int) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.take(overhead, limit)
	verdicts := make([]Verdict, len(taken))
	most := repeats * int(math.Ceil(math.Log10(float64(q.size()+1))))
	for i := len(taken) - 1; i >= 0; i-- {
		verdicts[i] = taken[i].Verdict
		if again := taken[i].times + 1; again < most {
			q.put(again, taken[i].Verdict)
		}
	}
	return encodeVerdicts(verdicts...)
}

// queuedVerdict was sent some times before.
type queuedVerdict struct {
	Verdict
	times int
}

// take needs q.mu.
func (q *verdictQueue) take(overhead, limit int) (taken []queuedVerdict) {
	grouped := make(map[verdictGroup]bool)
	for times := range q.sent {
		for n := len(q.sent[times]) - 1; n >= 0; n-- {
			v := q.sent[times][n]
			if q.holds(v) {
				cost := v.bytesInGroup()
				if g := v.group(); !grouped[g] {
					cost += overhead + g.bytes()
				}
				if limit -= cost; limit < 0 {
					return taken
				}
				grouped[v.group()] = true
				taken = append(taken, queuedVerdict{v, times})
			}
			q.sent[times] = q.sent[times][:n]
			q.count--
		}
	}
	return taken
}
