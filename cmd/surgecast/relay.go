package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
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

// Run runs the relay until ctx ends.
func (c *relayCmd) Run(ctx context.Context) error {
	config, err := loadRelayConfig(c.Config)
	if err != nil {
		return err
	}
	address, err := nodeAddress(ctx, c.Address, &config.NodeConfig)
	if err != nil {
		return err
	}
	log := config.Log.logger(os.Stderr)
	r, err := newRelayNode(ctx, config, nodeOptions{Address: address, Env: realEnvironment(), Logger: log})
	if err != nil {
		return err
	}
	return r.Run(c.untilParentEnds(ctx))
}

// relayNode is a running relay: upstream ─▶ follower ─▶ store ─▶ server.
type relayNode struct {
	*node
	public http.Handler
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
		Self:           n.cluster.Name,
		Refer:          tree.Refer,
		Precedence:     live,
		DVR:            r.dvr,
	})
	pool := http.NewServeMux()
	pool.HandleFunc("GET "+ownStatusPath, n.serveOwnStatus)
	r.public = relay.NewServer(relay.ServerConfig{
		Store:      n.store,
		Credential: n.credential,
		Load:       n.load,
		Slots:      n.slots,
		Logger:     n.log,
		Ready:      r.ready,
		Alive:      n.alive,
		Pool:       pool,
		Player:     player.Handler(),
	})
	return r, nil
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
			bases = append(bases, "http://"+m.State.Media)
		}
	}
	return bases
}

// Run runs the relay until ctx ends and it has drained.
func (r *relayNode) Run(ctx context.Context) error {
	return r.live(ctx, func(ctx context.Context, group *errgroup.Group) error {
		if err := r.run(ctx, group, r.public, r.public); err != nil {
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
	return attributes
}

// ready tells why the relay is not to be listed.
func (r *relayNode) ready() error {
	switch status := r.status(); status {
	case cluster.StatusServing:
		return nil
	case cluster.StatusJoining:
		return errors.New("joining: no other node of the pool is seen yet")
	case cluster.StatusWarming:
		return errors.New("warming: the live window is not here yet")
	default:
		return fmt.Errorf("%s", status)
	}
}

// rise takes the relay from joining to serving. It then stays there: when the
// origin or the gossip is gone, it goes on serving what it has.
func (r *relayNode) rise(ctx context.Context) error {
	if err := r.until(ctx, r.cluster.Changed, func() bool { return len(r.cluster.Members()) > 1 }); err != nil {
		return err
	}
	r.setStatus(cluster.StatusWarming)
	if err := r.until(ctx, r.follower.Changed, r.follower.Warm); err != nil {
		return err
	}
	if err := r.proveUntilDone(ctx); err != nil {
		return err
	}
	r.setStatus(cluster.StatusServing)
	<-ctx.Done()
	return context.Cause(ctx)
}

// proveUntilDone tries the proof again until it succeeds. It returns an error
// only when ctx ends.
func (r *relayNode) proveUntilDone(ctx context.Context) error {
	for wait := leastProofPause; ; wait = min(2*wait, mostProofPause) {
		err := r.prove(ctx)
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
