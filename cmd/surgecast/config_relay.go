package main

import (
	"bytes"
	"crypto/ed25519"
)

// RelayConfig is relay.yaml, the same file on every clone: nothing in it names
// one machine. configs/relay.yaml is the sample with all keys.
type RelayConfig struct {
	NodeConfig

	// AuthorityPublicKey verifies what the origin says about the programme.
	// "surgecast init" puts it here. Required.
	AuthorityPublicKey PublicKey `yaml:"authority_public_key"`

	// Parents are where lists and media are fetched from, best first: ip:port
	// or base URLs of relays or origins. Nothing else is asked for them, so
	// name the origin too, as the last, if it may be. What is shown is told by
	// the origin in any case. Default none: the origins that gossip shows,
	// or the relays that they feed, as the tree has it.
	Parents []BaseURL `yaml:"parents"`
}

func defaultRelayConfig() RelayConfig {
	return RelayConfig{NodeConfig: defaultNodeConfig()}
}

// loadRelayConfig reads file, fills in defaults and the secret, and checks all.
func loadRelayConfig(file string) (*RelayConfig, error) {
	d, err := readDocument(file)
	if err != nil {
		return nil, err
	}
	c := defaultRelayConfig()
	if err := d.decode(&c); err != nil {
		return nil, err
	}
	return &c, c.complete(d)
}

func (c *RelayConfig) complete(d *document) error {
	if err := c.NodeConfig.complete(d); err != nil {
		return err
	}
	if len(c.Seeds) == 0 {
		return d.at(place("seeds"), "seeds is empty: write the gossip address of the origin, such as [192.0.2.10:%d]", defaultGossipPort)
	}
	if c.AuthorityPublicKey == nil {
		return d.at(place("authority_public_key"), "authority_public_key is missing: take it from the relay.yaml that \"surgecast init\" made")
	}
	if bytes.Equal(c.AuthorityPublicKey, make([]byte, ed25519.PublicKeySize)) {
		return d.at(place("authority_public_key"), "authority_public_key is still the sample's: take it from the relay.yaml that \"surgecast init\" made")
	}
	return nil
}
