package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"surgecast/cluster"
	"surgecast/origin"
	"surgecast/relay"
)

const (
	// restorePatience is how long an origin that has its past on disk looks for
	// relays that know more, which is a part or two: none is in a pool of one.
	restorePatience = 500 * time.Millisecond
	// lostPatience is that of an origin without a past: relays that hold one come
	// with their control channels, which they try each second.
	lostPatience = 1500 * time.Millisecond
	// freshPatience is when relays that hold nothing tell that there is no past.
	freshPatience = 500 * time.Millisecond
	// witnessQuiet is for how long no further relay may have come up, for those
	// that did to be taken for all.
	witnessQuiet = 100 * time.Millisecond
	// mediaPatience bounds the fetching of what the disk lacks. What has not come
	// by then, the oldest, is left out of the lists.
	mediaPatience = 2 * time.Second
	// maxWitnesses bounds the relays that are asked. All have the same lists; with
	// this many, others would not know more.
	maxWitnesses = 128
)

// witnesses are the relays that an origin asks at its start for what it
// published before:
//
//	gossip, control channels ─▶ relays ─▶ what they hold ─▶ Origin.Restore ─▶ control channels go on
//
// Until that is done no encoder is let in and no relay is told of an epoch.
type witnesses struct {
	calls    chan cluster.Member // relays that ask for the control channel; more than it holds come again
	restored chan struct{}       // closed when that is over
}

func newWitnesses() witnesses {
	return witnesses{calls: make(chan cluster.Member, maxWitnesses), restored: make(chan struct{})}
}

// restoring tells that what was published before is not all there yet.
func (w witnesses) restoring() bool {
	select {
	case <-w.restored:
		return false
	default:
		return true
	}
}

// heard notes which relay asks for the control channel, and lets it wait until
// there is something to be told.
func (w witnesses) heard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, r *http.Request) {
		if w.restoring() {
			w.note(r)
		}
		select {
		case <-w.restored:
			next.ServeHTTP(response, r)
		case <-r.Context().Done():
		}
	})
}

func (w witnesses) note(r *http.Request) {
	media, public, ok := relay.ControlMedia(r)
	if !ok {
		return // of another version
	}
	m := cluster.Member{State: cluster.State{Role: cluster.RoleRelay, Media: media.String()}}
	m.Address, _ = netip.ParseAddrPort(r.RemoteAddr) // where it is not one, the public address decides
	if public.IsValid() {
		m.State.Public = public.String()
	}
	select {
	case w.calls <- m:
	default:
	}
}

// restore makes the streams go on where the last start left them.
func (o *originNode) restore(ctx context.Context) error {
	defer close(o.restored)
	patience := lostPatience
	if o.origin.Remembers() {
		patience = restorePatience
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	found := o.ask(asking)
	cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fetching, cancel := context.WithTimeout(ctx, mediaPatience)
	defer cancel()
	if err := o.origin.Restore(fetching, found); err != nil {
		return fmt.Errorf("restore the streams: %w", err)
	}
	return nil
}

// ask asks the relays that it finds before ctx ends for what they hold.
func (o *originNode) ask(ctx context.Context) []origin.Witness {
	search := witnessSearch{began: time.Now(), node: o.node, asked: map[string]bool{}, answers: make(chan origin.Witness, maxWitnesses)}
	tick := time.NewTicker(witnessQuiet / 2)
	defer tick.Stop()
	defer search.asking.Wait()
	for {
		changed := o.cluster.Changed() // before the look: a change between the two is not missed
		for _, m := range o.cluster.Members() {
			search.ask(ctx, m)
		}
		if search.over() {
			return search.found
		}
		select {
		case <-changed:
		case m := <-o.calls:
			search.ask(ctx, m)
		case one := <-search.answers:
			search.take(one)
		case <-tick.C:
		case <-ctx.Done():
			return search.found
		}
	}
}

// witnessSearch is how far ask has come.
type witnessSearch struct {
	*node
	began   time.Time
	asked   map[string]bool // by base URL
	last    time.Time       // when one more was asked
	pending int
	asking  sync.WaitGroup
	answers chan origin.Witness // has room for all
	found   []origin.Witness
	holds   bool // one of them has something
}

// ask asks a relay, once. The request ends with ctx.
func (s *witnessSearch) ask(ctx context.Context, m cluster.Member) {
	base := "http://" + s.mediaOf(m)
	if m.State.Role != cluster.RoleRelay || s.asked[base] || len(s.asked) == maxWitnesses {
		return
	}
	s.asked[base], s.last = true, time.Now()
	s.pending++
	s.asking.Go(func() {
		one := origin.Witness{Holder: relay.Holder{Base: base, Client: s.client, Credential: s.credential}}
		var err error
		if one.Held, err = one.Holder.Held(ctx); err != nil {
			one.Base = ""
			if ctx.Err() == nil {
				s.log.Info("a relay does not say what it holds", "err", err)
			}
		}
		s.answers <- one
	})
}

func (s *witnessSearch) take(one origin.Witness) {
	s.pending--
	if one.Base != "" {
		s.found = append(s.found, one)
		s.holds = s.holds || len(one.Held.Streams) > 0
	}
}

// over tells whether all that can be expected have answered.
func (s *witnessSearch) over() bool {
	return s.pending == 0 && len(s.found) > 0 && time.Since(s.last) >= witnessQuiet &&
		(s.holds || time.Since(s.began) >= freshPatience)
}
