package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// How a fetcher gets the next list. The best parent is asked to hold the
// request until there is one. If it fails, the next parent is asked at once. If
// it is late, the next one is asked beside it, first for what it has: when that
// is more, the best parent is at fault and is left; when it is not, the source
// stands still, and whoever gets the next list first gives it, without blame. A
// moment later the one after it is asked beside them, and so on. When all stand
// still for 1.5 × TARGETDURATION, all are asked for what they
// have: it shows who is ahead, or that they live.
//
// When two fail in one race, or one where another had failed before and was not
// found well since, part of the tree is gone, and the next ones may be below it:
// they would hold the question until they have found another parent themselves. So
// the others are asked beside each other. Whoever was to answer
// before the one that does, and does not a moment later, is left.

const (
	// maxRace is how many parents are asked the same question side by side: two of
	// each tier that may be above, and an origin.
	maxRace = 5
	// upheaval is how many parents have failed when it is more than one node that is
	// gone.
	upheaval = 2
	// siblingPatience is by how much later a parent may have what another one has
	// that is nearer to the source: a few ways and wake-ups.
	siblingPatience = 50 * time.Millisecond
)

// race is one question to the parents. Its goroutine alone uses it.
type race struct {
	*fetcher
	question
	bases   []string    // best first
	asked   int         // of these
	failed  int         // of these
	out     int         // of the others: they failed before, and stand behind them
	doubt   bool        // whether the first of those who are asked has it at all
	pending []string    // in the order in which they were asked
	answers chan answer // one from each that was asked
}

// race asks for the next list.
func (r *fetcher) race(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bases := r.parents.order()
	if len(bases) == 0 { // gone since the wait for one
		return answer{}, errNoParent
	}
	out := len(bases) - r.parents.wellOf(bases)
	return (&race{fetcher: r, question: r.question(), bases: bases, out: out, answers: make(chan answer, len(bases))}).run(ctx)
}

// begin asks the best parent. When the last list is from another one that is well,
// that one is asked beside it: a move to a better place must cost nothing if
// that is none.
func (r *race) begin(ctx context.Context) {
	last := slices.Index(r.bases, r.from)
	r.doubt = r.held && last > 0 && !r.parents.isOut(r.from)
	if r.doubt {
		r.bases = slices.Insert(slices.Delete(r.bases, last, last+1), 1, r.from)
	}
	r.next(ctx, r.ask)
	if r.doubt {
		r.next(ctx, r.askToo)
	}
}

// askToo asks a parent for the next list, as the best one is asked, but not to be
// fed by it. What it has is not asked for before: who is full refuses that, and
// gives the next list to who has viewers.
func (r *race) askToo(ctx context.Context, base string, q question) answer {
	q.follow = false
	return r.fetcher.ask(ctx, base, q)
}

func (r *race) run(ctx context.Context) (answer, error) {
	late := time.NewTimer(r.late)
	defer late.Stop()
	limit := time.NewTimer(r.limit)
	defer limit.Stop()
	var best answer           // it waits for those who were to give it
	var behind []string       // these
	var over <-chan time.Time // they had their time
	var err error
	for r.begin(ctx); len(r.pending) > 0; {
		select {
		case a := <-r.answers:
			earlier := r.take(a.base)
			switch {
			case a.err != nil:
				err = fmt.Errorf("%s: %w", a.base, a.err)
				r.lose(ctx, a)
			case best.version != nil && !slices.Contains(behind, a.base):
				// One more of those who were not to give it.
			case best.version != nil || !r.doubt || len(earlier) == 0:
				r.win(a)
				if a.ahead {
					r.blame(earlier)
				}
				return a, nil
			default:
				best, behind, over = a, earlier, time.After(siblingPatience)
			}
		case <-late.C:
			r.next(ctx, r.askBeside)
			late.Reset(r.window.constants.slack())
		case <-over:
			r.win(best)
			r.blame(behind)
			return best, nil
		case <-limit.C:
			return answer{}, errStandsStill
		case <-ctx.Done():
			return answer{}, context.Cause(ctx)
		}
	}
	if best.version != nil { // the others failed
		r.win(best)
		return best, nil
	}
	return answer{}, err
}

// next asks the next parent, if there is one and it is time for it.
func (r *race) next(ctx context.Context, how func(context.Context, string, question) answer) bool {
	if r.asked == len(r.bases) || len(r.pending) >= maxRace {
		return false
	}
	base := r.bases[r.asked]
	r.asked++
	r.pending = append(r.pending, base)
	r.wait.Go(func() { r.answers <- how(ctx, base, r.question) })
	return true
}

// take notes that a parent has answered, and returns those who were asked before
// it and have not.
func (r *race) take(base string) (earlier []string) {
	i := slices.Index(r.pending, base)
	earlier = slices.Clone(r.pending[:i])
	r.pending = slices.Delete(r.pending, i, i+1)
	return earlier
}

// win takes a list from a parent.
func (r *race) win(a answer) {
	r.window.trust(r.window.constants.maxHold())
	r.parents.well(a.base)
	giver := ""
	if r.doubt {
		giver = a.base
	}
	r.parents.gave(giver)
}

// lose goes on at the next parent.
func (r *race) lose(ctx context.Context, a answer) {
	if !errors.Is(a.err, errNewEpoch) { // the authority's word may still be on its way
		r.leave(a.base, a.err)
	}
	r.failed++
	r.next(ctx, r.ask)
	if r.failed+r.out < upheaval || !r.held {
		return
	}
	for r.doubt = true; r.next(ctx, r.askToo); {
	}
}

// blame leaves parents that are behind another one.
func (r *race) blame(behind []string) {
	for _, base := range behind {
		r.leave(base, errLate)
	}
}
