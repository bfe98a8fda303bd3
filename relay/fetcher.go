package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// How long an upstream may take, beside the time for which it may hold a
// request. The time to connect is bounded in the client's dialer.
const answerPatience = 5 * time.Second

// maxObjectBytes bounds one media object: some seconds of the fattest feed. A
// larger one is refused whole.
const maxObjectBytes = 64 << 20

// joinFetches is how many objects are fetched side by side when a window is
// filled for the first time.
const joinFetches = 8

// fetcher keeps one window equal to the upstream's, as a client of standard
// Low-Latency HLS: it reloads the list in blocking mode, and has the hinted
// part asked for before it is there. Each object is fetched once. A list is
// published, verbatim, when all that it names is here.
type fetcher struct {
	*Follower
	window   *Window
	path     string // "/theatre/main/"
	log      *slog.Logger
	patience time.Duration // for an answer that may be held

	flights map[MediaName]*flight // under way or just landed; used by run's goroutine alone
	wait    sync.WaitGroup        // for flights
}

// flight is one object on its way.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it landed
	err    error
}

// run follows until ctx ends.
func (r *fetcher) run(ctx context.Context) {
	pause := backoff{}
	for try := 0; ctx.Err() == nil; try++ {
		base := r.upstream(ctx, try)
		if base == "" {
			return
		}
		before := r.window.Version()
		err := r.follow(ctx, base)
		if ctx.Err() != nil {
			return
		}
		if r.window.Version() != before {
			pause, try = backoff{}, 0
		}
		r.log.Warn("following was interrupted", "upstream", base, "err", err)
		pause.wait(ctx)
	}
}

// follow follows one upstream until something fails.
func (r *fetcher) follow(ctx context.Context, base string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.wait.Wait()
	defer cancel()
	r.flights = map[MediaName]*flight{}
	for {
		text, err := r.list(ctx, base)
		if err != nil {
			return err
		}
		p, err := ParsePlaylist(text)
		if err != nil {
			return err
		}
		if known := r.epoch(); p.Epoch() > known {
			return fmt.Errorf("%w: epoch %v is beyond the authority's %v", ErrPlaylist, p.Epoch(), known)
		}
		r.prefetch(ctx, base, p.Hint)
		if err := r.fill(ctx, base, p); err != nil {
			return err
		}
		if err := r.window.Publish(text); err != nil {
			return err
		}
		r.forget(p.Hint)
		if p.Ended {
			// Nothing comes any more: an ended list is never held, so that asking
			// on would be asking without a pause.
			if err := r.rest(ctx, p.TargetDuration); err != nil {
				return err
			}
		}
	}
}

// rest waits.
func (r *fetcher) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// list fetches the newest list: held by the upstream until it has the part
// after the newest here.
func (r *fetcher) list(ctx context.Context, base string) ([]byte, error) {
	url := base + r.path + "live.m3u8"
	if v := r.window.Version(); v != nil {
		url += "?_HLS_msn=" + strconv.FormatUint(v.Playlist.OpenSequence(), 10) +
			"&_HLS_part=" + strconv.Itoa(len(v.Playlist.Open.Parts))
	}
	return r.get(ctx, url, maxPlaylistBytes, r.patience)
}

// prefetch asks for the part that comes next, before the list that names it.
func (r *fetcher) prefetch(ctx context.Context, base string, hint MediaName) {
	if hint.Kind == PartMedia {
		r.launch(ctx, base, hint, r.window.constants.PartTarget)
	}
}

// launch begins to fetch an object, unless it is here or on its way.
func (r *fetcher) launch(ctx context.Context, base string, name MediaName, duration time.Duration) {
	if r.flights[name] != nil || r.window.Has(name) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	fl := &flight{cancel: cancel, done: make(chan struct{})}
	r.flights[name] = fl
	r.wait.Go(func() {
		defer cancel()
		defer close(fl.done)
		var body []byte
		if body, fl.err = r.get(ctx, base+r.path+name.String(), maxObjectBytes, r.patience); fl.err == nil {
			r.window.Put(name, body, duration)
		}
	})
}

// fill gets all media of p that are not here. The newest come last: a window
// is only shown whole.
func (r *fetcher) fill(ctx context.Context, base string, p *Playlist) error {
	missing := r.missing(p)
	for begun, landed := 0, 0; landed < len(missing); landed++ {
		for ; begun < len(missing) && begun < landed+joinFetches; begun++ {
			r.launch(ctx, base, missing[begun].name, missing[begun].duration)
		}
		if err := r.land(ctx, base, missing[landed]); err != nil {
			return err
		}
	}
	return nil
}

// land waits for an object. A prefetch that failed is tried once more: the
// upstream may have changed its mind about what comes next.
func (r *fetcher) land(ctx context.Context, base string, m missing) error {
	for try := 1; ; try++ {
		fl := r.flights[m.name]
		if fl == nil { // it came between
			return nil
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if fl.err == nil {
			return nil
		}
		if try == 2 {
			return fmt.Errorf("fetch %v: %w", m.name, fl.err)
		}
		delete(r.flights, m.name)
		r.launch(ctx, base, m.name, m.duration)
	}
}

// missing is a media object that a list names and the window lacks.
type missing struct {
	name     MediaName
	duration time.Duration
}

func (r *fetcher) missing(p *Playlist) []missing {
	var all []missing
	want := func(name MediaName, d time.Duration) {
		if name.Kind != 0 && !r.window.Has(name) {
			all = append(all, missing{name, d})
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
	for i := range p.Segments {
		s := &p.Segments[i]
		wantMap(s.Map)
		switch {
		case s.Gap:
		case len(s.Parts) > 0:
			wantParts(s.Parts)
		default:
			want(s.Name, s.Duration)
		}
	}
	wantMap(p.Open.Map)
	wantParts(p.Open.Parts)
	return all
}

// forget drops the flights that landed, and cancels those of hints that are no
// longer true.
func (r *fetcher) forget(hint MediaName) {
	for name, fl := range r.flights {
		if name != hint {
			fl.cancel()
			delete(r.flights, name)
		}
	}
}

// StatusError is an upstream's answer other than 200.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the upstream answered %d %s", e.Status, http.StatusText(e.Status))
}

// get fetches a whole body of at most limit bytes within the time. A body that
// is cut short is an error.
func (f *Follower) get(ctx context.Context, url string, limit int64, patience time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the upstream did not answer in time"))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	f.Credential.Authorize(request)
	response, err := f.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, &StatusError{response.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	return body, nil
}

// backoff is a pause that doubles from 100 ms to 2 s, with jitter, so that the
// relays of a pool do not come back in step.
type backoff struct{ next time.Duration }

func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, 100*time.Millisecond), 2*time.Second)
	t := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
