package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DNSConfig says what a name server answers.
type DNSConfig struct {
	// Listen is the host:port for UDP and TCP; "" opens nothing, and only
	// Respond answers.
	Listen string
	// Zone is the pool's name, as live.example.org. Required.
	Zone string
	// NS are the zone's name servers; none means ns1 in the zone, with the
	// address of Listen.
	NS []NameServer
	// View gives the members; it is asked often and must be quick. Required.
	View func() []Member
	// OriginMayServe lets the origin's address be the answer before any relay
	// was ever ready.
	OriginMayServe bool
	// TTL of the relays' addresses, whole seconds; 0 means 30 s. It is halved
	// while a relay is down.
	TTL time.Duration
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
	zone   *zone
	view   func() []Member
	roster *roster
	id     string
	log    *slog.Logger
	udp    *net.UDPConn // nil without Listen, as is tcp
	tcp    net.Listener
	conns  *connTable
}

// NewDNS checks the configuration and opens the sockets.
func NewDNS(cfg DNSConfig) (*DNS, error) {
	if cfg.View == nil {
		return nil, errors.New("dns: no view of the members")
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
		view:   cfg.View,
		roster: newRoster(cfg.View, cfg.OriginMayServe, cfg.TTL),
		id:     cfg.ID,
		log:    cfg.Logger,
		conns:  newConnTable(),
	}
	if cfg.Listen != "" {
		if err := d.open(cfg.Listen); err != nil {
			return nil, err
		}
	}
	if len(cfg.NS) == 0 {
		cfg.NS = []NameServer{d.defaultNS()}
	}
	var err error
	if d.zone, err = newZone(cfg.Zone, cfg.NS, time.Now()); err != nil {
		d.close()
		return nil, fmt.Errorf("dns: %w", err)
	}
	return d, nil
}

// Addr returns the address of the UDP socket; nil without one. TCP has the
// same port.
func (d *DNS) Addr() net.Addr {
	if d.udp == nil {
		return nil
	}
	return d.udp.LocalAddr()
}

// Run answers until ctx ends.
func (d *DNS) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, d.close)()
	if d.udp == nil {
		<-ctx.Done()
		return nil
	}
	var tasks sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		tasks.Go(d.serveUDP)
	}
	tasks.Go(d.serveTCP)
	tasks.Wait()
	return nil
}

// open opens UDP and TCP on one port.
func (d *DNS) open(address string) error {
	const tries = 10 // for a port 0 whose number is taken in TCP
	var err error
	for range tries {
		if d.udp, d.tcp, err = listenBoth(address); err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.HasSuffix(address, ":0") {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("open dns: %w", err)
	}
	return nil
}

func listenBoth(address string) (*net.UDPConn, net.Listener, error) {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, nil, err
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		packets.Close()
		return nil, nil, err
	}
	return packets.(*net.UDPConn), streams, nil
}

func (d *DNS) close() {
	if d.udp != nil {
		d.udp.Close()
		d.tcp.Close()
	}
	d.conns.closeAll()
}

// defaultNS is ns1 with the address that we listen on.
func (d *DNS) defaultNS() NameServer {
	ns := NameServer{Name: "ns1"}
	if d.udp == nil {
		return ns
	}
	if addr := d.udp.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); !addr.IsUnspecified() {
		ns.Addrs = []netip.Addr{addr}
	}
	return ns
}

// RelayName returns a relay's own label in the zone, "e-7f000002" for
// 127.0.0.2. It belongs to the address, so it outlives the process.
func RelayName(addr netip.Addr) string {
	return fmt.Sprintf("e-%x", addr.Unmap().AsSlice())
}
