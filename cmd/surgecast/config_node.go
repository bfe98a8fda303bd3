package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"surgecast/relay"
)

// The ports that a node uses unless told otherwise.
const (
	defaultViewerPort = 8080
	defaultGossipPort = 7946
	defaultAPIPort    = 9090
	defaultRTSPPort   = 8554
	defaultRTSPSPort  = 8322
	defaultRTPPort    = 8000
	defaultRTCPPort   = 8001
)

// NodeConfig is what an origin and a relay have in common.
type NodeConfig struct {
	// Address is the IP address that all listeners of the node use and under
	// which the others reach it. Default auto: the address that this machine
	// uses towards the first seed, else its only one. The flag --address
	// outranks it.
	Address Address `yaml:"address"`

	// PublicAddress is where viewers reach the node when a translator of
	// addresses (NAT) stands before it. Default auto: what the cloud's metadata
	// service says, else what a seed sees.
	PublicAddress Address `yaml:"public_address"`

	// SecondAddress is an address of the other family of IP (IPv6 beside IPv4) at
	// which viewers reach the node as well, at the same ports: auto, off, or an IP
	// address of this machine. Viewers are told once another node has seen it there.
	// Default auto: the only public one that the interface with Address has.
	SecondAddress SecondAddress `yaml:"second_address"`

	// Metadata is where the cloud tells a machine who it is: auto, off, or a
	// base URL. It is asked at the start, for at most 300 ms. Default auto:
	// http://169.254.169.254, and by IPv6 where EC2 and Google Cloud have it.
	Metadata Metadata `yaml:"metadata"`

	// Dir holds the node's state, in one folder for each address: what it
	// must remember, and the way to its private API. Relative to the
	// configuration. Default "state".
	Dir string `yaml:"dir"`

	// Zone is the DNS name that viewers ask for, such as live.example.org.
	// Default none: then no DNS answers are given.
	Zone string `yaml:"zone"`

	// Steering is how players are told of the relays: names, by which each has
	// one in the zone, where the zone is delegated to the pool's name servers;
	// addresses, where it is not. Default addresses.
	Steering SteerBy `yaml:"steering"`

	// Pool is the name of the pool. Nodes of another pool never mix with
	// this one, even if someone mixes up the seeds. Default "surgecast".
	Pool string `yaml:"pool"`

	// PoolSecretFile names the file with the secret that lets a node join
	// and fetch. Required; the same on every node; readable by its owner only.
	PoolSecretFile string `yaml:"pool_secret_file"`

	// Seeds are the gossip addresses (ip:port) that a starting node asks for
	// the pool. One that answers is enough. Required on a relay.
	Seeds []HostPort `yaml:"seeds"`

	// Resolver is the DNS server that is asked for more seeds, as _gossip below
	// the zone has them: system, off, or ip:port. Default system.
	Resolver Resolver `yaml:"resolver"`

	// Ports of the listeners; 0 turns one off where it can be done without.
	Ports PortsConfig `yaml:"ports"`

	// Capacity is what the node's link carries to viewers, such as 1Gbit/s.
	// It weighs the node in the pool, and at 85 % of it new sessions go
	// elsewhere. Default 0bit/s: what the cloud sells with this type of machine,
	// where that is known, else what the network card says; where it says nothing
	// all nodes count the same, and take everyone.
	Capacity BitRate `yaml:"capacity"`

	// DVRBytes is how much disk the node gives to what viewers look back on;
	// the oldest goes first. Default 10GB, of which a stream of 3 Mbit/s fills
	// 1.35 an hour. At least 256 MiB of the disk are left free in any case.
	DVRBytes ByteSize `yaml:"dvr_bytes"`

	// Drain is how long a node that was told to end goes on serving after it
	// asked the pool to send viewers elsewhere. Longer than twice what resolvers
	// and browsers keep a DNS answer: only then does nobody come any more.
	// Default 120s; of an origin, which has no viewers to send away, 2s.
	Drain Duration `yaml:"drain"`

	// TLS is where viewers are served by HTTPS. Default off: it needs files.
	TLS TLSConfig `yaml:"tls"`

	// Limits bound the connections.
	Limits LimitsConfig `yaml:"limits"`

	// Log is how the node tells what happens, on standard error.
	Log LogConfig `yaml:"log"`

	// PoolSecret is read from PoolSecretFile.
	PoolSecret []byte
}

// PortsConfig are the ports of a node, all on its one address.
type PortsConfig struct {
	// Viewers is where players, relays and probes ask, by HTTP. Default 8080.
	Viewers Port `yaml:"viewers"`

	// Gossip is where the nodes tell each other who is there, by UDP and
	// TCP. Default 7946.
	Gossip Port `yaml:"gossip"`

	// API is the private listener for operators: status, metrics, profiles.
	// 0 turns it off. Default 9090.
	API Port `yaml:"api"`
}

// LogConfig is how a node logs.
type LogConfig struct {
	// Level is the least grave that is logged: debug, info, warn or error.
	// Default info.
	Level LogLevel `yaml:"level"`

	// Format is text (for people) or json (for collectors). Default text.
	Format LogFormat `yaml:"format"`
}

func defaultNodeConfig() NodeConfig {
	return NodeConfig{
		Dir:      "state",
		Steering: SteerAddresses,
		Metadata: metadataBase,
		Pool:     "surgecast",
		Ports:    PortsConfig{Viewers: defaultViewerPort, Gossip: defaultGossipPort, API: defaultAPIPort},
		DVRBytes: 10e9,
		TLS:      TLSConfig{Port: defaultTLSPort},
		Limits:   LimitsConfig{Connections: relay.DefaultConnections, PerAddress: relay.DefaultPerAddress},
		Drain:    Duration(2 * time.Minute),
		Log:      LogConfig{Level: LogLevel(slog.LevelInfo), Format: "text"},
	}
}

// maxDrain bounds the time that a node takes to leave, so that whatever
// stopped it (a person, a service manager) does not lose patience first.
const maxDrain = time.Hour

// leastDVRBytes holds some minutes of any stream.
const leastDVRBytes = 100e6

// complete checks what origin and relay share, and reads the pool's secret.
func (c *NodeConfig) complete(d *document) error {
	c.Dir = d.beside(c.Dir)
	if c.Pool == "" || len(c.Pool) > 64 {
		return d.at(place("pool"), "pool: write a name of 1 to 64 letters, the same on every node")
	}
	if err := validZone(c.Zone); err != nil {
		return d.at(place("zone"), "zone: %v", err)
	}
	if c.Steering == SteerNames && c.Zone == "" {
		return d.at(place("steering"), "steering: names are names in the zone, and zone is empty: write the zone, or addresses here")
	}
	if c.Ports.Viewers == 0 {
		return d.at(place("ports", "viewers"), "ports.viewers can't be turned off: write 8080")
	}
	if c.Ports.Gossip == 0 {
		return d.at(place("ports", "gossip"), "ports.gossip can't be turned off: write %d", defaultGossipPort)
	}
	if c.DVRBytes < leastDVRBytes {
		return d.at(place("dvr_bytes"), "dvr_bytes: %d bytes are too few to look back on: write at least 100MB", c.DVRBytes)
	}
	if time.Duration(c.Drain) > maxDrain {
		return d.at(place("drain"), "drain: %v is too long: write at most 1h", time.Duration(c.Drain))
	}
	if err := c.TLS.complete(d, c.Ports); err != nil {
		return err
	}
	var err error
	c.PoolSecret, err = d.secret(place("pool_secret_file"), c.PoolSecretFile, "the pool's secret")
	return err
}

// validZone tells what is wrong with a zone; the empty one is fine.
func validZone(zone string) error {
	if zone == "" {
		return nil
	}
	if strings.HasSuffix(zone, ".") {
		return fmt.Errorf("write %s without the dot at its end", strings.TrimRight(zone, "."))
	}
	if len(zone) > 200 || !strings.Contains(zone, ".") {
		return fmt.Errorf("%q is no DNS name: write one such as live.example.org", zone)
	}
	for label := range strings.SplitSeq(zone, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Errorf("%q is no DNS name: write one such as live.example.org, in lower case", zone)
		}
	}
	return nil
}

// place names a key in a configuration, for an error about it.
func place(steps ...any) []any { return steps }

// under is a key at a place.
func under(here []any, key string) []any { return append(here[:len(here):len(here)], key) }

// logger returns the logger that the configuration asks for.
func (c LogConfig) logger(out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(c.Level)}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
