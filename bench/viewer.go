package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// viewer behaves as hls.js does in low-latency mode: it holds a blocking
// reload, loads each part that is listed, one after the other, and plays at the
// distance that the list asks for, without catching up after a stall. What it
// does not do is decode.
type viewer struct {
	*swarm
	n            int
	lists, parts requester
	began        time.Time

	list    string // path of the media playlist
	current *media
	live    position // what was listed before is not news
	next    position // the part to load
	init    string   // the one that is loaded
	loading bool
	asked   time.Time // when the part was asked for
	player  player
}

// join begins a session with the multivariant playlist.
func (v *viewer) join() {
	v.began = time.Now()
	var err error
	if v.lists, v.parts, err = v.connect(v.n); err != nil {
		v.retry(err)
		return
	}
	v.lists.get(v.target.path, always, func(a *answer) {
		text, err := v.checked(a)
		if err == nil {
			v.list, err = firstVariant(text)
		}
		if err != nil {
			v.retry(fmt.Errorf("multivariant playlist: %w", err))
			return
		}
		v.list = resolve(v.target.path, v.list)
		v.load(v.list)
	})
}

func always(string) bool { return true }

// checked returns the text of an answer that is good.
func (v *viewer) checked(a *answer) (string, error) {
	if err := good(a); err != nil {
		return "", err
	}
	return a.text()
}

func good(a *answer) error {
	if a.err != nil {
		return a.err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("status %d", a.status)
	}
	return nil
}

// retry starts the session anew, after a pause. The picture goes on from what
// is in the buffer, if there is any.
func (v *viewer) retry(err error) {
	v.tally.fault(err)
	for _, r := range []requester{v.lists, v.parts} {
		if r != nil {
			r.close()
		}
	}
	v.lists, v.parts, v.loading, v.init = nil, nil, false, ""
	v.loop.after(retryPause, v.join)
}

// load asks for the list.
func (v *viewer) load(path string) {
	v.lists.get(path, v.unknown, func(a *answer) {
		m, err := (*media)(nil), good(a)
		if err == nil {
			m, err = v.media(a)
		}
		if err != nil {
			v.retry(fmt.Errorf("media playlist: %w", err))
			return
		}
		v.tally.request(a)
		v.listed(m, a.last)
	})
}

// listed goes on with a new list.
func (v *viewer) listed(m *media, at time.Time) {
	first := v.current == nil
	if first {
		start, play, ok := m.from()
		if !ok {
			v.retry(errors.New("media playlist: no part to begin with"))
			return
		}
		v.next, v.live = start.position, m.next
		v.player = player{from: play, end: start.start}
	} else if !v.current.next.before(m.next) {
		v.tally.stale++
	} else {
		v.tally.lists.came(m.next, at)
	}
	v.current = m
	if !m.ended {
		v.load(reload(v.list, m))
	}
	v.advance()
}

// advance loads the next part, if it is listed.
func (v *viewer) advance() {
	if v.loading || v.parts == nil {
		return
	}
	part, ok := v.current.after(v.next)
	if !ok {
		return
	}
	if part.position != v.next && part.part != 0 {
		v.tally.skipped++ // what was to come next has left the list
	}
	v.loading = true
	if part.init != v.init && part.init != "" {
		v.parts.get(resolve(v.list, part.init), nil, func(a *answer) { v.prepared(part.init, a) })
		return
	}
	v.asked = time.Now()
	v.parts.get(resolve(v.list, part.uri), nil, func(a *answer) { v.received(part, a) })
}

// prepared goes on with an initialisation segment.
func (v *viewer) prepared(init string, a *answer) {
	if err := good(a); err != nil {
		v.retry(fmt.Errorf("initialisation segment: %w", err))
		return
	}
	v.tally.request(a)
	v.init, v.loading = init, false
	v.advance()
}

// received goes on with a part.
func (v *viewer) received(part listedPart, a *answer) {
	if err := good(a); err != nil {
		v.retry(fmt.Errorf("part: %w", err))
		return
	}
	v.tally.request(a)
	v.tally.answers.add(a.last.Sub(v.asked))
	if !part.before(v.live) {
		v.tally.parts.came(part.position, a.last)
		v.tally.receipt.add(a.last.Sub(part.start))
	}
	v.play(part, a.last)
	v.loading, v.next = false, position{part.msn, part.part + 1}
	v.advance()
}

// play puts a part into the buffer.
func (v *viewer) play(part listedPart, at time.Time) {
	waiting := !v.player.started
	stalled := v.player.put(part.start.Add(part.duration), at)
	if waiting && v.player.started {
		v.tally.join.add(at.Sub(v.began))
	}
	if stalled > 0 {
		v.tally.stalls++
		v.tally.stalled += stalled
	}
	if v.player.started {
		v.tally.latency.add(v.player.latency)
	}
}

// player is a buffer that is played from.
type player struct {
	from    time.Time     // the date at which playing begins
	end     time.Time     // the date up to which it is filled
	latency time.Duration // between a date and its being shown
	started bool
}

// put fills the buffer up to a date, and returns for how long the picture had
// stood still for want of it.
func (p *player) put(end, now time.Time) (stalled time.Duration) {
	switch shown := now.Add(-p.latency); {
	case !p.started && end.After(p.from):
		p.started, p.latency = true, now.Sub(p.from)
	case p.started && shown.After(p.end):
		stalled = shown.Sub(p.end)
		p.latency += stalled
	}
	if end.After(p.end) {
		p.end = end
	}
	return stalled
}
