package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// joinFetches is how many objects are fetched side by side when a window is
	// filled for the first time.
	joinFetches = 4
	// backlogLeast is how many objects are more than a pause of the parent's.
	backlogLeast = 8
	// joinSiblings is how many nodes beside the parents are asked for one of them.
	joinSiblings = 2
)

// fetcher keeps one window equal to the upstreams', as a client of standard
// Low-Latency HLS: it reloads the list in blocking mode, and has the hinted
// part asked for before it is there. Each object is fetched once, from the best
// parent that gives it. A list is published, verbatim, when all that it names
// is here.
type fetcher struct {
	*Follower
	window  *Window
	path    string // "/theatre/main/"
	log     *slog.Logger
	parents *parents
	wait    sync.WaitGroup // for all that run starts

	// Used by run's goroutine alone.
	taken time.Time // when the newest list was fetched
	sure  time.Time // when a list was last known to be the upstream's to the letter
	from  string    // the parent that gave the newest list

	mu       sync.Mutex             // before passage.mu, and that before parents.mu
	passages map[MediaName]*passage // under way or just landed
	shunned  map[string]bool        // siblings that failed once; at most as many as there are
}

func newFetcher(f *Follower, w *Window, path string, log *slog.Logger) *fetcher {
	return &fetcher{
		Follower: f, window: w, path: path, log: log,
		parents: newParents(f.Parents), passages: map[MediaName]*passage{}, shunned: map[string]bool{},
	}
}

// run follows until ctx ends.
func (r *fetcher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer r.wait.Wait()
	defer cancel()
	pause := backoff{}
	for ctx.Err() == nil {
		if r.await(ctx, r.parents.order, r.ParentsChanged) != nil {
			return
		}
		wake := r.awoken()
		err := r.step(ctx)
		if errors.Is(err, errNewEpoch) {
			r.hurry()
		}
		switch {
		case ctx.Err() != nil:
		case err == nil:
			pause = backoff{}
		case errors.Is(err, errStandsStill):
			// The upstreams live and have nothing new: asked again at once, for
			// they hold the question.
		default:
			r.log.Warn("following was interrupted", "err", err)
			pause.wait(ctx, wake)
		}
	}
}

// step takes the next list and all that it names.
func (r *fetcher) step(ctx context.Context) error {
	if v := r.window.Version(); v != nil && v.Playlist.Ended {
		return r.rest(ctx)
	}
	a, err := r.newer(ctx)
	if err != nil {
		return err
	}
	p := a.version.Playlist
	r.prefetch(ctx, p.Hint)
	if err := r.fill(ctx, p); err != nil {
		return err
	}
	if err := r.window.publish(a.version); err != nil {
		return err
	}
	r.taken = time.Now()
	if r.from != "" && r.from != a.base {
		r.switched()
	}
	r.from = a.base
	if a.sure {
		r.sure = r.taken
	}
	r.forget(p.Hint)
	if base := r.parents.doubtful(); base != "" {
		r.wait.Go(func() { r.probe(ctx, base) })
	}
	return nil
}

// leave puts a parent that failed behind the others, and takes what is under
// way from it elsewhere.
func (r *fetcher) leave(base string, err error) {
	if to := referral(err); len(to) > 0 && r.Refer != nil {
		r.Refer(to)
	}
	if !r.parents.fail(base) || r.parents.order()[0] == base {
		return // known already, or there is no other
	}
	r.log.Warn("a parent is left", "parent", base, "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.passages {
		p.redirect(base)
	}
}

// prefetch asks for the part that comes next, before the list that names it.
func (r *fetcher) prefetch(ctx context.Context, hint MediaName) {
	if hint.Kind == PartMedia && !r.window.Has(hint) {
		r.launch(ctx, missing{hint, r.window.constants.PartTarget, false}, false)
	}
}

// launch begins to fetch an object, unless that is under way, and returns its
// passage. due tells that a list names it.
func (r *fetcher) launch(ctx context.Context, m missing, due bool) *passage {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.passages[m.name]
	if p != nil && !p.failed() {
		if due {
			p.becomeDue()
		}
		return p
	}
	// A prefetch that failed is begun anew when the list names it: the upstream
	// may have changed its mind about what comes next.
	p = &passage{missing: m, r: r, due: due, done: make(chan struct{})}
	ctx, p.cancel = context.WithCancel(ctx)
	r.passages[m.name] = p
	r.wait.Go(func() { p.run(ctx) })
	return p
}

// fill gets all media of p that are not here, the newest first. What is old and
// gone everywhere, or too much for the budget, is done without.
func (r *fetcher) fill(ctx context.Context, p *Playlist) error {
	all := r.missing(p)
	backlog := len(all) > backlogLeast
	for begun, landed := 0, 0; landed < len(all); landed++ {
		m := all[len(all)-1-landed]
		for ; begun < len(all) && begun < landed+joinFetches; begun++ {
			if next := all[len(all)-1-begun]; r.wanted(next) {
				next.old = next.old && backlog
				r.launch(ctx, next, true).inBacklog(backlog)
			}
		}
		if !r.wanted(m) || r.window.Has(m.name) {
			continue
		}
		err := r.launch(ctx, m, true).landed(ctx)
		if (gone(err) || errors.Is(err, ErrBudget)) && m.name.Kind != Init && r.window.spare(p, m.name.Number) {
			r.log.Warn("older media are done without", "before", m.name, "err", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("fetch %v: %w", m.name, err)
		}
	}
	return nil
}

// siblings are those to be asked for what is old.
func (r *fetcher) siblings() []string {
	if r.Siblings == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(r.Siblings()), func(base string) bool { return r.shunned[base] })
	return all[:min(len(all), joinSiblings)]
}

// shun asks a sibling no more: it is full, or slow, or not to be reached.
func (r *fetcher) shun(base string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shunned[base] = true
}

// wanted tells whether an object has not been given up.
func (r *fetcher) wanted(m missing) bool {
	return m.name.Kind == Init || m.name.Number >= r.window.least()
}

// missing is a media object that a list names and the window lacks.
type missing struct {
	name     MediaName
	duration time.Duration
	old      bool // whole segments have followed it
}

// missing returns them in the order of the list.
func (r *fetcher) missing(p *Playlist) []missing {
	var all []missing
	open := p.MediaSequence + uint64(len(p.Segments))
	want := func(name MediaName, d time.Duration) {
		if name.Kind != 0 && !r.window.Has(name) {
			all = append(all, missing{name, d, name.Kind != Init && name.Number+1 < open})
		}
	}
	var inForce MediaName
	wantMap := func(name MediaName) {
		if name != inForce {
			inForce = name
			want(name, 0)
		}
	}
	wantParts := func(parts []Part) {
		for i := range parts {
			if !parts[i].Gap {
				want(parts[i].Name, parts[i].Duration)
			}
		}
	}
	floor := r.window.least()
	for i := range p.Segments {
		s := &p.Segments[i]
		if p.MediaSequence+uint64(i) < floor {
			continue
		}
		wantMap(s.Map)
		switch {
		case len(s.Parts) > 0:
			wantParts(s.Parts) // of a gap, what there is
		case !s.Gap:
			want(s.Name, s.Duration)
		}
	}
	wantMap(p.Open.Map)
	wantParts(p.Open.Parts)
	return all
}

// forget drops the passages that landed, and ends those of hints that are no
// longer true.
func (r *fetcher) forget(hint MediaName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, p := range r.passages {
		if name != hint {
			p.cancel()
			delete(r.passages, name)
		}
	}
}
