package main

import "surgecast/cluster"

// DNSConfig is a name server's answering.
type DNSConfig struct {
	// Port takes questions by UDP and TCP. 0 turns it off. Default 0 on an
	// origin, 53 on a name server.
	Port Port `yaml:"port"`

	// Addresses are the IP addresses that take them, of both families where the
	// host has both. Default the node's address.
	Addresses []Address `yaml:"addresses"`

	// NameServers are those of the zone's NS records: all of them, the same
	// list on each. Default ns1 in the zone, at this node's addresses.
	NameServers []NameServerConfig `yaml:"name_servers"`

	// RateLimit is how many answers a second of one kind go by UDP to one network
	// (IPv4 /24, IPv6 /56), so that the node is of no use to who forges
	// addresses. Beyond it resolvers are sent to TCP. Default 200.
	RateLimit Count `yaml:"rate_limit"`
}

// NameServerConfig is one name server of the zone.
type NameServerConfig struct {
	// Name within the zone, such as ns1, or a full name with dots. Required.
	Name string `yaml:"name"`

	// Addresses of the name server; required for a name within the zone.
	Addresses []Address `yaml:"addresses"`
}

func defaultDNSConfig() DNSConfig { return DNSConfig{RateLimit: 200} }

func (c DNSConfig) complete(d *document, zone string) error {
	if c.Port != 0 && zone == "" {
		return d.at(place("dns"), "dns needs a zone to answer for: write \"zone: live.example.org\" above it")
	}
	for i, address := range c.Addresses {
		if !address.IsValid() {
			return d.at(place("dns", "addresses", i), "dns.addresses[%d] is no address: write one such as 192.0.2.53, or leave the list empty", i)
		}
	}
	for i, server := range c.NameServers {
		if server.Name == "" {
			return d.at(place("dns", "name_servers", i), "dns.name_servers[%d].name is missing: write ns1, or a full name", i)
		}
		for n, address := range server.Addresses {
			if !address.IsValid() {
				return d.at(place("dns", "name_servers", i, "addresses", n), "dns.name_servers[%d].addresses[%d] is no address: write one such as 192.0.2.53", i, n)
			}
		}
	}
	if c.Port == 0 || len(c.NameServers) == 0 {
		return nil
	}
	if _, err := cluster.NewDelegation(zone, c.servers()); err != nil {
		return d.at(place("dns", "name_servers"), "dns.name_servers: %v", err)
	}
	return nil
}

// servers are the zone's name servers as the cluster package has them.
func (c DNSConfig) servers() []cluster.NameServer {
	var servers []cluster.NameServer
	for _, s := range c.NameServers {
		server := cluster.NameServer{Name: s.Name}
		for _, address := range s.Addresses {
			server.Addrs = append(server.Addrs, address.Addr)
		}
		servers = append(servers, server)
	}
	return servers
}
