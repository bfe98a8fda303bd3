package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// ErrDead is the error of everything that is asked of a killed host.
var ErrDead = errors.New("host was killed")

var errNoHost = errors.New("no such host")

const (
	firstEphemeralPort = 49152
	// connectTimeout ends a dial that nothing else ends, as Linux does after
	// its last SYN.
	connectTimeout = 127 * time.Second
)

// Host is one machine with one address.
type Host struct {
	net  *Network
	addr netip.Addr
	dead chan struct{} // closed by Kill

	// Guarded by net.mu.
	listeners map[uint16]*listener
	packets   map[uint16]*transport
	nextPort  uint16
}

func newHost(n *Network, addr netip.Addr) *Host {
	return &Host{
		net:       n,
		addr:      addr,
		dead:      make(chan struct{}),
		listeners: make(map[uint16]*listener),
		packets:   make(map[uint16]*transport),
		nextPort:  firstEphemeralPort,
	}
}

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Listen opens a listener on "ip:port". An empty or unspecified IP means the
// host's own, port 0 a free one.
func (h *Host) Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if host == "" {
		host = h.addr.String()
	}
	ap, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if !ap.Addr().IsUnspecified() && ap.Addr() != h.addr {
		return nil, listenError(ap, syscall.EADDRNOTAVAIL)
	}
	l, err := h.listen(ap.Port())
	if err != nil {
		return nil, listenError(ap, err)
	}
	return l, nil
}

func (h *Host) listen(port uint16) (*listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.killed() {
		return nil, ErrDead
	}
	if port == 0 {
		port = h.freePort()
	}
	if h.listeners[port] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := newListener(h, port)
	h.listeners[port] = l
	return l, nil
}

// DialContext connects to "ip:port". It is refused when nobody listens there,
// and hangs until ctx ends when the link is cut, the port is shut or no such
// host exists.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil, net.UnknownNetworkError(network)
	}
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := h.connect(ctx, remote)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = os.ErrDeadlineExceeded
		}
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	return c, nil
}

// connect does the handshake: one travel there, one back.
func (h *Host) connect(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	if err := h.net.travel(ctx, h, remote.Addr()); err != nil {
		return nil, err
	}
	ours, theirs, l, err := h.open(remote)
	switch {
	case errors.Is(err, errNoHost):
		return nil, h.hang(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := h.net.travel(ctx, h, remote.Addr()); err != nil {
			return nil, err
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	err = l.offer(ctx, h, theirs)
	if err == nil {
		err = h.net.travel(ctx, h, remote.Addr())
	}
	if err != nil {
		ours.reset()
		return nil, err
	}
	return ours, nil
}

// open makes both ends of a connection to a listener.
func (h *Host) open(remote netip.AddrPort) (ours, theirs *conn, l *listener, err error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	target := n.hosts[remote.Addr()]
	switch {
	case h.killed():
		return nil, nil, nil, ErrDead
	case target == nil || n.shut[remote.Port()]:
		return nil, nil, nil, errNoHost
	case target.listeners[remote.Port()] == nil:
		return nil, nil, nil, syscall.ECONNREFUSED
	}
	local := netip.AddrPortFrom(h.addr, h.freePort())
	ours, theirs = newConns(n, h, target, local, remote)
	return ours, theirs, target.listeners[remote.Port()], nil
}

// hang waits for the end of a dial that nobody will answer.
func (h *Host) hang(ctx context.Context) error {
	select {
	case <-h.dead:
		return ErrDead
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill ends the host as kill -9 ends a process: its connections are reset, its
// listeners gone, and whatever its code still tries fails or vanishes. Host
// then gives a new one under the same address.
func (h *Host) Kill() {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.killed() {
		return
	}
	close(h.dead)
	if n.hosts[h.addr] == h {
		// The machine lives on without the process, so dials to it are refused
		// and do not hang.
		n.hosts[h.addr] = newHost(n, h.addr)
	}
	for _, l := range h.listeners {
		l.closeLocked()
	}
	clear(h.packets)
	for c := range n.conns {
		if c.host == h {
			c.resetLocked()
		}
	}
}

func (h *Host) killed() bool {
	select {
	case <-h.dead:
		return true
	default:
		return false
	}
}

// freePort returns a port that nobody listens on; net.mu is held.
func (h *Host) freePort() uint16 {
	for {
		port := h.nextPort
		if h.nextPort++; h.nextPort == 0 {
			h.nextPort = firstEphemeralPort
		}
		if h.listeners[port] == nil {
			return port
		}
	}
}

func listenError(at netip.AddrPort, err error) error {
	return &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: err}
}
