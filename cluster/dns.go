package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DNSConfig says what a name server answers.
type DNSConfig struct {
	// Listen are the ip:port for UDP and TCP, one for each address of the host
	// that is asked; none opens nothing, and only Respond answers.
	Listen []string
	// Zone is the pool's name, as live.example.org. Required.
	Zone string
	// NS are the zone's name servers; none means ns1 in the zone, with the
	// addresses of Listen.
	NS []NameServer
	// View gives the members; it is asked often and must be quick. Required.
	View func() []Member
	// Healthy says whether a relay that says it serves is found to do so. One
	// that is not is left out of the answers, unless too few are left. It is
	// asked some 20 times a second for each relay, from any goroutine, and must be
	// quick. Nil: all are.
	Healthy func(Member) bool
	// Second says what is found of a relay's second address, which is named once
	// it was up, and until it is down. It is asked as often as Healthy. Nil: all are
	// up.
	Second func(Member) Opinion
	// Lost are relays that the gossip has lost. They are named as they were known
	// last while Reached says that our own probes reach them, and all of them
	// while those reach no relay at all: then it is we who are cut off. Both are
	// asked as often as View; nil: whom the gossip has lost is not named.
	Lost    func() []Member
	Reached func(name string) bool
	// ReachedSecond is Reached of second addresses; nil: none is reached.
	ReachedSecond func(name string) bool
	// OriginMayServe lets the origin's address be the answer before any relay
	// was ever ready.
	OriginMayServe bool
	// TTL of the relays' addresses, whole seconds; 0 means 30 s. It is halved
	// while a relay is missed.
	TTL time.Duration
	// RateLimit is how many answers a second of one kind go by UDP to one network
	// (IPv4 /24, IPv6 /56); of more, half are sent to TCP and half are dropped.
	// 0: no limit.
	RateLimit int
	// ID names this server to those who ask for it (NSID); "": no answer.
	ID     string
	Logger *slog.Logger // nil: silence
}

// NameServer is one authoritative server of the zone.
type NameServer struct {
	Name  string       // "ns1" within the zone, or a full name with dots
	Addrs []netip.Addr // required within the zone
}

// DNS is an authoritative name server for the pool's zone.
type DNS struct {
	zone    *zone
	roster  *roster
	view    func() []Member
	limiter *limiter // nil: no limit
	id      string
	log     *slog.Logger
	conns   *connTable
	listen  []dnsListener
}

// dnsListener is one address, by UDP and TCP.
type dnsListener struct {
	udp *udpSocket
	tcp net.Listener
}

// NewDNS checks the configuration and opens the sockets.
func NewDNS(cfg DNSConfig) (*DNS, error) {
	if cfg.View == nil {
		return nil, errors.New("dns: no view of the members")
	}
	if (cfg.Lost == nil) != (cfg.Reached == nil) {
		return nil, errors.New("dns: relays that the gossip has lost need one who tells whether they are reached")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TTL == 0 {
		cfg.TTL = defaultTTL
	}
	if cfg.TTL < time.Second || cfg.TTL > maxTTL {
		return nil, fmt.Errorf("dns: ttl %v is not between 1s and %v", cfg.TTL, maxTTL)
	}
	d := &DNS{
		roster:  newRoster(cfg),
		view:    cfg.View,
		limiter: newLimiter(cfg.RateLimit),
		id:      cfg.ID,
		log:     cfg.Logger,
		conns:   newConnTable(),
	}
	for _, address := range cfg.Listen {
		if err := d.open(address); err != nil {
			d.close()
			return nil, err
		}
	}
	if len(cfg.NS) == 0 {
		cfg.NS = []NameServer{d.defaultNS()}
	}
	var err error
	if d.zone, err = newZone(cfg.Zone, cfg.NS); err != nil {
		d.close()
		return nil, fmt.Errorf("dns: %w", err)
	}
	return d, nil
}

// Addr returns the address of the first UDP socket; nil without one. TCP has
// the same port.
func (d *DNS) Addr() net.Addr {
	if len(d.listen) == 0 {
		return nil
	}
	return d.listen[0].udp.addr
}

// Panicking says that all relays are named that do not drain, since less than
// half of their capacity is healthy.
func (d *DNS) Panicking() bool { return d.roster.panicking() }

// Remembered is how many relays are named that the gossip has lost.
func (d *DNS) Remembered() int { return d.roster.remembered() }

// Readers is how many threads wait in the kernel for questions while it runs. Each
// holds one of the runtime's processors nearly all the time, so GOMAXPROCS should
// be greater by so many than the cores that the other goroutines may use.
func (d *DNS) Readers() int { return len(d.listen) }

// Run answers until ctx ends.
func (d *DNS) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, d.close)()
	if len(d.listen) == 0 {
		<-ctx.Done()
		return nil
	}
	var tasks sync.WaitGroup
	for _, l := range d.listen {
		tasks.Go(func() { d.serveUDP(l.udp) })
		tasks.Go(func() { d.serveTCP(l.tcp) })
	}
	tasks.Wait()
	return nil
}

// open opens UDP and TCP on one port.
func (d *DNS) open(address string) error {
	const tries = 10 // for a port 0 whose number is taken in TCP
	for try := 1; ; try++ {
		udp, tcp, err := listenBoth(address)
		if err == nil {
			d.listen = append(d.listen, dnsListener{udp, tcp})
			return nil
		}
		if try == tries || !errors.Is(err, syscall.EADDRINUSE) || !strings.HasSuffix(address, ":0") {
			return fmt.Errorf("open dns: %w", err)
		}
	}
}

func listenBoth(address string) (*udpSocket, net.Listener, error) {
	udp, err := listenUDP(address)
	if err != nil {
		return nil, nil, err
	}
	tcp, err := net.Listen("tcp", udp.addr.String())
	if err != nil {
		udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}

func (d *DNS) close() {
	for _, l := range d.listen {
		l.udp.Close()
		l.tcp.Close()
	}
	d.conns.closeAll()
}

// defaultNS is ns1 with the addresses that we listen on.
func (d *DNS) defaultNS() NameServer {
	ns := NameServer{Name: "ns1"}
	for _, l := range d.listen {
		if addr := l.udp.addr.(*net.UDPAddr).AddrPort().Addr().Unmap(); !addr.IsUnspecified() {
			ns.Addrs = append(ns.Addrs, addr)
		}
	}
	return ns
}

// RelayName returns a relay's own label in the zone, "e-7f000002" for
// 127.0.0.2. It belongs to the address, so it outlives the process.
func RelayName(addr netip.Addr) string {
	return fmt.Sprintf("e-%x", addr.Unmap().AsSlice())
}
