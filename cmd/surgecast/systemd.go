package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// inheritedSockets are the listeners that a service manager opened for this
// process and keeps while it is restarted: who connects meanwhile waits in the
// kernel's queue and is served by the next one. Nobody is refused.
type inheritedSockets struct {
	mu        sync.Mutex
	listeners []net.Listener // those that nobody took yet
}

// inheritSockets takes what LISTEN_FDS names. It may be called once a process.
func inheritSockets() (*inheritedSockets, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	s := &inheritedSockets{}
	for i, l := range listeners {
		if l == nil {
			return nil, fmt.Errorf("socket %d of the service manager does not listen: its unit needs ListenStream=ADDRESS:PORT", i)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// take returns the socket that listens on the address, or on all addresses at
// its port; nil when there is none.
func (s *inheritedSockets) take(address string) net.Listener {
	want, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.listeners {
		at, ok := l.Addr().(*net.TCPAddr)
		if !ok || at.AddrPort().Port() != want.Port() {
			continue
		}
		if ip := at.AddrPort().Addr().Unmap(); ip == want.Addr() || ip.IsUnspecified() {
			s.listeners = append(s.listeners[:i:i], s.listeners[i+1:]...)
			return &inheritedListener{l.(*net.TCPListener), net.TCPAddrFromAddrPort(want)}
		}
	}
	return nil
}

// rest are the addresses of sockets that nobody took.
func (s *inheritedSockets) rest() (addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// inheritedListener tells the address under which the others reach the node,
// where the socket listens on all of them.
type inheritedListener struct {
	*net.TCPListener
	addr net.Addr
}

// Addr implements net.Listener.
func (l *inheritedListener) Addr() net.Addr { return l.addr }

// serviceEnvironment is the machine, with what its service manager gives. It may
// be called once a process.
func serviceEnvironment() (environment, error) {
	e := realEnvironment()
	var err error
	e.Inherited, err = inheritSockets()
	e.Notify = sdNotify
	return e, err
}

// listenHere opens a listener, or takes the one that the service manager has.
func (e environment) listenHere(ctx context.Context, address string) (net.Listener, error) {
	if e.Inherited != nil {
		if l := e.Inherited.take(address); l != nil {
			return l, nil
		}
	}
	return e.Listen(ctx, "tcp", address)
}

// warmPatience is how long those wait who came while a relay was started anew.
// Beyond it they are told to come again: there may be no origin.
const warmPatience = 10 * time.Second

// awaitWarm lets those who wait in an inherited socket's queue wait until the
// relay has what they come for: an answer sooner would be 503.
func (n *node) awaitWarm(ctx context.Context) {
	if !n.inherited || n.warm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, warmPatience)
	defer cancel()
	_ = n.warm(ctx) // one that is not warm in time serves what it has
}

// notify tells the service manager how the node is, where there is one.
func (n *node) notify(state string) {
	if n.env.Notify == nil {
		return
	}
	if err := n.env.Notify(state); err != nil {
		n.log.Warn("service manager not told", "state", state, "err", err)
	}
}

// tellManager says that the node is up, and then, where the service manager
// wants it, that it still is: a node that does not answer its own /healthz is
// restarted.
func (n *node) tellManager(ctx context.Context) error {
	if n.env.Inherited != nil {
		for _, address := range n.env.Inherited.rest() {
			n.log.Warn("the service manager opened a socket that is no port of this node", "address", address)
		}
	}
	n.notify(daemon.SdNotifyReady)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 || n.env.Notify == nil {
		return nil
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, proofBound)
		if _, err := n.askSelf(asking, "/healthz"); err == nil {
			n.notify(daemon.SdNotifyWatchdog)
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sdNotify is environment.Notify of a machine.
func sdNotify(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}
