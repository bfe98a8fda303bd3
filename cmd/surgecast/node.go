package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"surgecast/cluster"
	"surgecast/relay"
)

// node is what an origin and a relay have in common: an address, a locked
// folder, listeners, a place in the pool, a store.
type node struct {
	config     *NodeConfig
	role       cluster.Role
	address    netip.Addr
	env        environment
	log        *slog.Logger
	client     *http.Client // asks other nodes
	store      *relay.Store
	load       *relay.Load
	dvr        *relay.DVR
	credential *relay.Credential
	began      time.Time

	folder  *stateDir
	slots   *relay.Slots // for other nodes
	gate    *relay.Gate
	viewers net.Listener
	tls     *relay.TLS   // nil without a certificate
	secure  net.Listener // for viewers, by TLS; nil without a certificate
	api     net.Listener // nil when turned off
	cluster *cluster.Node
	token   string // of the private API

	streams  streamControl   // nil on a relay
	follower *relay.Follower // nil on an origin

	mu        sync.Mutex
	announced cluster.State // what the pool was told last
}

// nodeOptions is what starts a node, beside its configuration.
type nodeOptions struct {
	Role    cluster.Role
	Address netip.Addr
	Env     environment
	Logger  *slog.Logger
}

// newNode takes what a node needs, in the order in which it can be refused;
// Close gives it back.
func newNode(ctx context.Context, config *NodeConfig, o nodeOptions) (_ *node, err error) {
	n := &node{
		config:     config,
		role:       o.Role,
		address:    o.Address,
		env:        o.Env,
		log:        o.Logger,
		client:     o.Env.client(),
		store:      relay.NewStore(),
		load:       relay.NewLoad(),
		credential: relay.NewCredential(config.PoolSecret),
		began:      time.Now(),
		token:      newAPIToken(),
	}
	n.slots = n.newSlots()
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.folder, err = openStateDir(config.Dir, o.Address); err != nil {
		return nil, err
	}
	if err = n.openFront(ctx); err != nil {
		return nil, err
	}
	if config.Ports.API != 0 {
		if n.api, err = n.listen(ctx, config.Ports.API, "ports.api"); err != nil {
			return nil, err
		}
	}
	return n, n.newCluster()
}

// listen opens a TCP listener on the node's address.
func (n *node) listen(ctx context.Context, port Port, key string) (net.Listener, error) {
	listener, err := n.env.Listen(ctx, "tcp", n.at(port))
	if err != nil {
		return nil, fmt.Errorf("%s: %w (choose another port there, or another --address)", key, err)
	}
	return listener, nil
}

// at is the node's address with a port.
func (n *node) at(port Port) string { return netip.AddrPortFrom(n.address, uint16(port)).String() }

func (n *node) newCluster() error {
	bind := n.at(n.config.Ports.Gossip)
	transport, err := n.env.gossip(bind)
	if err != nil {
		return fmt.Errorf("open gossip: %w", err)
	}
	seeds := make([]string, 0, len(n.config.Seeds))
	for _, seed := range n.config.Seeds {
		seeds = append(seeds, seed.String())
	}
	n.announced = cluster.State{
		Role:     n.role,
		Status:   cluster.StatusJoining,
		Media:    n.viewers.Addr().String(),
		Capacity: int64(n.config.Capacity),
		Slots:    n.slots.Room().Best,
		Version:  version(),
	}
	n.cluster, err = cluster.New(cluster.Config{
		Bind:      bind,
		Secret:    n.config.PoolSecret,
		PoolID:    n.config.Pool,
		Seeds:     seeds,
		PeersFile: n.folder.Path + "/peers",
		Transport: transport,
		State:     n.announced,
		Logger:    n.log,
	})
	if err != nil {
		return fmt.Errorf("open gossip on %s: %w", bind, err)
	}
	n.log = n.log.With("node", n.cluster.Name()) // as the cluster's own lines have it
	return nil
}

// Close gives back what newNode took, the last first.
func (n *node) Close() error {
	var errs []error
	for _, listener := range []net.Listener{n.api, n.secure, n.viewers} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	n.client.CloseIdleConnections()
	if n.folder != nil {
		errs = append(errs, n.folder.Close())
	}
	return errors.Join(errs...)
}

// run starts what every node runs; public answers those who come in cleartext,
// secure those who come by TLS. The first of a group to return ends all.
func (n *node) run(ctx context.Context, group *errgroup.Group, public, secure http.Handler) error {
	group.Go(func() error { return n.cluster.Run(ctx) })
	group.Go(func() error { return n.tellLoad(ctx) })
	group.Go(func() error { return n.tellTree(ctx) })
	n.runFront(ctx, group, public, secure)
	n.advise()
	if n.api == nil {
		return nil
	}
	private := newAPI(apiConfig{Token: n.token, Status: n.poolStatus, Metrics: n.metrics(), Streams: n.streams})
	group.Go(func() error { return relay.Serve(ctx, n.api, relay.NewHTTPServer(private, n.log)) })
	return n.folder.WriteAPI(apiFile{URL: "http://" + n.api.Addr().String(), Token: n.token, PID: os.Getpid()})
}

// live runs parts until ctx ends and the node has drained, or until one of
// them fails. It starts with a context of its own, so that all go on serving
// while the pool sends viewers elsewhere.
func (n *node) live(ctx context.Context, start func(ctx context.Context, group *errgroup.Group) error) error {
	inner, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	group, inner := errgroup.WithContext(inner)
	group.Go(func() error { return start(inner, group) })
	group.Go(func() error {
		select {
		case <-inner.Done():
			return nil
		case <-ctx.Done():
		}
		n.drain(inner)
		end(errEnded)
		return nil
	})
	err := errors.Join(ignoreEnd(group.Wait()), n.Close())
	if err == nil {
		n.log.Info("node ended", "after", time.Since(n.began).Round(time.Second))
	}
	return err
}

// errEnded is the cause with which the parts of a node end when all is well.
var errEnded = errors.New("the node was told to end")

func ignoreEnd(err error) error {
	if errors.Is(err, errEnded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// drain asks the pool to send viewers elsewhere, and serves them until then. A
// node that never served has none to wait for.
func (n *node) drain(ctx context.Context) {
	served := n.status() == cluster.StatusServing
	n.setStatus(cluster.StatusDraining)
	if !served {
		return
	}
	select {
	case <-time.After(time.Duration(n.config.Drain)):
	case <-ctx.Done():
	}
}

// status is what the pool was told last.
func (n *node) status() cluster.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.announced.Status
}

// setStatus tells the pool a new status, if the move is legal.
func (n *node) setStatus(to cluster.Status) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := n.announced.Status
	if !from.MayBecome(to) {
		return false
	}
	n.announced.Status = to
	n.cluster.SetState(n.announced)
	n.log.Info("node "+string(to), "was", string(from), "after", time.Since(n.began).Round(time.Millisecond))
	return true
}

// Gossip carries few changes a second, so a load is told in steps.
const (
	loadTick = time.Second
	loadStep = 10 // percent
)

// tellLoad tells the pool how full the node is, when that has changed by a step.
func (n *node) tellLoad(ctx context.Context) error {
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			n.setLoad(loadPercent(n.load.Snapshot().BitsPerSecond, n.config.Capacity))
		}
	}
}

// loadPercent is 0 where the capacity is not known.
func loadPercent(bitsPerSecond float64, capacity BitRate) int {
	if capacity == 0 {
		return 0
	}
	return min(100, int(bitsPerSecond*100/float64(capacity)))
}

func (n *node) setLoad(percent int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if change := percent - n.announced.Load; -loadStep < change && change < loadStep {
		return
	}
	n.announced.Load = percent
	n.cluster.SetState(n.announced)
}

// alive is what /healthz adds: a node that is alone still serves what it has.
func (n *node) alive() string {
	if n.cluster.Isolated() {
		return "ok, isolated: no other node of the pool is seen"
	}
	return ""
}
