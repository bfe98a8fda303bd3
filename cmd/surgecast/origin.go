package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"surgecast/cluster"
	"surgecast/origin"
	"surgecast/relay"
	"surgecast/relay/player"
)

// originCmd runs an origin.
type originCmd struct {
	Config  string     `help:"The origin's configuration. Default: origin.yaml." default:"origin.yaml" placeholder:"FILE"`
	Address netip.Addr `help:"IP address for all listeners; outranks the configuration's." placeholder:"IP"`
	childFlags
}

// Help is shown by --help.
func (*originCmd) Help() string {
	return `Takes streams from encoders by RTSP, RTMP, SRT and MPEG-TS, or fetches them from
cameras, packages each once, serves them to relays and sends viewers who ask here
to the relays. Make a configuration first:

	surgecast init ~/evening --origin 192.0.2.10
	surgecast origin --config ~/evening/origin.yaml`
}

// Run runs the origin until ctx ends.
func (c *originCmd) Run(ctx context.Context) error {
	config, err := loadOriginConfig(c.Config)
	if err != nil {
		return err
	}
	options, err := findPlace(ctx, c.Address, &config.NodeConfig)
	if err != nil {
		return err
	}
	o, err := newOriginNode(ctx, config, options)
	if err != nil {
		return err
	}
	makeRoomFor(o.dns)
	return o.Run(c.untilParentEnds(ctx))
}

// originNode is a running origin: encoder ─▶ ingest ─▶ origin ─▶ store ─▶ server.
type originNode struct {
	*node
	config *OriginConfig
	origin *origin.Origin
	witnesses
	originIngest
	public     http.Handler
	byTLS      http.Handler // public, for those who come by TLS
	remembered *remembered
	second     fronts // both, for those who come to the second address
}

// newOriginNode builds an origin in boot order; nothing is served before Run.
func newOriginNode(ctx context.Context, config *OriginConfig, options nodeOptions) (_ *originNode, err error) {
	options.Role = cluster.RoleOrigin
	n, err := newNode(ctx, &config.NodeConfig, options)
	if err != nil {
		return nil, err
	}
	o := &originNode{node: n, config: config}
	if err := o.build(ctx); err != nil {
		_ = n.Close() // what stopped the start matters more
		return nil, err
	}
	return o, nil
}

func (o *originNode) build(_ context.Context) (err error) {
	o.origin, err = origin.New(origin.Config{
		Dir:          o.folder.Path,
		AuthorityKey: o.config.AuthorityKey,
		Streams:      o.streams(),
		Store:        o.store,
		Window:       time.Duration(o.config.Window),
		Logger:       o.log,
	})
	if err != nil {
		return fmt.Errorf("open origin: %w", err)
	}
	o.node.streams, o.node.journal = o.origin, o.origin.MediaJournalFailures
	o.witnesses = newWitnesses()
	if o.dvr, err = relay.OpenDVR(o.dvrConfig()); err != nil {
		return err
	}
	if err := o.openIngest(); err != nil {
		return err
	}
	if o.config.DNS.Port != 0 {
		if o.dns, err = o.newDNS(o.config.DNS, o.config.ServeViewers); err != nil {
			return err
		}
	}
	o.remembered = &remembered{node: o.node}
	first := &director{members: o.remembered.members, by: o.byFamily}
	second := &director{members: o.remembered.members, by: o.byFamily, second: true}
	o.public, o.byTLS = o.newFront(first, false)
	o.second.SecondPlain, o.second.SecondTLS = o.newFront(second, true)
	return nil
}

// newFront is what the origin answers at one of its addresses; byTLS is nil
// without a certificate.
func (o *originNode) newFront(d *director, second bool) (plain, byTLS http.Handler) {
	if o.tls != nil {
		byTLS = o.newPublic(func() string { return o.secureBase(d.Redirect()) }, o.newSteering(true, second))
	}
	return o.newPublic(d.Redirect, o.newSteering(false, second)), byTLS
}

func (o *originNode) streams() []origin.StreamConfig {
	var streams []origin.StreamConfig
	for _, s := range o.config.Streams {
		streams = append(streams, origin.StreamConfig{
			Name: s.Name, PublishKey: s.PublishKey, Constants: s.constants(), DVR: time.Duration(s.DVR),
			Audio: origin.AudioMode(s.Audio), Languages: s.Languages, Rungs: s.rungNames(),
			Broadcasters: s.broadcasterKeys(), SameKey: origin.SameKey(s.SameKey), OnLoss: origin.OnLoss(s.OnLoss),
		})
	}
	return streams
}

// newPublic is what the origin answers to viewers and relays; redirect says
// where it sends new sessions.
func (o *originNode) newPublic(redirect func() string, steering *relay.Steering) http.Handler {
	pool := http.NewServeMux()
	pool.Handle("GET "+relay.ControlPath, o.heard(o.origin.Control()))
	pool.HandleFunc("GET "+ownStatusPath, o.serveOwnStatus)

	config := relay.ServerConfig{
		Store:      o.store,
		Credential: o.credential,
		Load:       o.load,
		Steering:   steering,
		Slots:      o.slots,
		Logger:     o.log,
		Admission:  o.headroom.admission,
		Restoring:  o.restoring,
		Ready:      o.ready,
		Alive:      o.alive,
		Pool:       pool,
		Hello:      http.HandlerFunc(o.serveHello),
		Player:     player.Handler(),
		NodesOnly:  o.config.ServeViewers == ServeNever,
	}
	if o.config.ServeViewers != ServeAlways {
		config.Redirect = redirect
	}
	return relay.NewServer(config)
}

// ready tells whether the origin takes feeds and relays.
func (o *originNode) ready() error {
	if status := o.status(); status != cluster.StatusServing {
		return fmt.Errorf("%s", status)
	}
	return nil
}

// Run runs the origin until ctx ends and it has drained.
func (o *originNode) Run(ctx context.Context) error {
	return o.live(ctx, func(ctx context.Context, group *errgroup.Group) error {
		if err := o.run(ctx, group, fronts{o.public, o.byTLS, o.second.SecondPlain, o.second.SecondTLS}); err != nil {
			return err
		}
		if err := o.restore(ctx); err != nil {
			return err
		}
		group.Go(func() error { return o.runRecorded(ctx) })
		group.Go(func() error { return o.remembered.run(ctx) })
		if o.dns != nil {
			group.Go(func() error { return o.dns.Run(ctx) })
		}
		o.runIngest(ctx, group)
		if o.config.OnForecast.On() {
			group.Go(func() error { return o.runHook(ctx, o.config.OnForecast) })
		}
		o.setStatus(cluster.StatusServing)
		o.log.Info("origin up", o.surface()...)
		return nil
	})
}

// surface is where the origin is reached, for its first line in the log.
func (o *originNode) surface() []any {
	attributes := []any{
		slog.String("viewers", o.viewers.Addr().String()),
		slog.String("gossip", o.at(o.config.Ports.Gossip)),
		slog.String("epoch", o.origin.Epoch().String()),
		slog.String("state", o.folder.Path),
	}
	if o.tls != nil {
		attributes = append(attributes, slog.String("tls", o.at(o.config.TLS.Port)))
	}
	for _, one := range o.listeners {
		attributes = append(attributes, slog.String(one.name, one.Addr().String()))
	}
	if o.dns != nil {
		attributes = append(attributes, slog.String("dns", o.at(o.config.DNS.Port)))
	}
	return append(attributes, o.secondSurface()...)
}
