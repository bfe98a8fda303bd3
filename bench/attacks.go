package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// attackSpec has the stream that is watched, and one with segments of more than
// 4 MiB for those who read slowly.
var attackSpec = poolSpec{
	streams: []streamSpec{
		{name: "theatre", target: 2 * time.Second, part: 225 * time.Millisecond, film: builtIn},
		{name: "large", target: 2 * time.Second, part: 225 * time.Millisecond, film: hugeClip},
	},
	window:  12 * time.Second,
	relayOn: serverCore,
}

const (
	attackViewers = 200
	attackRamp    = 2 * time.Second
	quietTime     = 3 * time.Second // before the first attack, and after the last
	// afterAttack belongs to what an attack does to viewers: the relay cleans up.
	afterAttack = 500 * time.Millisecond
)

// attacks lets viewers watch in peace and under each attack.
func attacks(ctx context.Context, s *session) ([]figure, error) {
	p, err := s.pool(ctx, attackSpec)
	if err != nil {
		return nil, err
	}
	b := &besieged{pool: p}
	b.viewers, err = startChild(ctx, loadCore, append(swarmArguments(relayAddress(plain), plain, attackViewers, 0), "-ramp", attackRamp.String(), "-laps")...)
	if err != nil {
		return nil, err
	}
	defer b.viewers.kill()
	var event struct{ Event string }
	if err := b.viewers.next(&event); err != nil {
		return nil, err
	}
	if b.before, err = b.peace(ctx); err != nil {
		return nil, err
	}
	for _, kind := range attackKinds {
		w, err := b.under(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.title, errors.Join(err, p.alive()))
		}
		s.say(w.figure(b.before))
		b.sieges = append(b.sieges, w)
	}
	if b.after, err = b.peace(ctx); err != nil {
		return nil, err
	}
	_, _, sick := fetch(ctx, relayURL+"/healthz", "")
	return b.figures(errors.Join(p.alive(), sick)), nil
}

// besieged is a pool with viewers that is attacked.
type besieged struct {
	pool          *pool
	viewers       *child
	before, after siege // without an attack
	sieges        []siege
}

// siege is what an attack did to viewers and relay.
type siege struct {
	kind    attackKind
	viewers swarmResult
	attack  attacked
	cores   float64 // that the relay used
	grown   int64   // bytes of the relay's memory, at the most
	held    int64   // bytes that the kernel held for sockets, more than before, at the most
}

// peace measures without an attack.
func (b *besieged) peace(ctx context.Context) (w siege, err error) {
	if err := b.lap(nil); err != nil { // what was before does not belong to it
		return w, err
	}
	if w.cores, err = share(ctx, b.pool.relay.pid(), quietTime); err != nil {
		return w, err
	}
	return w, b.lap(&w.viewers)
}

// lap takes what the viewers went through since the last one.
func (b *besieged) lap(into *swarmResult) error {
	if into == nil {
		into = new(swarmResult)
	}
	return errors.Join(b.viewers.say(), b.viewers.next(into))
}

// under measures one attack.
func (b *besieged) under(ctx context.Context, kind attackKind) (w siege, err error) {
	w.kind = kind
	path, err := kind.object(ctx)
	if err != nil {
		return w, err
	}
	relay := b.pool.relay.pid()
	resident, err := residentBytes(relay)
	if err := errors.Join(err, forgetPeak(relay)); err != nil {
		return w, err
	}
	before, began, err := cpuNow(relay)
	if err != nil {
		return w, err
	}
	if err := b.attack(ctx, &w, relayAddress(kind.over)+path); err != nil {
		return w, err
	}
	after, ended, err := cpuNow(relay)
	if err != nil {
		return w, err
	}
	w.cores = float64(after-before) / float64(ended.Sub(began))
	if err := errors.Join(pause(ctx, afterAttack), b.lap(&w.viewers)); err != nil {
		return w, err
	}
	peak, err := peakBytes(relay)
	w.grown = peak - resident
	return w, err
}

// attack runs the load, and looks at the kernel's memory meanwhile.
func (b *besieged) attack(ctx context.Context, w *siege, url string) error {
	before, err := socketBytes()
	if err != nil {
		return err
	}
	c, err := startHumbleChild(ctx, loadCore, "attack", "-kind", w.kind.name, "-for", w.kind.lasting.String(), "-url", url)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(c.next(&w.attack), c.wait()) }()
	for {
		select {
		case over := <-ended:
			return errors.Join(err, over)
		case <-time.After(100 * time.Millisecond):
			now, looking := socketBytes()
			err = errors.Join(err, looking)
			w.held = max(w.held, now-before)
		}
	}
}

// watchedList is the list that the viewers ask for.
func watchedList(context.Context) (string, error) { return "/theatre/main/live.m3u8", nil }

// comingList is a version of it that comes in a second or two.
func comingList(ctx context.Context) (string, error) {
	current, err := fetchList(ctx, relayURL, "/theatre/main/", "", "")
	if err != nil {
		return "", err
	}
	m, err := parseMedia(current.text)
	if err != nil {
		return "", err
	}
	return "/theatre/main/live.m3u8?_HLS_msn=" + strconv.FormatUint(m.next.msn+1, 10), nil
}
