package main

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/hashicorp/memberlist"
)

// environment is the network that a node lives in. A test gives an in-memory
// one with its own time, and runs a whole pool in one process.
type environment struct {
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)

	// Routes tells whether the machine has a way to an address at all; nil: it has
	// to all.
	Routes func(address netip.Addr) bool

	// Transport carries gossip from and to the address; nil for real sockets.
	Transport func(bind string) (memberlist.Transport, error)

	// Kernel is /proc/sys, to give advice on its settings; nil for none.
	Kernel fs.FS

	// Inherited are the listeners that the service manager has open; nil for
	// none.
	Inherited *inheritedSockets

	// Notify tells the service manager a state, as sd_notify(3) has it; nil for
	// none.
	Notify func(state string) error

	// Cards is /sys/class/net, to learn how fast the network card is; nil for
	// nothing that is known.
	Cards fs.FS

	// Interfaces are the machine's; nil: none are known, and nothing of the
	// disk is taken for another machine's.
	Interfaces func() ([]link, error)

	// Clock is the machine's; nil for the true time.
	Clock func() time.Time

	// Resolver returns what asks a DNS server, an invalid address meaning the
	// system's own; nil: DNS is not asked.
	Resolver func(server netip.AddrPort) *net.Resolver
}

// connectBound is how long a node waits for a connection to another one: a
// dead parent must be left before its child's viewers notice.
const connectBound = time.Second

// realEnvironment is the machine's own network.
func realEnvironment() environment {
	return environment{
		Listen: (&net.ListenConfig{}).Listen,
		Dial:   (&net.Dialer{}).DialContext,
		Kernel: os.DirFS("/proc/sys"),
		Cards:  os.DirFS("/sys/class/net"),
		Routes: func(address netip.Addr) bool {
			_, err := sourceTowards(context.Background(), netip.AddrPortFrom(address, defaultViewerPort))
			return err == nil
		},

		Interfaces: machineLinks,
		Resolver:   resolver,
	}
}

func (e environment) links() ([]link, error) {
	if e.Interfaces == nil {
		return nil, nil
	}
	return e.Interfaces()
}

func (e environment) now() time.Time {
	if e.Clock == nil {
		return time.Now()
	}
	return e.Clock()
}

// client returns the client by which a node asks other nodes. It does not
// follow redirects: a node asks whom it means to ask. It has no time limit of
// its own, since a blocking request may be held; each asker gives one. It speaks
// HTTP/1.1, by TLS too (net/http leaves HTTP/2 off where the dialer is given),
// so that a part never waits in one connection behind another.
func (e environment) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, connectBound)
				defer cancel()
				return e.Dial(ctx, network, address)
			},
			MaxIdleConnsPerHost: 16, // a connection for each rendition's list and parts, kept between them
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true, // bytes are kept as they are
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
