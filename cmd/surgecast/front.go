package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"surgecast/cluster"
	"surgecast/relay"
)

// openFront opens what viewers and relays connect to: the cleartext listener
// and, where there is a certificate, the secure one, behind one gate.
func (n *node) openFront(ctx context.Context) error {
	n.gate = relay.NewGate(relay.GateConfig{
		Connections: int(n.config.Limits.Connections),
		PerAddress:  int(n.config.Limits.PerAddress),
		Node:        n.isMember,
		Elsewhere:   n.elsewhere,
		Logger:      n.log,
	})
	plain, err := n.listen(ctx, n.config.Ports.Viewers, "ports.viewers")
	if err != nil {
		return err
	}
	_, n.inherited = plain.(*inheritedListener)
	n.viewers = n.gate.Guard(plain, false)
	if !n.config.TLS.On() {
		n.openSecond(ctx)
		return nil
	}
	n.tls, err = relay.NewTLS(relay.TLSConfig{
		CertFile: n.config.TLS.CertFile,
		KeyFile:  n.config.TLS.KeyFile,
		Secret:   n.config.PoolSecret,
		Logger:   n.log,
	})
	if err != nil {
		return err
	}
	secure, err := n.listen(ctx, n.config.TLS.Port, "tls.port")
	if err != nil {
		return err
	}
	n.secure = relay.NewTLSListener(n.gate.Guard(secure, true), n.tls.Config())
	n.openSecond(ctx)
	return nil
}

// runFront serves the listeners for viewers.
func (n *node) runFront(ctx context.Context, group *errgroup.Group, answers fronts) {
	// A front that has drained ends first, and with it all else.
	ctx, end := context.WithCancelCause(ctx)
	group.Go(func() error {
		select {
		case <-n.drained:
			end(errEnded)
		case <-ctx.Done():
			end(nil)
		}
		return nil
	})
	serve := func(listener net.Listener, handler http.Handler) {
		if listener == nil {
			return
		}
		group.Go(func() error {
			n.awaitWarm(ctx)
			return relay.Serve(ctx, listener, relay.NewHTTPServer(handler, n.log))
		})
	}
	serve(n.viewers, answers.Plain)
	serve(n.secure, answers.TLS)
	serve(n.secondViewers, answers.SecondPlain)
	serve(n.secondSecure, answers.SecondTLS)
	if n.tls == nil {
		return
	}
	group.Go(func() error {
		// Only here: without files to read again, a hang-up ends the process as
		// it ends others.
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		return n.tls.Run(ctx, hangup)
	})
}

// isMember tells whether a node of the pool has the address.
func (n *node) isMember(address netip.Addr) bool {
	for _, m := range n.cluster.Members() {
		if m.Address.Addr() == address || m.SecondAddr() == address {
			return true
		}
	}
	return false
}

// elsewhere is the base URL of another relay that is not full, for who finds no
// room here. Such a viewer is sent on only once, so it is the emptiest of four:
// after a loss the viewers of one relay come to all others within a second, before
// these know of each other's.
func (n *node) elsewhere() string {
	return draw(n.byFamily(cluster.Serving(n.others()), false), 4)
}

// secondElsewhere is elsewhere for who came over the other family.
func (n *node) secondElsewhere() string {
	return draw(n.byFamily(cluster.Serving(n.others()), true), 4)
}

// others are the other nodes, without relays that are unfit.
func (n *node) others() []cluster.Member {
	var others []cluster.Member
	for _, m := range n.sound() {
		if !m.Self {
			others = append(others, m)
		}
	}
	return others
}

// secureBase is the base URL by which a viewer of a secure page reaches a
// relay, of which gossip tells the cleartext address: all nodes have the same
// port for TLS. Where the certificate does not stand for the address it is
// the zone's name, and DNS picks the relay.
func (n *node) secureBase(base string) string {
	media, err := netip.ParseAddrPort(base[min(len(base), len("http://")):])
	if err != nil {
		return ""
	}
	host := media.Addr().String()
	if !n.tls.Certificate().Covers(host) && n.config.Zone != "" {
		host = n.config.Zone
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(int(n.config.TLS.Port)))
}
