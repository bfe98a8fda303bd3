package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// lookBound is how long one question of a check may take.
const lookBound = 3 * time.Second

// CheckServers asks each address of each server in the zone, by UDP and TCP,
// whether it answers for the zone, and names the servers that we would. Each
// error is about one address.
func (d *Delegation) CheckServers(ctx context.Context, port uint16) []error {
	var errs []error
	for _, ns := range d.zone.ns {
		for _, addr := range d.zone.hosts[ns] {
			server := netip.AddrPortFrom(addr, port)
			for _, network := range []string{"udp", "tcp"} {
				if err := d.checkServer(ctx, network, server); err != nil {
					errs = append(errs, fmt.Errorf("%s at %s by %s: %w", ns, server, network, err))
				}
			}
		}
	}
	return errs
}

func (d *Delegation) checkServer(ctx context.Context, network string, server netip.AddrPort) error {
	r, err := look(ctx, network, server, d.zone.apex, false)
	switch {
	case err != nil:
		return err
	case r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("answers %s: is it running with this zone?", dns.RcodeToString[r.Rcode])
	case !r.Authoritative:
		return errors.New("does not answer for the zone itself: does another server hold that port?")
	}
	return d.compare(serversIn(r.Answer))
}

// CheckParent finds the zone above by asking a resolver, asks one of its
// servers for the delegation and compares.
func (d *Delegation) CheckParent(ctx context.Context, resolver netip.AddrPort, port uint16) error {
	parent, r, err := d.findParent(ctx, resolver)
	if err != nil {
		return err
	}
	for _, ns := range serversIn(r.Answer) {
		addrs, lookErr := addressesOf(ctx, resolver, ns)
		err = errors.Join(err, lookErr)
		for _, addr := range addrs {
			referral, lookErr := look(ctx, "udp", netip.AddrPortFrom(addr, port), d.zone.apex, false)
			if lookErr != nil {
				err = errors.Join(err, lookErr)
				continue
			}
			return d.checkReferral(parent, referral)
		}
	}
	return errors.Join(fmt.Errorf("no name server of %s can be asked", parent), err)
}

// findParent climbs from the zone to the first name above that has name servers.
func (d *Delegation) findParent(ctx context.Context, resolver netip.AddrPort) (string, *dns.Msg, error) {
	for name := d.Parent(); name != ""; _, name, _ = strings.Cut(name, ".") {
		r, err := look(ctx, "udp", resolver, name, true)
		if err != nil {
			return "", nil, fmt.Errorf("ask the resolver %s for the servers of %s: %w", resolver, name, err)
		}
		if len(serversIn(r.Answer)) > 0 {
			return name, r, nil
		}
	}
	return "", nil, fmt.Errorf("the resolver %s knows no zone above %s: name another with --resolver", resolver, d.zone.apex)
}

// checkReferral compares what the zone above says with what it should.
func (d *Delegation) checkReferral(parent string, r *dns.Msg) error {
	named := serversIn(append(r.Ns, r.Answer...))
	if len(named) == 0 {
		return fmt.Errorf("%s does not delegate %s: make the records there", parent, d.zone.apex)
	}
	if err := d.compare(named); err != nil {
		return fmt.Errorf("%s: %w", parent, err)
	}
	for _, ns := range d.zone.ns {
		var given []netip.Addr
		for _, rr := range append(r.Extra, r.Answer...) {
			if addr, ok := addressIn(rr); ok && strings.EqualFold(rr.Header().Name, ns) {
				given = append(given, addr)
			}
		}
		for _, addr := range d.zone.hosts[ns] {
			if !slices.Contains(given, addr) {
				return fmt.Errorf("%s gives no address %s for %s: add it there (glue)", parent, addr, ns)
			}
		}
		if i := slices.IndexFunc(given, func(a netip.Addr) bool { return !slices.Contains(d.zone.hosts[ns], a) }); i >= 0 && d.zone.hosts[ns] != nil {
			return fmt.Errorf("%s gives the address %s for %s, which is not in the configuration: remove it there", parent, given[i], ns)
		}
	}
	return nil
}

// compare holds the names of servers against ours.
func (d *Delegation) compare(named []string) error {
	want, got := slices.Sorted(slices.Values(d.zone.ns)), slices.Sorted(slices.Values(named))
	if !slices.Equal(want, got) {
		return fmt.Errorf("names the servers %s; the configuration has %s", strings.Join(got, " "), strings.Join(want, " "))
	}
	return nil
}

// look asks for the NS records of a name.
func look(ctx context.Context, network string, server netip.AddrPort, name string, recurse bool) (*dns.Msg, error) {
	return lookUp(ctx, network, server, name, dns.TypeNS, recurse)
}

func lookUp(ctx context.Context, network string, server netip.AddrPort, name string, qtype uint16, recurse bool) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = recurse
	m.SetEdns0(udpBytes, false)
	ctx, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	r, _, err := (&dns.Client{Net: network, Timeout: lookBound}).ExchangeContext(ctx, m, server.String())
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return r, nil
}

// addressesOf asks a resolver for the addresses of a host, of both families.
func addressesOf(ctx context.Context, resolver netip.AddrPort, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	var errs []error
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		r, err := lookUp(ctx, "udp", resolver, host, qtype, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask the resolver %s for %s: %w", resolver, host, err))
			continue
		}
		for _, rr := range r.Answer {
			if addr, ok := addressIn(rr); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, errors.Join(errs...)
}

// serversIn returns the canonical names of the NS records among some.
func serversIn(records []dns.RR) []string {
	var names []string
	for _, rr := range records {
		if ns, ok := rr.(*dns.NS); ok {
			names = append(names, dns.CanonicalName(ns.Ns))
		}
	}
	return names
}

func addressIn(rr dns.RR) (netip.Addr, bool) {
	var raw []byte
	switch rr := rr.(type) {
	case *dns.A:
		raw = rr.A.To4()
	case *dns.AAAA:
		raw = rr.AAAA.To16()
	}
	return netip.AddrFromSlice(raw)
}

// SystemResolver returns the first resolver that this machine uses.
func SystemResolver() (netip.AddrPort, error) {
	config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil || len(config.Servers) == 0 {
		return netip.AddrPort{}, errors.Join(errors.New("this machine names no resolver"), err)
	}
	return netip.ParseAddrPort(net.JoinHostPort(config.Servers[0], config.Port))
}
