package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"
)

// heldEvent is a line of JSON that "bench held" prints: connected, asked when
// all requests of a round are held, woken when all are answered, left.
type heldEvent struct {
	Event    string
	Answers  int     // woken: how many were answered
	Lists    int     // woken: different lists among them
	SpreadMS float64 // woken: from the first answer to the last
	Busy     float64 // woken: the share of a core that this process used in the round
}

// held is viewers that all ask for the same list, the one that has the next
// segment's first part, and get it at once when it comes.
type held struct {
	loop    *loop
	target  target
	viewers []*line
	list    string // path
	newest  *media
	swarm   *swarm // reads lists
	faults  error  // the first
}

// heldCommand is "bench held".
func heldCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("held", flag.ContinueOnError)
	address := flags.String("url", "", "the media playlist, http")
	viewers := flags.Int("viewers", 10_000, "how many")
	rounds := flags.Int("rounds", 10, "how often all are woken")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	target, err := parseTarget(*address)
	if err != nil {
		return err
	}
	h := &held{target: target, list: target.path, swarm: &swarm{lists: map[string]*media{}}}
	if h.loop, err = newLoop(target.address.String(), browserFields); err != nil {
		return err
	}
	if err := h.connect(ctx, *viewers); err != nil {
		return err
	}
	h.loop.rest = heldRest
	for range *rounds {
		if err := h.round(ctx); err != nil {
			return err
		}
	}
	h.loop.stop()
	return say(heldEvent{Event: "left"})
}

func say(event heldEvent) error { return json.NewEncoder(os.Stdout).Encode(event) }

// connect opens all connections. The first then asks for the list as it is
// now, and for the next segment's: a round that begins with a segment has its
// whole length to ask in.
func (h *held) connect(ctx context.Context, viewers int) error {
	for n := range viewers {
		c, err := h.loop.dial(sourceAddress(n), h.target.address)
		if err != nil {
			return err
		}
		h.viewers = append(h.viewers, c)
	}
	for _, path := range []func() string{func() string { return h.list }, h.nextSegment} {
		arrived := false
		h.viewers[0].get(path(), h.swarm.unknown, func(a *answer) {
			arrived = true
			h.take(a)
		})
		if err := h.loop.run(ctx, func() bool { return arrived }); err != nil {
			return err
		}
		if err := errors.Join(h.faults, ctx.Err()); err != nil {
			return err
		}
	}
	return say(heldEvent{Event: "connected"})
}

// nextSegment asks for the list that has the next segment's first part.
func (h *held) nextSegment() string {
	return fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=0", h.list, h.newest.next.msn+1)
}

// take reads a list.
func (h *held) take(a *answer) {
	m, err := (*media)(nil), a.err
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d", a.status)
	}
	if err == nil {
		m, err = h.swarm.media(a)
	}
	switch {
	case err != nil:
		h.faults = errors.Join(h.faults, err)
	case h.newest == nil || h.newest.next.before(m.next):
		h.newest = m
	}
}

// heldRest is how long the load rests after each turn. A load that waits for the
// next answer is woken by each, at the cost of the server whose write brings it:
// that is the price of a neighbour on the same machine, which no viewer is.
const heldRest = time.Millisecond

// heldPause lies between the last request and the event that says that all are
// held: the server has then read them.
const heldPause = 100 * time.Millisecond

// round lets all ask, and waits until all are answered.
func (h *held) round(ctx context.Context) error {
	path := h.nextSegment()
	began, cpu := time.Now(), ownCPU()
	var first, last time.Time
	tags := map[string]bool{}
	answers := 0
	for _, c := range h.viewers {
		c.get(path, h.swarm.unknown, func(a *answer) {
			h.take(a)
			if answers++; answers == 1 {
				first = a.last
			}
			last = a.last
			tags[a.etag] = true
		})
	}
	h.loop.after(heldPause, func() {
		if answers > 0 {
			h.faults = errors.Join(h.faults, errors.New("the answer came before all had asked"))
		}
		h.faults = errors.Join(h.faults, say(heldEvent{Event: "asked"}))
	})
	if err := h.loop.run(ctx, func() bool { return answers == len(h.viewers) }); err != nil {
		return err
	}
	return errors.Join(h.faults, ctx.Err(), say(heldEvent{
		Event: "woken", Answers: answers, Lists: len(tags), SpreadMS: milliseconds(last.Sub(first)),
		Busy: float64(ownCPU()-cpu) / float64(time.Since(began)),
	}))
}
