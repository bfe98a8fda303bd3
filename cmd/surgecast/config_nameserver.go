package main

// defaultDNSPort is where resolvers ask.
const defaultDNSPort = 53

// NameserverConfig is nameserver.yaml, the same file on each name server.
// configs/nameserver.yaml is the sample with all keys.
type NameserverConfig struct {
	// Of what other nodes have, a name server needs only this: it has no media.
	NodeConfig `keys:"address second_address dir zone pool pool_secret_file seeds ports log"`

	// ServeViewers is what origin.yaml says: unless never, the origin is named
	// until the first relay is ready. Default when_pool_empty.
	ServeViewers ServeViewers `yaml:"serve_viewers"`

	// DNS is the answering.
	DNS DNSConfig `yaml:"dns"`

	// OnForecast is what is run when the pool will soon be full, as on the
	// origin. A name server runs it only while it sees no origin, and of several
	// one does. Default off.
	OnForecast HookConfig `yaml:"on_forecast"`
}

func defaultNameserverConfig() NameserverConfig {
	c := NameserverConfig{NodeConfig: defaultNodeConfig(), ServeViewers: ServeWhenPoolEmpty, DNS: defaultDNSConfig(), OnForecast: defaultHookConfig()}
	c.DNS.Port = defaultDNSPort
	c.Drain = 0 // resolvers ask the next name server by themselves
	return c
}

// loadNameserverConfig reads file, fills in defaults and the secret, and checks all.
func loadNameserverConfig(file string) (*NameserverConfig, error) {
	d, err := readDocument(file)
	if err != nil {
		return nil, err
	}
	c := defaultNameserverConfig()
	if err := d.decode(&c); err != nil {
		return nil, err
	}
	return &c, c.complete(d)
}

func (c *NameserverConfig) complete(d *document) error {
	if err := c.NodeConfig.complete(d); err != nil {
		return err
	}
	if len(c.Seeds) == 0 {
		return d.at(place("seeds"), "seeds is empty: write the gossip address of the origin, such as [192.0.2.10:%d]", defaultGossipPort)
	}
	if c.Zone == "" {
		return d.at(place("zone"), "zone is missing: write the name that is answered for, such as live.example.org")
	}
	if c.DNS.Port == 0 {
		return d.at(place("dns", "port"), "dns.port can't be turned off on a name server: write %d", defaultDNSPort)
	}
	if err := c.OnForecast.complete(d); err != nil {
		return err
	}
	return c.DNS.complete(d, c.Zone)
}
