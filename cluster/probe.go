package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	probeTick    = time.Second
	probeTimeout = 700 * time.Millisecond
	// maxProbes bounds the probes under way. Of more relays the last ones wait
	// their turn, and the round takes longer.
	maxProbes = 256
	// firstPause is the pause before a newcomer that failed is asked again. It
	// doubles until the tick has taken over.
	firstPause = 50 * time.Millisecond
	// atOnce is the time within which losses count as one.
	atOnce = fall * probeTick
)

// ProberConfig says whom a prober asks, and how. All but Own are required; all
// functions may be called from any goroutine.
type ProberConfig struct {
	Self     func() string // our name
	Members  func() []Member
	Changed  func() <-chan struct{} // closed at the next change of Members
	Verdicts *Verdicts
	// Lost are probed on by those who probe all; nil: none are.
	Lost *Lost
	// Ask asks a member how it is, over its public address. It must end with
	// its context.
	Ask func(ctx context.Context, m Member) (ProbeAnswer, error)
	// Routes tells whether this machine has a way to an address at all: who has
	// none to a family says nothing of it. Nil: it has to all.
	Routes func(netip.Addr) bool
	// Own is how far we have the streams ourselves; nil: we have no media.
	Own    func() Positions
	Logger *slog.Logger
}

// Prober asks relays each second how they are, and tells the pool what it finds:
// name servers and the origin ask all of them, a serving relay asks a few.
//
//	tick ──▶ probes, all at once ──▶ freshness ──▶ rise and fall ──▶ doubt ──▶ Verdicts
type Prober struct {
	cfg    ProberConfig
	places chan struct{} // one element for each probe under way
	news   chan struct{} // one element: there may be something to tell

	mu      sync.Mutex
	self    string // under which the targets were told
	targets map[string]*target
	known   Positions // how far the streams were in the last round
	doubt   bool
	results map[Failure]int64 // "" counts successes
}

// NewProber returns a prober that does nothing before Run.
func NewProber(cfg ProberConfig) *Prober {
	return &Prober{
		cfg:     cfg,
		places:  make(chan struct{}, maxProbes),
		news:    make(chan struct{}, 1),
		targets: make(map[string]*target),
		results: make(map[Failure]int64),
	}
}

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { p.welcome(ctx, &tasks) })
	tasks.Go(func() { p.tellNews(ctx) })
	tick := time.NewTicker(probeTick)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			p.round(ctx)
		}
	}
	tasks.Wait()
	return context.Cause(ctx)
}

// Reaches says whether a relay answers our own probes, with fresh media.
func (p *Prober) Reaches(name string) bool { return p.reaches(name) }

// ReachesSecond says so of its second address.
func (p *Prober) ReachesSecond(name string) bool { return p.reaches(name + secondMark) }

func (p *Prober) reaches(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[name]
	return t != nil && t.up
}

// ProbeSnapshot is a prober at one moment.
type ProbeSnapshot struct {
	Up, Down int               // relays that it asks, by its opinion
	Doubt    bool              // it lost so many at once that it doubts itself
	Results  map[Failure]int64 // probes since the start; "" are the successes
}

// Snapshot returns what the prober has found.
func (p *Prober) Snapshot() ProbeSnapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := ProbeSnapshot{Doubt: p.doubt, Results: make(map[Failure]int64, len(p.results))}
	for name, t := range p.targets {
		switch {
		case isSecond(name):
		case t.up:
			s.Up++
		case t.down:
			s.Down++
		}
	}
	for f, n := range p.results {
		s.Results[f] = n
	}
	return s
}

// due returns the members that we probe now, and those with a second address that
// we have a way to once more, as they are there.
func (p *Prober) due() []Member {
	members := p.cfg.Members()
	var self Member
	for _, m := range members {
		if m.Self {
			self = m
		}
	}
	if !self.probes() {
		return nil
	}
	var due []Member
	for _, m := range members {
		if m.probed() && !m.Self && (self.overlooksAll() || hasTurn(members, self, m)) {
			due = append(due, m)
		}
	}
	if self.overlooksAll() {
		due = append(due, p.lost()...)
	}
	return slices.DeleteFunc(withSeconds(due), func(m Member) bool {
		return isSecond(m.Name) && p.cfg.Routes != nil && !p.cfg.Routes(m.PublicAddr())
	})
}

func (p *Prober) lost() []Member {
	if p.cfg.Lost == nil {
		return nil
	}
	return p.cfg.Lost.Members()
}

// welcome asks newcomers as soon as they appear: they wait for it to be listed.
func (p *Prober) welcome(ctx context.Context, tasks *sync.WaitGroup) {
	for ctx.Err() == nil {
		changed := p.cfg.Changed()
		for _, m := range p.newcomers() {
			tasks.Go(func() { p.prove(ctx, m) })
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// newcomers returns the relays that are new to us, and remembers them.
func (p *Prober) newcomers() []Member {
	due := p.due()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rename()
	var fresh []Member
	for _, m := range due {
		if p.targets[m.Name] == nil {
			p.targets[m.Name] = &target{}
			fresh = append(fresh, m)
		}
	}
	return fresh
}

// rename forgets what was told under another name of ours. It needs p.mu.
func (p *Prober) rename() {
	if self := p.cfg.Self(); self != p.self {
		p.self = self
		clear(p.targets)
	}
}

// prove asks a newcomer until it answers or the tick has taken over. What fails
// is not counted: a relay that has just joined may need a moment.
func (p *Prober) prove(ctx context.Context, m Member) {
	for wait := firstPause; wait < probeTick; wait *= 2 {
		positions, failure := p.ask(ctx, m)
		if ctx.Err() != nil {
			return
		}
		if p.meet(m, positions, failure) {
			p.wake()
			return
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// meet takes in a newcomer's answer, and tells whether that was all: it is up,
// or not ours to ask any more.
func (p *Prober) meet(m Member, positions Positions, failure Failure) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[m.Name]
	if failure == "" && positions.behind(p.known) {
		failure = FailureStale
	}
	p.results[failure]++
	if t != nil && failure == "" {
		t.note("", m.listable(), time.Now())
	}
	return t == nil || t.up || failure == ""
}

// round asks all that are due, at once, and draws the conclusions.
func (p *Prober) round(ctx context.Context) {
	due := p.due()
	positions, failures := make([]Positions, len(due)), make([]Failure, len(due))
	var asking sync.WaitGroup
	for i, m := range due {
		asking.Go(func() { positions[i], failures[i] = p.ask(ctx, m) })
	}
	asking.Wait()
	if ctx.Err() != nil {
		return // what failed now, failed because we end
	}
	p.conclude(due, positions, failures)
	p.wake()
}

// conclude finds whose media are old among those that answered in a round, and
// takes the round in.
func (p *Prober) conclude(due []Member, positions []Positions, failures []Failure) {
	var answered []Positions
	for i := range due {
		if failures[i] == "" && !isSecond(due[i].Name) { // no relay counts twice
			answered = append(answered, positions[i])
		}
	}
	var own Positions
	if p.cfg.Own != nil {
		own = p.cfg.Own()
	}
	known := newest(answered, own)
	for i := range due {
		if failures[i] == "" && positions[i].behind(known) {
			failures[i] = FailureStale
		}
	}
	p.settle(due, failures, known)
}

// settle takes in a round.
func (p *Prober) settle(due []Member, failures []Failure, known Positions) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rename()
	p.known = known
	for i, m := range due {
		t := p.targets[m.Name]
		if t == nil {
			t = &target{}
			p.targets[m.Name] = t
		}
		t.note(failures[i], m.listable(), now)
		p.results[failures[i]]++
	}
	p.weigh(now)
}

// weigh asks whether it may be us who are cut off: over 30 % of the relays, and
// more than one, were lost at once. Of second addresses it is asked by itself,
// since we may be cut off from one family. It needs p.mu.
func (p *Prober) weigh(now time.Time) {
	relays, seconds := p.weighThose(now, false), p.weighThose(now, true)
	doubt := relays.doubt || seconds.doubt
	up, lost := relays.up+seconds.up, relays.lost+seconds.lost
	if doubt && !p.doubt {
		p.cfg.Logger.Warn("many relays lost at once: this node may be cut off itself, and leaves the verdict to others",
			"lost", lost, "of", lost+up)
	}
	if !doubt && p.doubt {
		p.cfg.Logger.Info("this node trusts its probes again", "up", up, "lost", lost)
	}
	p.doubt = doubt
}

// weighed is how many answer, and how many were lost at once.
type weighed struct {
	up, lost int
	doubt    bool
}

// weighThose weighs the first or the second addresses. It needs p.mu.
func (p *Prober) weighThose(now time.Time, second bool) weighed {
	var lost []*target
	up := 0
	for name, t := range p.targets {
		switch {
		case isSecond(name) != second:
		case t.up:
			up++
		case t.down && (t.doubtful || now.Sub(t.since) <= atOnce):
			lost = append(lost, t)
		}
	}
	doubt := len(lost) > 1 && 10*len(lost) > 3*(len(lost)+up)
	for _, t := range lost {
		t.doubtful = doubt
	}
	return weighed{up: up, lost: len(lost), doubt: doubt}
}

// wake lets the news be told.
func (p *Prober) wake() {
	select {
	case p.news <- struct{}{}:
	default: // they are about to be
	}
}

// tellNews tells the pool what is new. It is one goroutine, so that an older
// opinion is never told after a newer one.
func (p *Prober) tellNews(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.news:
		}
		for _, v := range p.untold() {
			p.cfg.Verdicts.give(v.Target, v.Opinion, v.Failure)
			p.cfg.Logger.Info("relay probed", "member", v.Target, "opinion", v.Opinion, "reason", v.Failure)
		}
	}
}

// untold returns the opinions that are new, in the order of the relays' names,
// and takes back those on members that we do not probe any more.
func (p *Prober) untold() []Verdict {
	due, members := namesOf(p.due()), namesOf(withSeconds(p.cfg.Members()))
	p.mu.Lock()
	defer p.mu.Unlock()
	var news []Verdict
	for name, t := range p.targets {
		opinion, failure := t.opinion()
		if !due[name] {
			opinion, failure = OpinionNone, ""
			delete(p.targets, name)
		}
		if !members[name] {
			t.told = "" // the pool has forgotten it
			continue
		}
		if opinion == t.told || opinion == OpinionNone && t.told == "" {
			continue
		}
		t.told = opinion
		news = append(news, Verdict{Target: name, Opinion: opinion, Failure: failure})
	}
	slices.SortFunc(news, func(a, b Verdict) int { return strings.Compare(a.Target, b.Target) })
	return news
}

// ask asks one relay, once.
func (p *Prober) ask(ctx context.Context, m Member) (Positions, Failure) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return nil, FailureTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	answer, err := p.cfg.Ask(ctx, m)
	return p.readAnswer(m, answer, err)
}

// readAnswer is what comes of having asked a relay.
func (p *Prober) readAnswer(m Member, answer ProbeAnswer, err error) (Positions, Failure) {
	switch {
	case err != nil:
		return nil, failureOf(err)
	case answer.Name != ownerOf(m.Name): // another life, or another node, at that address
		return nil, FailureWrong
	}
	if p.cfg.Lost != nil {
		p.cfg.Lost.answered(answer.Name, answer.Status)
	}
	return answer.Streams, ""
}

// failureOf tells in which way a request failed.
func failureOf(err error) Failure {
	var slow net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return FailureTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return FailureRefused
	}
	return FailureWrong
}
