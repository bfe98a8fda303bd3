package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

var (
	// errStandsStill: the upstreams confirm that there is nothing new.
	errStandsStill = errors.New("the list stands still")
	errNewEpoch    = fmt.Errorf("%w: its epoch is beyond the authority's", ErrPlaylist)
	errNoParent    = errors.New("no parent is known")
	errUnchanged   = errors.New("the upstream answered a held request without what it was held for")
)

// lookPatience is how long a plain list may take.
const lookPatience = time.Second

// answer is what one parent says.
type answer struct {
	base    string
	version *Version
	sure    bool // to the letter, as far as anybody can tell
	ahead   bool // it had more than the parent that was asked before it
	err     error
}

// newer returns a list that is newer than the one here.
func (r *fetcher) newer(ctx context.Context) (answer, error) {
	a, err := r.race(ctx)
	if err == nil || ctx.Err() != nil {
		return a, err
	}
	if b, lookErr := r.look(ctx); lookErr == nil || errors.Is(lookErr, errStandsStill) && errors.Is(err, errStandsStill) {
		return b, lookErr
	}
	return a, err
}

// look asks the parents for the list that they have. It returns the first that
// is newer than the one here.
//
// Errors: errStandsStill, when one at least confirmed the list that is here.
func (r *fetcher) look(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookPatience, errPatience)
	defer cancel()
	bases := r.parents.order()
	if len(bases) == 0 {
		return answer{}, errNoParent
	}
	bases = bases[:min(len(bases), maxRace)]
	answers := make(chan answer, len(bases))
	for _, base := range bases {
		r.wait.Go(func() { answers <- r.ask(ctx, base, question{}) })
	}
	before := r.window.Version()
	var err error
	for range bases {
		a := <-answers
		switch {
		case a.err != nil:
			if !errors.Is(err, errStandsStill) {
				err = fmt.Errorf("%s: %w", a.base, a.err)
			}
			continue
		case before != nil && string(a.version.Text) == string(before.Text):
			err = errStandsStill
		default:
			if a.base != bases[0] {
				r.leave(bases[0], errLate)
			}
			err = nil
		}
		r.window.trust(r.window.constants.maxHold())
		if err == nil {
			return a, nil
		}
	}
	return answer{}, err
}

// rest waits beside a list that has ended, in case it is taken up again.
func (r *fetcher) rest(ctx context.Context) error {
	select {
	case <-time.After(r.window.constants.TargetDuration):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	a, err := r.look(ctx)
	if err != nil {
		return err
	}
	if err := r.fill(ctx, a.version.Playlist); err != nil {
		return err
	}
	return r.window.publish(a.version)
}

// probe looks whether a parent that was left has come back.
func (r *fetcher) probe(ctx context.Context, base string) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookPatience, errPatience)
	defer cancel()
	text, header, err := r.get(ctx, base+r.path+"live.m3u8", maxPlaylistBytes, lookPatience)
	if err == nil {
		_, err = r.traced(base, header)
	}
	if err != nil {
		if errors.Is(err, errLoop) || errors.Is(err, errDeep) {
			r.log.Warn("a parent is not taken", "parent", base, "err", err)
		}
		return
	}
	v, err := newVersion(text)
	// It may be behind by a part or two when it is asked.
	if err == nil && v.Playlist.OpenSequence()+1 >= r.window.Version().Playlist.OpenSequence() {
		r.log.Info("a parent is well again", "parent", base)
		r.parents.well(base)
	}
}

// question is what is asked of each parent of a race. The zero one asks for the
// list as it is.
type question struct {
	before *Version // the list here; nil: none
	follow bool     // the parent is to feed this node: the others are only looked at
	held   bool     // to be answered when there is something newer
	skip   bool     // a delta will do
	late   time.Duration
	limit  time.Duration
}

func (r *fetcher) question() question {
	c := r.window.constants
	before := r.window.Version()
	if before == nil {
		return question{follow: true, late: lookPatience, limit: answerPatience}
	}
	// A delta fits only what is not much older than what it skips. Where no tag
	// tells whether the merged list is right, a whole one is taken now and then.
	fresh := time.Since(r.taken) < c.CanSkipUntil/2 && time.Since(r.sure) < c.CanSkipUntil
	return question{
		before: before,
		follow: true,
		held:   true,
		skip:   fresh && before.Playlist.skippable() > 0,
		late:   c.lateness(),
		limit:  c.standstill(),
	}
}

// answerPatience bounds an answer that no parent may hold.
const answerPatience = 5 * time.Second

// ask asks one parent, and judges what it says.
func (r *fetcher) ask(ctx context.Context, base string, q question) answer {
	a := answer{base: base}
	if q.follow {
		r.aim(base)
	}
	switch {
	case q.skip:
		if a.version, a.sure, a.err = r.fetchDelta(ctx, base, q); a.err == nil {
			break
		} else if ctx.Err() != nil || !errors.Is(a.err, errMerge) && !errors.Is(a.err, ErrPlaylist) {
			return a
		}
		r.log.Info("a delta was of no use", "parent", base, "err", a.err)
		fallthrough
	default:
		a.version, a.err = r.fetchList(ctx, base, q)
		a.sure = true
	}
	if a.err == nil {
		a.err = r.judge(a.version, q)
	}
	return a
}

// askBeside asks a parent what it has, and then for the next list, while
// another parent is late.
func (r *fetcher) askBeside(ctx context.Context, base string, q question) answer {
	q.follow = false // not before the best parent is left
	if !q.held {
		return r.ask(ctx, base, q)
	}
	a := r.ask(ctx, base, question{})
	switch {
	case a.err == nil && string(a.version.Text) == string(q.before.Text):
		r.window.trust(r.window.constants.maxHold())
		return r.ask(ctx, base, q)
	case errors.Is(a.err, ErrStepBack): // it is farther from the source
		return r.ask(ctx, base, q)
	}
	a.ahead = true
	return a
}

// judge tells why a list is not to be taken.
func (r *fetcher) judge(v *Version, q question) error {
	p := v.Playlist
	if known := r.epoch(); p.Epoch() > known {
		return fmt.Errorf("%w: %v after %v", errNewEpoch, p.Epoch(), known)
	}
	if err := r.window.check(v); err != nil {
		return err
	}
	if q.held && !p.Ended && !p.has(q.before.Playlist.OpenSequence(), len(q.before.Playlist.Open.Parts)) {
		return errUnchanged
	}
	return nil
}

// url returns where to ask.
func (r *fetcher) url(base string, msn uint64, part int) string {
	return base + r.path + "live.m3u8?_HLS_msn=" + strconv.FormatUint(msn, 10) + "&_HLS_part=" + strconv.Itoa(part)
}

// fetchDelta fetches the next list as a delta, and tells whether the merged one
// is the upstream's to the letter.
func (r *fetcher) fetchDelta(ctx context.Context, base string, q question) (*Version, bool, error) {
	p := q.before.Playlist
	text, header, err := r.get(ctx, r.url(base, p.OpenSequence(), len(p.Open.Parts))+"&_HLS_skip=YES", maxPlaylistBytes, q.limit, r.intent(q)...)
	if err != nil {
		return nil, false, err
	}
	chain, err := r.traced(base, header)
	if err != nil {
		return nil, false, err
	}
	if text, err = mergeDelta(text, q.before); err != nil {
		return nil, false, err
	}
	v, err := newVersion(text)
	if err != nil {
		return nil, false, err
	}
	v.parent, v.chain = base, chain
	same, known := v.confirms(header.Get("ETag"))
	if known && !same {
		return nil, false, fmt.Errorf("%w: its tag is %s", errMerge, clip(header.Get("ETag")))
	}
	return v, same, nil
}

// fetchList fetches a whole list: the next one, or the newest.
func (r *fetcher) fetchList(ctx context.Context, base string, q question) (*Version, error) {
	url, patience := base+r.path+"live.m3u8", answerPatience
	if q.held {
		p := q.before.Playlist
		url, patience = r.url(base, p.OpenSequence(), len(p.Open.Parts)), q.limit
	}
	text, header, err := r.get(ctx, url, maxPlaylistBytes, patience, r.intent(q)...)
	if err != nil {
		return nil, err
	}
	chain, err := r.traced(base, header)
	if err != nil {
		return nil, err
	}
	v, err := newVersion(text)
	if err == nil && !q.held {
		v, err = r.tuneIn(ctx, base, v, header)
	}
	if err != nil {
		return nil, err
	}
	v.parent, v.chain = base, chain
	return v, nil
}

// maxTuneIn is how often a list that a cache held back is asked for anew.
const maxTuneIn = 3

// tuneIn comes to the live edge behind a cache, as the protocol's appendix on
// CDN tune-in says: a list of a certain age lacks that much media, so the list
// that has it is asked for, which no cache has yet.
func (r *fetcher) tuneIn(ctx context.Context, base string, v *Version, header http.Header) (*Version, error) {
	for range maxTuneIn {
		age, ok := parseDecimal(header.Get("Age"))
		c := v.Playlist.Constants
		lacks := time.Duration(min(age, maxSeconds)) * time.Second
		if !ok || lacks < c.PartTarget || v.Playlist.Ended {
			return v, nil
		}
		if c.PartTarget < time.Second {
			lacks += time.Second // Age is rounded down
		}
		msn, part := v.Playlist.after(lacks)
		text, next, err := r.get(ctx, r.url(base, msn, part), maxPlaylistBytes, answerPatience)
		if err != nil {
			return v, nil // better than nothing: the next reload is held
		}
		newer, err := newVersion(text)
		if err != nil {
			return nil, err
		}
		v, header = newer, next
	}
	return v, nil
}

// after returns the part that a list with that much more media ends with, or
// one before it: segments are taken to be as long as they may be.
func (p *Playlist) after(d time.Duration) (msn uint64, part int) {
	for i := range p.Open.Parts {
		d += p.Open.Parts[i].Duration
	}
	return p.OpenSequence() + uint64(d/p.TargetDuration), int(d % p.TargetDuration / p.PartTarget)
}
