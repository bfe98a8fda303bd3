// Package cluster lets the nodes of a pool find each other, tells each of them
// who is alive, in what state and how full, and answers DNS from that view. It
// knows nothing about media and imports nothing of ours.
//
//	seeds, last-known peers ──▶ join loop ──▶ memberlist ◀──▶ other nodes
//	SetState ──▶ message ──▶ node metadata ─────┘   │ events
//	                                                ▼
//	                     Members, Changed ◀── view ──▶ picker ──▶ DNS answers
//
// The gossip is encrypted with keys derived from the pool's secret and the
// day; who does not hold the secret can neither read nor join.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// streamTimeout bounds connect, and each exchange, of the gossip's streams.
	streamTimeout = 2 * time.Second
	// leaveTimeout bounds the wait for the others to hear that we leave; when
	// it passes they find out by probing.
	leaveTimeout = 2 * time.Second
	// publishTimeout bounds the wait for a new state to go out. The state is
	// already queued by then, so nothing is lost when it passes.
	publishTimeout = 500 * time.Millisecond
	// minSecretBytes keeps a pool from being guarded by a short word.
	minSecretBytes = 16
	// maxPoolIDBytes is well under what memberlist's label and a packet hold.
	maxPoolIDBytes = 64
	defaultPoolID  = "surgecast"
	// retransmits, times the logarithm of the pool's size, is how often a node
	// sends each message on.
	retransmits = 6
)

// Config says how a node joins its pool.
type Config struct {
	// Bind is the ip:port of the gossip, UDP and TCP. Required.
	Bind string
	// Advertise is the ip:port where the others reach us; "" means Bind's. It
	// is required when Bind is an unspecified address as 0.0.0.0.
	Advertise string
	// Second is an ip:port of the other family of IP at which the gossip is heard as
	// well; "": none. The others know it by State.Second, with Advertise's port.
	Second string
	// Secret is the pool's secret, at least 16 bytes. Required.
	Secret []byte
	// PoolID separates pools that share a network; "" means "surgecast".
	PoolID string
	// Seeds are ip:port of nodes that are likely to be there. Names are not
	// resolved: a join must not depend on the DNS that the pool itself serves.
	Seeds []string
	// PeersFile keeps the members last seen, for a start without seeds; "":
	// nothing is kept.
	PeersFile string
	// Transport opens what replaces the real sockets on Bind, and on Second, at the
	// start and again when the node has to take another name; nil opens sockets. It
	// has to be a memberlist.NodeAwareTransport.
	Transport func(bind string) (memberlist.Transport, error)
	// State is what we tell about ourselves at first.
	State State
	// Now is the time by which keys are chosen; nil means the machine's clock.
	Now func() time.Time
	// Lookup finds more seeds, such as those that a DNS zone names, while seeds
	// are missing. It is asked beside the join, never before it. May be nil.
	Lookup func(ctx context.Context) ([]netip.AddrPort, error)
	// Logger gets joins and leaves at Info, memberlist's own lines at Debug.
	// Nil means silence.
	Logger *slog.Logger
}

// Node is our membership of the pool.
type Node struct {
	cfg       Config
	bind      netip.AddrPort
	second    netip.AddrPort // invalid: none
	advertise netip.AddrPort
	seeds     []netip.AddrPort
	keys      *keys
	view      *view
	log       *slog.Logger
	dirty     chan struct{} // one element: our state has to be published
	verdicts  *Verdicts
	lost      *Lost
	queue     *verdictQueue
	list      atomic.Pointer[memberlist.Memberlist]
	retry     chan struct{} // one element: what kept us from joining may be gone
	renames   atomic.Int64
	draw      func() string // a new name; tests that must repeat draw their own

	tried, failed atomic.Int64 // joins

	mu    sync.Mutex
	name  string
	born  int64 // unix milliseconds
	state State
	peers []netip.AddrPort // the members last seen, at first from the file
	found []netip.AddrPort // by Lookup
	// seconds are where others are heard over the other family, by their first
	// addresses.
	seconds map[netip.AddrPort]netip.AddrPort
}

// New checks the configuration and reads the peers file. Nothing is opened
// before Run.
func New(cfg Config) (*Node, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PoolID == "" {
		cfg.PoolID = defaultPoolID
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case len(cfg.Secret) < minSecretBytes:
		return nil, fmt.Errorf("pool secret has %d bytes, at least %d are needed", len(cfg.Secret), minSecretBytes)
	case len(cfg.PoolID) > maxPoolIDBytes:
		return nil, fmt.Errorf("pool id has %d bytes, at most %d are possible", len(cfg.PoolID), maxPoolIDBytes)
	}
	if cfg.Advertise == "" {
		cfg.Advertise = cfg.Bind
	}
	bind, err := parseAddress("bind", cfg.Bind)
	if err != nil {
		return nil, err
	}
	var second netip.AddrPort
	if cfg.Second != "" {
		if second, err = parseAddress("second", cfg.Second); err != nil {
			return nil, err
		}
	}
	advertise, err := parseAddress("advertise", cfg.Advertise)
	if err != nil {
		return nil, err
	}
	if advertise.Addr().IsUnspecified() {
		return nil, fmt.Errorf("advertise: %s is no address that others can reach; name the node's own", advertise)
	}
	seeds, err := parseSeeds(cfg.Seeds)
	if err != nil {
		return nil, err
	}
	keys, err := newKeys(cfg.Secret, cfg.Now)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg:       cfg,
		draw:      newName,
		name:      newName(),
		born:      time.Now().UnixMilli(),
		bind:      bind,
		second:    second,
		advertise: advertise,
		seconds:   make(map[netip.AddrPort]netip.AddrPort),
		seeds:     seeds,
		keys:      keys,
		view:      newView(),
		lost:      newLost(),
		dirty:     make(chan struct{}, 1),
		retry:     make(chan struct{}, 1),
	}
	n.log = slog.New(named{cfg.Logger.Handler(), n})
	n.verdicts = newVerdicts(n.Name, n.view.list, n.tellVerdict, n.log)
	n.queue = &verdictQueue{size: func() int { return len(n.view.list()) }, holds: n.verdicts.holds}
	if n.peers, err = readPeers(cfg.PeersFile); err != nil {
		n.log.Warn("peers file not read, going on with the seeds", "err", err)
	}
	n.SetState(cfg.State)
	return n, nil
}

// SetState tells the pool our new state. It never blocks; what is set while
// an older state is still going out is published after it. Values out of range
// are clamped.
func (n *Node) SetState(s State) {
	s = s.clamped()
	n.mu.Lock()
	n.state = s
	n.view.put(n.selfLocked())
	n.mu.Unlock()
	select {
	case n.dirty <- struct{}{}:
	default: // one is waiting already and will carry this state
	}
}

// Members returns the nodes that are alive, ourselves among them, sorted by
// name. The slice is shared and must not be changed.
func (n *Node) Members() []Member { return n.view.list() }

// Changed returns a channel that is closed at the next change of Members.
func (n *Node) Changed() <-chan struct{} { return n.view.changed() }

// Verdicts is what the probers of the pool say of its relays.
func (n *Node) Verdicts() *Verdicts { return n.verdicts }

// Lost are the relays that the gossip has lost, without a word of theirs.
func (n *Node) Lost() *Lost { return n.lost }

// Isolated says that we know of other nodes but see none of them.
func (n *Node) Isolated() bool {
	return len(n.view.list()) <= 1 && len(n.Targets()) > 0
}

// self is our own entry in the view.
func (n *Node) self() Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.selfLocked()
}

func (n *Node) selfLocked() Member {
	return Member{Name: n.name, Address: n.advertise, State: n.state, Self: true, born: n.born}
}

// publishChanges sends our state whenever it was set.
func (n *Node) publishChanges(ctx context.Context, list *memberlist.Memberlist) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.dirty:
		}
		// One caller only: UpdateNode reads the node's entry without a lock.
		if err := list.UpdateNode(publishTimeout); err != nil {
			n.log.Debug("state is still going out", "err", err)
		}
	}
}

func (n *Node) gossipConfig(d *delegate) *memberlist.Config {
	bind := netip.MustParseAddrPort(n.cfg.Bind)
	cfg := memberlist.DefaultLANConfig()
	cfg.Name = d.name
	cfg.BindAddr, cfg.BindPort = bind.Addr().String(), int(bind.Port())
	// Always given: without it Create fails on a host with only a public
	// address.
	cfg.AdvertiseAddr, cfg.AdvertisePort = n.advertise.Addr().String(), int(n.advertise.Port())
	cfg.TCPTimeout = streamTimeout
	cfg.Label = n.cfg.PoolID
	cfg.Keyring = n.keys.ring
	cfg.Delegate, cfg.Events, cfg.Conflict = d, d, d
	cfg.Logger = slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)
	// A message is sent a few times more, and full states are exchanged more
	// often, than by default: with the default one start of nine nodes in ten
	// took a minute until all had heard of all. Of a hundred nodes each exchanges
	// three times more seldom than said here: a name server that was without gossip
	// so knows within 15 s whom it has missed.
	cfg.RetransmitMult = retransmits
	cfg.PushPullInterval = 5 * time.Second
	// Our messages are a few hundred bytes; LZW would cost more memory for each
	// than it saves on the wire.
	cfg.EnableCompression = false
	return cfg
}
