package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"surgecast/cluster"
	"surgecast/relay"
	"surgecast/relay/player"
)

// relayCmd runs a relay.
type relayCmd struct {
	Config  string     `help:"The relays' configuration, the same file on every clone. Default: relay.yaml." default:"relay.yaml" placeholder:"FILE"`
	Address netip.Addr `help:"IP address for all listeners; outranks the configuration's." placeholder:"IP"`
	childFlags
}

// Help is shown by --help.
func (*relayCmd) Help() string {
	return `Finds the pool, fetches what the origin packages, proves that it serves it, and
takes its share of the viewers. Clone the machine to have another one.

	surgecast relay --config relay.yaml
	surgecast relay --config relay.yaml --address 127.0.0.9   (one more on this machine)`
}

// mediaTold is where other nodes reach this one.
func (r *relayNode) mediaTold() []string {
	told := []string{r.viewers.Addr().String()}
	if public := r.publicMedia(); public != "" {
		told = append(told, public)
	}
	return told
}

// Run runs the relay until ctx ends.
func (c *relayCmd) Run(ctx context.Context) error {
	config, err := loadRelayConfig(c.Config)
	if err != nil {
		return err
	}
	options, err := findPlace(ctx, c.Address, &config.NodeConfig)
	if err != nil {
		return err
	}
	r, err := newRelayNode(ctx, config, options)
	if err != nil {
		return err
	}
	return r.Run(c.untilParentEnds(ctx))
}

// relayNode is a running relay: upstream ─▶ follower ─▶ store ─▶ server.
type relayNode struct {
	*node
	public http.Handler
	byTLS  http.Handler // public, for those who come by TLS
	second fronts       // both, for those who come to the second address
	known  atomic.Bool  // it has had the window of each stream that was on air
}

// newRelayNode builds a relay in boot order; nothing is served before Run.
func newRelayNode(ctx context.Context, config *RelayConfig, options nodeOptions) (*relayNode, error) {
	options.Role = cluster.RoleRelay
	n, err := newNode(ctx, &config.NodeConfig, options)
	if err != nil {
		return nil, err
	}
	r := &relayNode{node: n}
	tree := newTree(n.cluster.Members, n.store.Lineage)
	parents := r.parents(config.Parents, tree.Parents)
	live := new(relay.Precedence)
	if err := r.openDVR(parents, live); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	siblings := r.peers
	if len(config.Parents) > 0 {
		siblings = nil // who may be asked has been said
	}
	r.follower = relay.NewFollower(relay.FollowerConfig{
		Store:          n.store,
		Credential:     n.credential,
		Authority:      []byte(config.AuthorityPublicKey),
		Client:         n.client,
		Logger:         n.log,
		Origins:        r.origins,
		OriginsChanged: n.cluster.Changed,
		Parents:        parents,
		ParentsChanged: n.cluster.Changed,
		Siblings:       siblings,
		Self:           n.cluster.Name,
		Refer:          tree.Refer,
		Precedence:     live,
		Media:          r.mediaTold(),
		DVR:            r.dvr,
	})
	r.warm = func(ctx context.Context) error { return r.until(ctx, r.follower.Changed, r.follower.Warm) }
	pool := http.NewServeMux()
	pool.HandleFunc("GET "+ownStatusPath, n.serveOwnStatus)
	pool.HandleFunc("GET "+probePath, n.serveProbe)
	pool.HandleFunc("GET "+relay.HeldPath, r.follower.ServeHeld)
	pool.HandleFunc("GET "+relay.HeldPath+"/{stream}/{rendition}", r.follower.ServeHeld)
	n.routeDrain(pool)
	server := relay.ServerConfig{
		Departure:  n.departure,
		Store:      n.store,
		Credential: n.credential,
		Load:       n.load,
		Slots:      n.slots,
		Logger:     n.log,
		Admission:  n.headroom.admission,
		Restoring:  func() bool { return !r.known.Load() },
		Ready:      r.ready,
		Alive:      n.alive,
		Pool:       pool,
		Hello:      http.HandlerFunc(n.serveHello),
		Player:     player.Handler(),
	}
	r.public, r.byTLS = n.newFront(server, n.elsewhere, false)
	r.second.SecondPlain, r.second.SecondTLS = n.newFront(server, n.secondElsewhere, true)
	return r, nil
}

// newFront is what a relay answers at one of its addresses; byTLS is nil without
// a certificate.
func (n *node) newFront(c relay.ServerConfig, elsewhere func() string, second bool) (plain, byTLS http.Handler) {
	c.Elsewhere, c.Steering = elsewhere, n.newSteering(false, second)
	plain = relay.NewServer(c)
	if n.tls != nil {
		c.Elsewhere, c.Steering = func() string { return n.secureBase(elsewhere()) }, n.newSteering(true, second)
		byTLS = relay.NewServer(c)
	}
	return plain, byTLS
}

// parents returns what tells whom to fetch from: those of the configuration, or
// those that the tree proposes. A clone of a parent has itself in that list, and leaves it out.
func (r *relayNode) parents(configured []BaseURL, proposed func() []string) func() []string {
	var bases []string
	for _, parent := range configured {
		if base := string(parent); strings.HasSuffix(base, "://"+r.viewers.Addr().String()) {
			r.log.Warn("this node is left out of its own parents", "parent", base)
		} else {
			bases = append(bases, base)
		}
	}
	if len(bases) == 0 {
		return proposed
	}
	return func() []string { return bases }
}

// origins are the base URLs of the origins that gossip shows.
func (r *relayNode) origins() []string {
	var bases []string
	for _, m := range r.cluster.Members() {
		if m.State.Role == cluster.RoleOrigin {
			bases = append(bases, "http://"+r.mediaOf(m))
		}
	}
	return bases
}

// Run runs the relay until ctx ends and it has drained.
func (r *relayNode) Run(ctx context.Context) error {
	return r.live(ctx, func(ctx context.Context, group *errgroup.Group) error {
		if err := r.run(ctx, group, fronts{r.public, r.byTLS, r.second.SecondPlain, r.second.SecondTLS}); err != nil {
			return err
		}
		group.Go(func() error { return r.follower.Run(ctx) })
		group.Go(func() error { return r.rise(ctx) })
		r.log.Info("relay up", r.surface()...)
		return nil
	})
}

// surface is where the relay is reached, for its first line in the log.
func (r *relayNode) surface() []any {
	attributes := []any{
		slog.String("viewers", r.viewers.Addr().String()),
		slog.String("gossip", r.at(r.config.Ports.Gossip)),
		slog.String("state", r.folder.Path),
	}
	if r.tls != nil {
		attributes = append(attributes, slog.String("tls", r.at(r.config.TLS.Port)))
	}
	return append(attributes, r.secondSurface()...)
}

// ready tells why the relay is not to be listed.
func (r *relayNode) ready() error {
	switch status := r.status(); status {
	case cluster.StatusServing:
		return nil
	case cluster.StatusJoining:
		return errors.New("joining: no other node of the pool is seen yet")
	case cluster.StatusWarming:
		return errors.New("warming: it is not proved yet that the live window is served here")
	default:
		return fmt.Errorf("%s", status)
	}
}

// rise takes the relay from joining to serving, and again when it finds that it
// does not serve rightly, or when a drain was taken back. When the origin or the
// gossip is gone, it goes on serving what it has.
func (r *relayNode) rise(ctx context.Context) error {
	if err := r.until(ctx, r.cluster.Changed, func() bool { return len(r.cluster.Members()) > 1 }); err != nil {
		return err
	}
	for {
		if err := r.until(ctx, r.orders.Changed, r.orders.stays); err != nil {
			return err
		}
		r.setStatus(cluster.StatusWarming)
		if err := r.proveAll(ctx); err != nil {
			return err
		}
		r.setStatus(cluster.StatusServing)
		reason, err := r.watchSelf(ctx)
		if err != nil {
			return err
		}
		r.takeOut(reason)
	}
}

// proveAll waits for all that a relay needs to be listed: the live window, the
// proof that it serves it, and that others see it from outside.
func (r *relayNode) proveAll(ctx context.Context) error {
	began := time.Now()
	if err := r.warm(ctx); err != nil {
		return err
	}
	r.known.Store(true)
	fetched := time.Now()
	if err := r.proveUntilDone(ctx); err != nil {
		return err
	}
	proved := time.Now()
	if err := r.untilSeen(ctx); err != nil {
		return err
	}
	r.log.Info("relay proved", "window", fetched.Sub(began).Round(time.Millisecond),
		"own listener", proved.Sub(fetched).Round(time.Millisecond), "from outside", time.Since(proved).Round(time.Millisecond))
	return nil
}

// proveUntilDone tries the proof again until it succeeds. It returns an error
// only when ctx ends.
func (r *relayNode) proveUntilDone(ctx context.Context) error {
	for wait := leastProofPause; ; wait = min(2*wait, mostProofPause) {
		err := r.prove(ctx, proofBound, func(*relay.Window) bool { return true })
		if err == nil {
			return nil
		}
		if wait == mostProofPause { // no passing weakness
			r.log.Warn("own listener does not serve yet", "err", err)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// until waits for a condition that may change when the channel is closed.
func (r *relayNode) until(ctx context.Context, changed func() <-chan struct{}, met func() bool) error {
	for {
		change := changed() // before the look: a change between the two is not missed
		if met() {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
