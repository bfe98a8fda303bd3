package relay

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// holds are the requests of a lane that are held, by what they wait for. All
// that wait for one thing are woken by one goroutine, with one answer: ten
// thousand viewers cost one wait, not ten thousand goroutines and timers.
// There are never more holds than requests.
type holds struct {
	ctx  context.Context // ends every hold
	wait *sync.WaitGroup

	mu     sync.Mutex
	byWhat map[holdKey]*hold
}

// holdKey is what a request waits for.
type holdKey struct {
	window *Window
	name   MediaName // of an object; zero of a list:
	msn    uint64
	part   int
}

// hold is one wait and those who share it.
type hold struct {
	key     holdKey
	end     context.CancelFunc
	waiters []*waiter // under holds.mu
}

// waiter is one held request.
type waiter struct {
	wish
	hold *hold // under holds.mu; nil when it is not held (any more)
	at   int   // its place in hold.waiters
	// wake is called once, from any goroutine, and must not block: a slow
	// viewer would keep the others waiting.
	wake waker
}

// waker is a connection, or a stream of one.
type waker interface {
	wake(*answering, outcome)
}

// answering is what one goroutine keeps while it wakes many waiters: what they
// get is mostly the same.
type answering struct {
	server *server
	plain  [2 * listWays]*prepared // by the wish, where that has no condition and no range
	write  socketWriter

	// What has left whole, told at the end.
	requests, bytes int64
	media           time.Duration
}

// count notes an answer that left whole.
func (a *answering) count(p *prepared) {
	a.requests++
	a.bytes += int64(len(p.body))
	a.media += p.media
}

// answer cuts an outcome to a wish.
func (a *answering) answer(o outcome, w *wish) *prepared {
	if w.condition != "" || w.ranges != "" {
		return a.server.cut(o, w)
	}
	way := 0
	if w.gzip {
		way |= listGzip
	}
	if w.blocking {
		way |= listBlocking
	}
	if w.skip {
		way |= listWays
	}
	if a.plain[way] == nil {
		a.plain[way] = a.server.cut(o, w)
	}
	return a.plain[way]
}

// join adds a waiter to those who wait for what the key says.
func (h *holds) join(s *server, key holdKey, w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.byWhat[key]
	if one == nil {
		ctx, end := context.WithCancel(h.ctx)
		one = &hold{key: key, end: end}
		h.byWhat[key] = one
		h.wait.Go(func() { h.run(ctx, s, one) })
	}
	w.hold, w.at = one, len(one.waiters)
	one.waiters = append(one.waiters, w)
}

// leave ends a waiter's wait. False: it is being answered at this moment.
func (h *holds) leave(w *waiter) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := w.hold
	if one == nil {
		return false
	}
	last := len(one.waiters) - 1
	one.waiters[w.at] = one.waiters[last]
	one.waiters[w.at].at = w.at
	one.waiters[last] = nil
	one.waiters = one.waiters[:last]
	w.hold = nil
	if last == 0 {
		one.end() // nobody waits
		delete(h.byWhat, one.key)
	}
	return true
}

// run waits for what a hold is about and wakes who shares it.
func (h *holds) run(ctx context.Context, s *server, one *hold) {
	defer one.end()
	o := one.key.wait(ctx)
	h.mu.Lock()
	waiters := one.waiters
	one.waiters = nil
	for _, w := range waiters {
		w.hold = nil
	}
	if h.byWhat[one.key] == one {
		delete(h.byWhat, one.key)
	}
	h.mu.Unlock()
	wakeAll(s, waiters, o)
}

// wait blocks until the thing is there, or never will be.
func (k holdKey) wait(ctx context.Context) (o outcome) {
	o.caching = k.window.caching
	if k.name.Kind != 0 {
		o.object, o.err = k.window.Media(ctx, k.name)
	} else {
		o.version, o.err = k.window.Await(ctx, k.msn, k.part)
	}
	return o
}

// wakeShare is how many waiters are worth a goroutine of their own.
const wakeShare = 64

// wakeAll gives each waiter its answer, on all cores.
func wakeAll(s *server, waiters []*waiter, o outcome) {
	shares := max(1, min(len(waiters)/wakeShare, runtime.GOMAXPROCS(0)))
	var others sync.WaitGroup
	for i := range shares {
		from, to := i*len(waiters)/shares, (i+1)*len(waiters)/shares
		wake := func() {
			a := &answering{server: s}
			for _, w := range waiters[from:to] {
				w.wake.wake(a, o)
			}
			s.Load.AddMany(a.requests, a.bytes, a.media)
		}
		if i == shares-1 {
			wake()
			break
		}
		others.Go(wake)
	}
	others.Wait()
}
