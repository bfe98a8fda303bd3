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
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"surgecast/cluster"
	"surgecast/origin"
	"surgecast/relay"
)

// node is what all roles have in common: an address, a locked folder,
// listeners, a place in the pool, a store (which a name server leaves empty).
type node struct {
	config     *NodeConfig
	role       cluster.Role
	address    netip.Addr   // all listeners bind it
	public     netip.Addr   // where viewers come, if that is another
	second     netip.Addr   // of the other family, where they come as well; may be invalid
	network    netip.Prefix // of address, where an interface has it
	env        environment
	log        *slog.Logger
	client     *http.Client // asks other nodes
	store      *relay.Store
	load       *relay.Load
	dvr        *relay.DVR   // nil on a name server
	dns        *cluster.DNS // nil when turned off
	headroom   *headroom
	underway   underway
	credential *relay.Credential
	hello      helloKey
	greeter    greeter
	clock      *clock
	cloud      *cloudQuery // nil: no metadata service is asked
	kin        kinship
	began      time.Time

	folder  *stateDir
	slots   *relay.Slots // for other nodes
	gate    *relay.Gate
	viewers net.Listener
	tls     *relay.TLS   // nil without a certificate
	secure  net.Listener // for viewers, by TLS; nil without a certificate
	// The same at the second address; nil: not there.
	secondViewers, secondSecure net.Listener

	api     net.Listener // nil when turned off
	cluster *cluster.Node
	prober  *cluster.Prober
	token   string // of the private API

	streams  streamControl                // nil on a relay
	feeds    func() []origin.Feed         // nil on a relay
	ladders  func() []origin.LadderStatus // as feeds
	shown    func() []origin.Shown        // as feeds
	rungs    func() []origin.RungStatus   // as feeds
	inputs   *inputMetrics                // nil on a relay
	journal  func() int64                 // failures of the media journal; nil on a relay
	follower *relay.Follower              // nil on an origin

	orders    *drainOrders                    // what operators said
	departure *relay.Departure                // how far it is on its way out
	inherited bool                            // the viewers' sockets outlive this process
	warm      func(ctx context.Context) error // waits until there is something to serve; nil: there is from the start
	drained   chan struct{}                   // closed when viewers are to be served no longer

	mu        sync.Mutex
	announced cluster.State // what the pool was told last
	loadTold  time.Time     // when its load changed last
}

// nodeOptions is what starts a node, beside its configuration.
type nodeOptions struct {
	Role    cluster.Role
	Address netip.Addr
	Public  netip.Addr  // may be invalid, as of reach
	Second  netip.Addr  // may be invalid, as of reach
	Cloud   *cloudQuery // may be nil
	Env     environment
	Logger  *slog.Logger
}

// findPlace finds what a node that is started as a command stands on, and which
// addresses it has: that of the flag before all others.
func findPlace(ctx context.Context, flag netip.Addr, config *NodeConfig) (nodeOptions, error) {
	env, err := serviceEnvironment()
	if err != nil {
		return nodeOptions{}, err
	}
	log := config.Log.logger(os.Stderr)
	cloud := env.askCloud(ctx, flag, config)
	at, err := env.locate(ctx, flag, config, cloud, log)
	return nodeOptions{Address: at.Address, Public: at.Public, Second: at.Second, Cloud: cloud, Env: env, Logger: log}, err
}

// newNode takes what a node needs, in the order in which it can be refused;
// Close gives it back.
func newNode(ctx context.Context, config *NodeConfig, o nodeOptions) (_ *node, err error) {
	n := &node{
		config:     config,
		role:       o.Role,
		address:    o.Address,
		public:     o.Public,
		second:     o.Second,
		cloud:      o.Cloud,
		clock:      newClock(o.Env.now),
		hello:      newHelloKey(config.PoolSecret),
		env:        o.Env,
		log:        o.Logger,
		store:      relay.NewStore(),
		load:       relay.NewLoad(),
		credential: relay.NewCredential(config.PoolSecret),
		began:      time.Now(),
		token:      newAPIToken(),
		departure:  new(relay.Departure),
		drained:    make(chan struct{}),
	}
	toOthers := o.Env
	toOthers.Dial = n.dial
	n.client = toOthers.client()
	n.credential.Now = n.clock.Now
	n.greeter = greeter{n.hello, n.client, o.Env.now}
	n.slots = n.newSlots()
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.folder, err = openStateDir(config.Dir, o.Address); err != nil {
		return nil, err
	}
	// Before anything is read that a clone does not take over.
	if err = n.recall(); err != nil {
		return nil, err
	}
	if n.headroom, err = newHeadroom(config, o, n.folder.Path, n.load); err != nil {
		n.log.Warn("capacity", "err", err)
	}
	if n.headroom.known != 0 {
		n.log.Info("capacity", "bits_per_second", int64(n.headroom.known), "from", n.headroom.From())
	}
	if n.orders, err = openDrainOrders(filepath.Join(n.folder.Path, drainFileName)); err != nil {
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
	if err = n.newCluster(); err != nil {
		return nil, err
	}
	n.prober = n.newProber()
	return n, nil
}

// listen opens a TCP listener on the node's address.
func (n *node) listen(ctx context.Context, port Port, key string) (net.Listener, error) {
	listener, err := n.env.listenHere(ctx, n.at(port))
	if err != nil {
		return nil, fmt.Errorf("%s: %w (choose another port there, or another --address)", key, err)
	}
	return listener, nil
}

// at is the node's address with a port.
func (n *node) at(port Port) string { return netip.AddrPortFrom(n.address, uint16(port)).String() }

func (n *node) newCluster() error {
	bind := n.at(n.config.Ports.Gossip)
	second := ""
	if n.second.IsValid() {
		second = netip.AddrPortFrom(n.second, uint16(n.config.Ports.Gossip)).String()
	}
	seeds := make([]string, 0, len(n.config.Seeds))
	for _, seed := range n.config.Seeds {
		seeds = append(seeds, seed.String())
	}
	n.announced = cluster.State{
		Role:     n.role,
		Status:   n.firstStatus(),
		Media:    n.viewers.Addr().String(),
		Capacity: int64(n.headroom.Told(0)),
		Public:   n.publicMedia(),
		Second:   n.second,
		Slots:    n.slots.Room().Best,
		Version:  version(),
	}
	var err error
	n.cluster, err = cluster.New(cluster.Config{
		Bind:      bind,
		Second:    second,
		Advertise: n.advertised(),
		Secret:    n.config.PoolSecret,
		PoolID:    n.config.Pool,
		Seeds:     seeds,
		PeersFile: filepath.Join(n.folder.Path, peersFileName),
		Transport: n.env.Transport,
		State:     n.announced,
		Now:       n.clock.Now,
		Lookup:    n.seedLookup(),
		Logger:    n.log,
	})
	if err != nil {
		return fmt.Errorf("open gossip on %s: %w", bind, err)
	}
	n.log = n.cluster.Logger()
	return nil
}

// Close gives back what newNode took, the last first.
func (n *node) Close() error {
	var errs []error
	for _, listener := range []net.Listener{n.api, n.secondSecure, n.secondViewers, n.secure, n.viewers} {
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

// run starts what every node runs. The first of a group to return ends all.
func (n *node) run(ctx context.Context, group *errgroup.Group, answers fronts) error {
	group.Go(func() error { return n.cluster.Run(ctx) })
	group.Go(func() error { return n.prober.Run(ctx) })
	group.Go(func() error { return n.keepClock(ctx) })
	group.Go(func() error { return n.tellLoad(ctx) })
	group.Go(func() error { return n.tellTree(ctx) })
	n.runFront(ctx, group, answers)
	group.Go(func() error { return n.tellManager(ctx) })
	n.advise()
	if n.api == nil {
		return nil
	}
	private := newAPI(apiConfig{Token: n.token, Status: n.poolStatus, Metrics: n.metrics(), Streams: n.streams, Drain: n.serveDrain})
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
		n.depart(ctx, inner)
		close(n.drained)
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

// status is what the pool was told last.
func (n *node) status() cluster.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.announced.Status
}

// setStatus tells the pool a new status, if the move is legal, and only from one
// of the statuses in only, if there are any.
func (n *node) setStatus(to cluster.Status, only ...cluster.Status) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := n.announced.Status
	// Else the watch, which the same order wakes, could make a drain take the
	// relay for one that was not listed, and end it at once.
	sealed := from != cluster.StatusJoining && to == cluster.StatusWarming && !n.orders.stays()
	if !from.MayBecome(to) || sealed || len(only) > 0 && !slices.Contains(only, from) {
		return false
	}
	n.announced.Status = to
	n.cluster.SetState(n.announced)
	n.log.Info("node "+string(to), "was", string(from), "after", time.Since(n.began).Round(time.Millisecond))
	return true
}

// Gossip carries few changes a second, so a load is told in steps: at once when
// it is a large one, and a fine one when the last was a while ago. While all
// loads drift, a pool of any size thus makes at most seven changes a second.
const (
	loadTick     = time.Second
	loadStep     = 10 // percent
	fineStep     = 2  // percent
	loadsASecond = 7
)

// fineAfter is how long after the last one a fine step is told to a pool of so
// many nodes.
func fineAfter(nodes int) time.Duration {
	return max(time.Duration(nodes)*time.Second/loadsASecond, loadTick)
}

// tellsLoad tells whether a load is to be told that is by so many percent another
// one than was told that long ago.
func tellsLoad(change int, since time.Duration, nodes int) bool {
	change = max(change, -change)
	return change >= loadStep || change >= fineStep && since >= fineAfter(nodes)
}

// tellLoad tells the pool how full the node is, when that has changed by a step.
func (n *node) tellLoad(ctx context.Context) error {
	return each(ctx, loadTick, func(time.Time) { n.lookAtHeadroom() })
}

// each does something at each tick until ctx ends, and returns why it ended.
func each(ctx context.Context, tick time.Duration, do func(now time.Time)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-ticker.C:
			do(now)
		}
	}
}

func (n *node) setLoad(percent int, of BitRate, nodes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if int64(of) == n.announced.Capacity && !tellsLoad(percent-n.announced.Load, time.Since(n.loadTold), nodes) {
		return
	}
	n.announced.Load, n.announced.Capacity, n.loadTold = percent, int64(of), time.Now()
	n.cluster.SetState(n.announced)
}

// alive is what /healthz adds: a node that is alone still serves what it has.
func (n *node) alive() string {
	if n.cluster.Isolated() {
		return "ok, isolated: no other node of the pool is seen"
	}
	return ""
}
