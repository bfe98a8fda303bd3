package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"surgecast/cluster"
)

// delegationCmd says what the zone above the pool's must hold.
type delegationCmd struct {
	Config   string         `help:"Configuration of a name server, or of an origin with dns. Default: nameserver.yaml." default:"nameserver.yaml" placeholder:"FILE"`
	Check    bool           `help:"Ask the name servers and the zone above whether all is as it should be."`
	Resolver netip.AddrPort `help:"Resolver (ip:port) that finds the zone above. Default: this machine's." placeholder:"IP:PORT"`

	parentPort uint16 // where the servers of the zone above answer; a test's differ
}

// Help is shown by --help.
func (*delegationCmd) Help() string {
	return `Resolvers find the pool's name servers by records in the zone above: give these
to whoever runs that one. Then let them be checked:

	surgecast delegation --config nameserver.yaml
	surgecast delegation --config nameserver.yaml --check`
}

// Run prints the records, and checks them if that is asked for.
func (c *delegationCmd) Run(ctx context.Context, out io.Writer) error {
	zone, dns, err := c.load(ctx)
	if err != nil {
		return err
	}
	delegation, err := cluster.NewDelegation(zone, dns.servers())
	if err != nil {
		return fmt.Errorf("dns.name_servers: %w", err)
	}
	if !c.Check {
		return writeDelegation(out, zone, delegation)
	}
	return c.check(ctx, out, delegation, uint16(dns.Port))
}

// load reads the configuration of a name server or an origin. A list of name
// servers that is empty means ns1 at the node's own addresses.
func (c *delegationCmd) load(ctx context.Context) (zone string, dns DNSConfig, err error) {
	d, err := readDocument(c.Config)
	if err != nil {
		return "", dns, err
	}
	if childOf(d.root, "authority_public_key") != nil {
		return "", dns, d.at(place("authority_public_key"), "this is a relay's configuration, and relays answer no DNS: name a name server's with --config, or an origin's")
	}
	var node *NodeConfig
	if childOf(d.root, "authority_key_file") != nil {
		config, err := loadOriginConfig(c.Config)
		if err != nil {
			return "", dns, err
		}
		node, dns = &config.NodeConfig, config.DNS
	} else {
		config, err := loadNameserverConfig(c.Config)
		if err != nil {
			return "", dns, err
		}
		node, dns = &config.NodeConfig, config.DNS
	}
	if dns.Port == 0 || node.Zone == "" {
		return "", dns, d.at(place("dns"), "this node answers no DNS: set dns.port and zone, or name a name server's configuration with --config")
	}
	if len(dns.NameServers) > 0 {
		return node.Zone, dns, nil
	}
	own := NameServerConfig{Name: "ns1", Addresses: dns.Addresses}
	if len(own.Addresses) == 0 {
		found, err := findPlace(ctx, netip.Addr{}, node)
		if err != nil {
			return "", dns, err
		}
		own.Addresses = []Address{{found.Address}}
	}
	dns.NameServers = []NameServerConfig{own}
	return node.Zone, dns, nil
}

// writeDelegation prints the records twice: for a form, and for a zone file.
func writeDelegation(out io.Writer, zone string, delegation *cluster.Delegation) error {
	parent := delegation.Parent()
	var text strings.Builder
	fmt.Fprintf(&text, "In the zone %s, or the one above that holds it, %s needs these records:\n\n", strings.TrimSuffix(parent, "."), zone)
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  NAME\tTYPE\tVALUE")
	for _, r := range delegation.Records() {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", r.Name, r.Type, r.Value)
	}
	_ = table.Flush() // into memory
	text.WriteString("\nAs lines of a zone file:\n\n")
	for _, r := range delegation.Records() {
		fmt.Fprintln(&text, r.Line)
	}
	var inner []string
	for _, r := range delegation.Records() {
		if addr, err := netip.ParseAddr(r.Value); err == nil && !isPublic(addr) {
			inner = append(inner, addr.String())
		}
	}
	if len(inner) > 0 {
		fmt.Fprintf(&text, "\nResolvers on the Internet do not reach %s:\nwrite public addresses into dns.name_servers.\n", strings.Join(inner, ", "))
	}
	text.WriteString("\nMany forms want the name without the part that is the zone's. No DS record: the\npool's zone is not signed. Then check it: surgecast delegation --check\n")
	_, err := io.WriteString(out, text.String())
	return err
}

// check asks the servers and the zone above; all that is wrong is one error.
func (c *delegationCmd) check(ctx context.Context, out io.Writer, delegation *cluster.Delegation, port uint16) error {
	errs := delegation.CheckServers(ctx, port)
	if len(errs) == 0 {
		fmt.Fprintln(out, "The name servers answer, and agree with the configuration.")
	}
	resolver := c.Resolver
	if !resolver.IsValid() {
		var err error
		if resolver, err = cluster.SystemResolver(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("%w: name one with --resolver", err))...)
		}
	}
	if c.parentPort == 0 {
		c.parentPort = defaultDNSPort
	}
	if err := delegation.CheckParent(ctx, resolver, c.parentPort); err != nil {
		errs = append(errs, fmt.Errorf("the zone above: %w", err))
	} else {
		fmt.Fprintln(out, "The zone above delegates to them.")
	}
	if port != defaultDNSPort {
		errs = append(errs, fmt.Errorf("dns.port is %d: resolvers ask port %d, and no delegation can say otherwise", port, defaultDNSPort))
	}
	return errors.Join(errs...)
}
