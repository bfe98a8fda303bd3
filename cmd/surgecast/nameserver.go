package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"surgecast/cluster"
	"surgecast/relay"
)

// nameserverCmd runs a name server.
type nameserverCmd struct {
	Config  string     `help:"The name servers' configuration. Default: nameserver.yaml." default:"nameserver.yaml" placeholder:"FILE"`
	Address netip.Addr `help:"IP address for all listeners; outranks the configuration's." placeholder:"IP"`
	childFlags
}

// Help is shown by --help.
func (*nameserverCmd) Help() string {
	return `Finds the pool and answers DNS for its zone: the relays that serve, by what each
has left. Two or more on small hosts that stay, never on clones. What the zone
above must say prints "surgecast delegation".

	surgecast nameserver --config nameserver.yaml`
}

// Run runs the name server until ctx ends.
func (c *nameserverCmd) Run(ctx context.Context) error {
	config, err := loadNameserverConfig(c.Config)
	if err != nil {
		return err
	}
	options, err := findPlace(ctx, c.Address, &config.NodeConfig)
	if err != nil {
		return err
	}
	s, err := newNameserverNode(ctx, config, options)
	if err != nil {
		return err
	}
	makeRoomFor(s.dns)
	return s.Run(c.untilParentEnds(ctx))
}

// makeRoomFor gives the runtime a processor more for each thread that waits for
// questions: without it all else would wait until such a thread is found to be
// asleep, and the thread until all else lets go. From then on GOMAXPROCS does not
// follow a container's limit that is changed.
func makeRoomFor(dns *cluster.DNS) {
	if dns != nil {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + dns.Readers())
	}
}

// nameserverNode is a running name server: gossip ─▶ members ─▶ DNS.
type nameserverNode struct {
	*node
	config *NameserverConfig
	public http.Handler
}

// newNameserverNode builds a name server; nothing is answered before Run.
func newNameserverNode(ctx context.Context, config *NameserverConfig, options nodeOptions) (_ *nameserverNode, err error) {
	options.Role = cluster.RoleNameServer
	n, err := newNode(ctx, &config.NodeConfig, options)
	if err != nil {
		return nil, err
	}
	if n.dns, err = n.newDNS(config.DNS, config.ServeViewers); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	pool := http.NewServeMux()
	pool.HandleFunc("GET "+ownStatusPath, n.serveOwnStatus)
	// Its store stays empty: there are /healthz, /readyz and what nodes ask.
	public := relay.NewServer(relay.ServerConfig{
		Store: n.store, Credential: n.credential, Load: n.load, Logger: n.log,
		Ready: n.answering, Alive: n.alive, Pool: pool,
		Hello: http.HandlerFunc(n.serveHello),
	})
	return &nameserverNode{node: n, config: config, public: public}, nil
}

// newDNS opens the answering of a node that has joined, or will.
func (n *node) newDNS(c DNSConfig, viewers ServeViewers) (*cluster.DNS, error) {
	var listen []string
	for _, address := range c.Addresses {
		listen = append(listen, netip.AddrPortFrom(address.Addr, uint16(c.Port)).String())
	}
	if len(listen) == 0 {
		listen = []string{n.at(c.Port)}
	}
	dns, err := cluster.NewDNS(cluster.DNSConfig{
		Listen:         listen,
		Zone:           n.config.Zone,
		NS:             c.servers(),
		View:           n.cluster.Members,
		Healthy:        n.healthy,
		Second:         n.secondAnswers,
		Lost:           n.cluster.Lost().Members,
		Reached:        n.prober.Reaches,
		ReachedSecond:  n.prober.ReachesSecond,
		OriginMayServe: viewers != ServeNever,
		RateLimit:      int(c.RateLimit),
		ID:             n.cluster.Name(),
		Logger:         n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("dns.port: %w", err)
	}
	return dns, nil
}

// answering tells why resolvers should not be sent here.
func (n *node) answering() error {
	if status := n.status(); status != cluster.StatusServing {
		return fmt.Errorf("%s", status)
	}
	return nil
}

// Run answers until ctx ends.
func (s *nameserverNode) Run(ctx context.Context) error {
	return s.live(ctx, func(ctx context.Context, group *errgroup.Group) error {
		if err := s.run(ctx, group, fronts{Plain: s.public, TLS: s.public}); err != nil {
			return err
		}
		group.Go(func() error { return s.dns.Run(ctx) })
		if s.config.OnForecast.On() {
			group.Go(func() error { return s.runHook(ctx, s.config.OnForecast) })
		}
		s.setStatus(cluster.StatusServing)
		s.log.Info("name server up",
			slog.String("dns", s.dns.Addr().String()),
			slog.String("zone", s.config.Zone),
			slog.String("gossip", s.at(s.config.Ports.Gossip)),
			slog.String("state", s.folder.Path))
		return nil
	})
}

// dnsMetrics are those of a node that answers DNS.
func dnsMetrics(dns *cluster.DNS) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("surgecast_dns_panic", "Is less than half of the capacity healthy, so that all relays are named that do not drain? Relays count that the gossip has, or that it lost and this node still reaches.",
			func() float64 { return bit(dns.Panicking()) }),
		gauge("surgecast_dns_lost_relays", "How many relays does it name as they were known last, since the gossip has lost them and its own probes reach them?",
			func() float64 { return float64(dns.Remembered()) }),
	}
}
