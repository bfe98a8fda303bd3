package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"surgecast/cluster"
)

// rememberedTick is how often relays that the gossip does not show are asked, and
// rememberedBound how long one may take.
const (
	rememberedTick  = time.Second
	rememberedBound = 700 * time.Millisecond
)

// remembered are the relays that an origin sends new sessions to while the gossip
// shows it none: just after a restart, or while port 7946 is blocked.
//
//	gossip shows relays ──────────────────────────────────────────▶ those
//	it has lost them, our probes reach some ──────────────────────▶ those
//	else last-known peers ─▶ each is asked how it is ─▶ answered ─▶ those
//
// Without any, the pool is empty, and the origin serves viewers itself where it may.
type remembered struct {
	*node

	mu       sync.Mutex
	answered []cluster.Member // in the last round
}

// members are all that is known, with the relays of which the origin itself knows
// when the gossip has none.
func (r *remembered) members() []cluster.Member {
	members := r.sound()
	if hasRelay(members) {
		return members
	}
	for _, m := range r.cluster.Lost().Members() {
		if r.prober.Reaches(m.Name) {
			members = append(members[:len(members):len(members)], m)
		}
	}
	if hasRelay(members) {
		return members
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(members[:len(members):len(members)], r.answered...)
}

// hasRelay tells whether a relay is among members, whatever its state: then the
// pool says where viewers are to go.
func hasRelay(members []cluster.Member) bool {
	return slices.ContainsFunc(members, func(m cluster.Member) bool { return m.State.Role == cluster.RoleRelay })
}

// run asks the last-known peers, each second in which the gossip shows no relay.
func (r *remembered) run(ctx context.Context) error {
	r.round(ctx)
	return each(ctx, rememberedTick, func(time.Time) { r.round(ctx) })
}

func (r *remembered) round(ctx context.Context) {
	var answered []cluster.Member
	if !hasRelay(r.cluster.Members()) {
		answered = r.ask(ctx)
	}
	r.mu.Lock()
	before := len(r.answered)
	r.answered = answered
	r.mu.Unlock()
	switch {
	case before == 0 && len(answered) > 0:
		r.log.Warn("the gossip shows no relay: new sessions go to those that were there last and answer", "relays", len(answered))
	case before > 0 && len(answered) == 0:
		r.log.Info("new sessions go to no relay any more that only the peers file knows")
	}
}

// ask returns the relays among the last-known peers that answer and take viewers.
func (r *remembered) ask(ctx context.Context) []cluster.Member {
	ctx, cancel := context.WithTimeout(ctx, rememberedBound)
	defer cancel()
	peers := r.cluster.Peers() // bounded by the file's bound
	found := make([]cluster.Member, len(peers))
	var asking sync.WaitGroup
	for i, peer := range peers {
		asking.Go(func() { found[i], _ = r.askPeer(ctx, peer) }) // who does not answer is not there
	}
	asking.Wait()
	var answered []cluster.Member
	for _, m := range found {
		if s := m.State; s.Role == cluster.RoleRelay && (s.Status == cluster.StatusServing || s.Status == cluster.StatusFull) {
			answered = append(answered, m)
		}
	}
	return answered
}

// askPeer asks a node on the viewers' port, which is the same on all, at the
// address of its gossip, what it is. It has to show first that it is of the pool:
// meanwhile the address may be a stranger's, who is not to be given our credential.
func (r *remembered) askPeer(ctx context.Context, peer netip.AddrPort) (cluster.Member, error) {
	at := netip.AddrPortFrom(peer.Addr(), uint16(r.config.Ports.Viewers)).String()
	hello, err := r.greeter.ask(ctx, at)
	if err != nil {
		return cluster.Member{}, err
	}
	if hello.Role != cluster.RoleRelay {
		return cluster.Member{}, errors.New("it is no relay")
	}
	own, err := r.fetchOwnStatus(ctx, at)
	if err != nil {
		return cluster.Member{}, err
	}
	if _, err := netip.ParseAddrPort(own.Address); err != nil {
		return cluster.Member{}, err
	}
	m := cluster.Member{Name: own.Name, Address: peer, State: cluster.State{
		Role: cluster.Role(own.Role), Status: cluster.Status(own.State), Media: own.Address,
		Capacity: int64(own.CapacityBitsPerSecond),
	}}
	if m.State.Capacity > 0 {
		m.State.Load = min(max(int(100*own.BitsPerSecond/own.CapacityBitsPerSecond), 0), 100)
	}
	return m, nil
}
