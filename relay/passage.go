package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxRounds is how often all parents are asked for an object that a list names,
// before the list is asked for anew.
const maxRounds = 3

// backlogPatience is by how much longer one of many objects may take.
const backlogPatience = 8

// alonePatience is by how much longer the only parent is waited for.
const alonePatience = 4

// Causes with which a passage ends its request to one parent and goes on at
// another.
var (
	errLate  = errors.New("the media came too late")
	errMoved = errors.New("its parent was left")
)

// passage is one object on its way from the parents into the window. What is old
// is asked of siblings first, so that a parent's link is left to what is live. It begins
// at the best parent; when that one breaks off, is late or is left, it goes on
// at the next one from the byte that it reached.
type passage struct {
	missing
	r      *fetcher
	cancel context.CancelFunc
	done   chan struct{} // closed at its end
	err    error         // valid after done

	mu      sync.Mutex
	due     bool   // a list names it: a parent that is silent now is late
	backlog bool   // one of many: it shares the link with others
	round   int    // each round over all parents has twice the patience
	at      string // the parent that is asked
	begun   bool   // its answer has begun
	stop    context.CancelCauseFunc
	timer   *time.Timer // stops the request when the parent is late
}

func (p *passage) run(ctx context.Context) {
	defer close(p.done)
	defer p.cancel()
	in := newIncoming(p.name, p.duration, p.r.window.budget)
	if p.err = p.carry(ctx, in); p.err == nil {
		p.err = p.r.window.land(in)
	} else {
		p.r.window.abandon(in, p.err)
	}
}

// failed tells whether it ended without the object.
func (p *passage) failed() bool {
	select {
	case <-p.done:
		return p.err != nil
	default:
		return false
	}
}

// landed waits for its end.
func (p *passage) landed(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// carry asks one parent after the other until the object is whole.
func (p *passage) carry(ctx context.Context, in *incoming) (err error) {
	c := &carrier{Follower: p.r.Follower, in: in, path: p.r.path, begun: func() {
		p.answers()
		p.r.window.begin(in)
	}}
	if p.old {
		for _, base := range p.r.siblings() {
			if err := p.transfer(ctx, base, c); err == nil || ctx.Err() != nil || errors.Is(err, ErrBudget) {
				return err
			} else if !gone(err) {
				p.r.shun(base)
			}
		}
	}
	var tried []string
	pause, nowhere := backoff{}, true
	for {
		base := p.untried(tried)
		if base == "" {
			// After a round of nothing but 404 the object is nowhere; for one
			// that is only hinted at, one round is enough.
			if nowhere || !p.nextRound() {
				return err
			}
			tried, nowhere = nil, true
			pause.wait(ctx, nil)
			continue
		}
		err = p.transfer(ctx, base, c)
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, ErrBudget):
			return err
		case errors.Is(err, errMoved):
			continue
		}
		tried = append(tried, base)
		nowhere = nowhere && gone(err)
		if !gone(err) && !early(err) {
			p.r.leave(base, fmt.Errorf("fetch %v: %w", p.name, err))
		}
	}
}

// untried returns the best parent that is not among tried, or "".
func (p *passage) untried(tried []string) string {
	for _, base := range p.r.parents.forMedia() {
		if !slices.Contains(tried, base) {
			return base
		}
	}
	return ""
}

// transfer asks one parent, under watch.
func (p *passage) transfer(ctx context.Context, base string, c *carrier) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.ask(base, stop)
	defer p.asked()
	return c.transfer(ctx, base)
}

// The rest watches over the parent that is asked: how long it may be silent,
// and how long its answer may take.

func (p *passage) ask(base string, stop context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.begun, p.stop = base, false, stop
	if p.due {
		p.arm(p.silence())
	}
}

// asked ends the watch.
func (p *passage) asked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = ""
	if p.timer != nil {
		p.timer.Stop()
	}
}

// becomeDue tells that a list names the object now.
func (p *passage) becomeDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due {
		return
	}
	p.due = true
	if p.at != "" && !p.begun {
		p.arm(p.silence())
	}
}

// answers tells that the answer has begun.
func (p *passage) answers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
	p.arm(p.receipt())
}

// redirect ends the request if it is with a parent that was left.
func (p *passage) redirect(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == base {
		p.stop(errMoved)
	}
}

// nextRound tells whether all parents are to be asked once more.
func (p *passage) nextRound() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
	return p.due && p.round < maxRounds
}

// inBacklog tells that the object is one of many.
func (p *passage) inBacklog(many bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backlog = p.backlog || many
}

// silence is how long a parent may take to begin with an object that is due.
func (p *passage) silence() time.Duration {
	c := p.r.window.constants
	d := c.slack()
	if p.backlog {
		d += time.Second
	}
	return p.patience(d)
}

// receipt is how long an answer may take from its beginning: a parent that
// needs longer for a part than the part lasts can't keep up.
func (p *passage) receipt() time.Duration {
	c := p.r.window.constants
	d := max(p.duration, c.PartTarget) + c.slack()
	if p.backlog {
		d *= backlogPatience // the link is shared
	}
	return p.patience(d)
}

// patience is d, or more where it is no use to lose it soon: in later rounds,
// and with the only parent. It needs p.mu.
func (p *passage) patience(d time.Duration) time.Duration {
	if len(p.r.parents.order()) == 1 {
		d *= alonePatience
	}
	return d << p.round
}

// arm needs p.mu.
func (p *passage) arm(d time.Duration) {
	if p.timer != nil {
		p.timer.Stop()
	}
	stop := p.stop
	p.timer = time.AfterFunc(d, func() { stop(errLate) })
}
