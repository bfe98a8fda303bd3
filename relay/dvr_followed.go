package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// followedList is the long list at a relay: the upstream's text as it came,
// fetched when a viewer wants it and no copy is new enough.
type followedList struct {
	recording *Recording
	path      string // "/theatre/main/"
	constants Constants
	epoch     func() Epoch

	// life ends with run: what is being fetched does not end with the viewer
	// who asked first.
	life context.Context
	end_ context.CancelFunc
	list joint[struct{}]
	pull joint[MediaName]

	mu     sync.Mutex
	latest *longList // nil before the first
	tried  time.Time // when the upstream was asked last
	err    error     // what came of it
}

func newFollowedList(r *Recording, path string, c Constants, epoch func() Epoch) *followedList {
	f := &followedList{recording: r, path: path, constants: c, epoch: epoch}
	f.life, f.end_ = context.WithCancel(context.Background())
	f.list.limit, f.pull.limit = 1, maxPullsWaiting
	return f
}

// run takes up what an earlier life left on disk, once the list tells what of
// it is right, and ends all fetches with ctx.
func (f *followedList) run(ctx context.Context) {
	defer f.pull.close()
	defer f.list.close()
	defer f.end_()
	for pause := time.Second; f.recording.folder.unclaimed(); pause = min(2*pause, time.Minute) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		_, _ = f.newest(ctx) // claims; a failure is tried again
	}
	<-ctx.Done()
}

// A relay writes what it sees, but the list is the origin's to make.
func (f *followedList) keep(Segment, uint64) {}
func (f *followedList) end()                 {}

// fresh is how long a list is good: as long as caches may keep it.
func (f *followedList) fresh() time.Duration { return f.constants.TargetDuration / 2 }

// newest returns the last good list when the upstream has no newer one to give.
func (f *followedList) newest(ctx context.Context) (*longList, error) {
	if l, err, fresh := f.known(); fresh {
		return l, err
	}
	_ = f.list.do(ctx, struct{}{}, f.refresh) // known tells what came of it
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l, err, _ := f.known()
	return l, err
}

// first asks again while the upstream says that there is no list. One that
// knows of the stream holds the request until there is one; this is for those
// that are told of it later than we.
func (f *followedList) first(ctx context.Context) (*longList, error) {
	for {
		l, err := f.newest(ctx)
		if !errors.Is(err, ErrNotFound) {
			return l, err
		}
		timer := time.NewTimer(f.fresh())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// known returns what the upstream said last, and whether that is fresh.
func (f *followedList) known() (*longList, error, bool) { //nolint:revive // the error is the answer, not the call's
	f.mu.Lock()
	defer f.mu.Unlock()
	fresh := !f.tried.IsZero() && time.Since(f.tried) < f.fresh()
	switch {
	case f.latest != nil:
		return f.latest, nil, fresh
	case f.err != nil:
		return nil, f.err, fresh
	}
	return nil, ErrUnavailable, fresh
}

// refresh asks the upstreams, the best first, until one has a good list.
func (f *followedList) refresh() error {
	err := ErrUnavailable
	var l *longList
	for _, base := range f.recording.dvr.config.Upstreams() {
		if l, err = f.ask(base); err == nil {
			break
		}
	}
	f.mu.Lock()
	before := f.err
	f.tried, f.err = time.Now(), asAnswer(err)
	if err == nil {
		f.latest = l
	}
	f.mu.Unlock()
	if err != nil {
		if before == nil && !errors.Is(f.err, ErrNotFound) && f.life.Err() == nil {
			f.recording.log.Warn("fetch the long list", "err", err)
		}
		return err
	}
	if n := f.recording.folder.claim(l.names); n > 0 {
		f.recording.log.Info("the DVR of an earlier start is served on", "files", n)
	}
	return nil
}

// asAnswer maps what an upstream did to what a viewer is told.
func asAnswer(err error) error {
	var status *StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status) && status.Status == 404:
		return ErrNotFound
	}
	return ErrUnavailable
}

// ask fetches the list from one upstream and checks it.
func (f *followedList) ask(base string) (*longList, error) {
	text, err := f.recording.dvr.getList(f.life, base+f.path+longListName)
	if err != nil {
		return nil, err
	}
	l, err := parseLongList(text)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	before := f.latest
	f.mu.Unlock()
	return l, l.follows(before, f.constants, f.epoch())
}

// follows tells why l can't come after before, which may be nil.
func (l *longList) follows(before *longList, c Constants, highest Epoch) error {
	if l.target != c.TargetDuration {
		return fmt.Errorf("%w: its target duration differs from the stream's", ErrPlaylist)
	}
	for _, run := range l.runs {
		if run.epoch > highest {
			return fmt.Errorf("%w: epoch %v is beyond the authority's %v", ErrPlaylist, run.epoch, highest)
		}
	}
	switch {
	case before == nil:
		return nil
	case l.sequence < before.sequence:
		return fmt.Errorf("%w: media sequence %d after %d", ErrStepBack, l.sequence, before.sequence)
	case l.discontinuity < before.discontinuity:
		return fmt.Errorf("%w: discontinuity sequence %d after %d", ErrStepBack, l.discontinuity, before.discontinuity)
	case l.end() < before.end():
		return fmt.Errorf("%w: ends before segment %d, after %d", ErrStepBack, l.end(), before.end())
	}
	for _, a := range l.runs {
		for _, b := range before.runs {
			if a.epoch != b.epoch && a.from < b.to && b.from < a.to {
				return fmt.Errorf("%w: segment %d has another name", ErrStepBack, max(a.from, b.from))
			}
		}
	}
	return nil
}

// end is the number that comes after the newest segment that is no gap.
func (l *longList) end() uint64 {
	if len(l.runs) == 0 {
		return l.sequence
	}
	return l.runs[len(l.runs)-1].to
}
