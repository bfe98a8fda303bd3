package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What the demo is made of.
const (
	demoStream  = "theatre"
	demoZone    = "live.surgecast.test"
	demoDNSPort = 5300

	demoRTMPPort  = 1935
	demoRTMPSPort = 1936
	demoSRTPort   = 8890
	demoUDPPort   = 5000
	demoRelays    = 3
)

// demoPlan is which nodes the demo runs, and where.
type demoPlan struct {
	Dir     string
	Origin  demoPlace
	Relays  []demoPlace
	DNS     netip.AddrPort
	RTSP    netip.AddrPort
	RTSPS   netip.AddrPort
	Clone   demoPlace // one more relay, for the one who watches to start
	Secure  bool      // with HTTPS
	Crowded bool      // all on 127.0.0.1, since the other addresses can't be bound
}

// demoPlace is where one node runs.
type demoPlace struct {
	Address netip.Addr
	Config  string // file
	Viewers uint16
	Gossip  uint16
	API     uint16
	TLS     uint16 // used when the demo is secure
}

// newDemoPlan gives each node an address of its own, as on machines of their
// own; where this machine has but one loopback address, each its own ports.
func newDemoPlan(ctx context.Context, dir string, secure bool) demoPlan {
	home := netip.MustParseAddr("127.0.0.1")
	p := demoPlan{
		Dir:    dir,
		Secure: secure,
		DNS:    netip.AddrPortFrom(home, demoDNSPort),
		RTSP:   netip.AddrPortFrom(home, defaultRTSPPort),
		RTSPS:  netip.AddrPortFrom(home, defaultRTSPSPort),
	}
	place := demoPlace{Address: home, Config: filepath.Join(dir, "origin.yaml"), Viewers: defaultViewerPort, Gossip: defaultGossipPort, API: defaultAPIPort, TLS: defaultTLSPort}
	p.Origin = place
	place.Config = filepath.Join(dir, "relay.yaml")
	for range demoRelays {
		place.Address = place.Address.Next()
		p.Crowded = p.Crowded || !bindable(ctx, place.Address)
		p.Relays = append(p.Relays, place)
	}
	p.Clone = place
	p.Clone.Address = netip.MustParseAddr("127.0.0.9")
	if p.Crowded {
		p.crowd(home)
	}
	return p
}

// crowd puts all nodes on one address: apart by port, and by configuration.
func (p *demoPlan) crowd(home netip.Addr) {
	shifted := func(shift uint16) demoPlace {
		return demoPlace{
			Address: home,
			Config:  filepath.Join(p.Dir, fmt.Sprintf("relay-%d.yaml", shift)),
			Viewers: defaultViewerPort + shift,
			Gossip:  defaultGossipPort + shift,
			API:     defaultAPIPort + shift,
			TLS:     defaultTLSPort + shift,
		}
	}
	for i := range p.Relays {
		p.Relays[i] = shifted(uint16(i + 1))
	}
	p.Clone = shifted(9)
}

func bindable(ctx context.Context, address netip.Addr) bool {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

// busyPorts names what the demo needs and somebody else has, an address a line.
func (p demoPlan) busyPorts(ctx context.Context) error {
	busy := map[netip.Addr][]string{}
	try := func(address netip.Addr, port uint16, what string, networks ...string) {
		for _, network := range networks {
			if !free(ctx, network, netip.AddrPortFrom(address, port).String()) {
				busy[address] = append(busy[address], fmt.Sprintf("%s %d (%s)", network, port, what))
			}
		}
	}
	for _, place := range append([]demoPlace{p.Origin}, p.Relays...) {
		try(place.Address, place.Viewers, "viewers", "tcp")
		try(place.Address, place.Gossip, "gossip", "tcp", "udp")
		try(place.Address, place.API, "private API", "tcp")
		if p.Secure {
			try(place.Address, place.TLS, "HTTPS", "tcp")
		}
	}
	try(p.RTSP.Addr(), p.RTSP.Port(), "RTSP", "tcp")
	try(p.RTSPS.Addr(), p.RTSPS.Port(), "RTSPS", "tcp")
	try(p.RTSP.Addr(), defaultRTPPort, "RTP", "udp")
	try(p.RTSP.Addr(), defaultRTCPPort, "RTCP", "udp")
	try(p.RTSP.Addr(), demoRTMPPort, "RTMP", "tcp")
	try(p.RTSP.Addr(), demoSRTPort, "SRT", "udp")
	try(p.RTSP.Addr(), demoUDPPort, "MPEG-TS", "udp")
	try(p.RTSP.Addr(), demoRTMPSPort, "RTMPS", "tcp")
	try(p.DNS.Addr(), p.DNS.Port(), "DNS", "tcp", "udp")
	if len(busy) == 0 {
		return nil
	}
	var lines strings.Builder
	for _, address := range slices.SortedFunc(maps.Keys(busy), netip.Addr.Compare) {
		fmt.Fprintf(&lines, "\n  %s  %s", address, strings.Join(busy[address], ", "))
	}
	return fmt.Errorf("ports that the demo needs are in use:%s\nIs another demo running? End what holds them (\"ss -lptun\" shows what it is) and start again", lines.String())
}

func free(ctx context.Context, network, address string) bool {
	config := &net.ListenConfig{}
	if network == "udp" {
		connection, err := config.ListenPacket(ctx, network, address)
		if err != nil {
			return false
		}
		connection.Close()
		return true
	}
	listener, err := config.Listen(ctx, network, address)
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

// writeFiles makes the pool's files, as init does, or takes those of an
// earlier demo in the same folder.
func (p demoPlan) writeFiles() error {
	_, err := os.Stat(p.Origin.Config)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look into the folder: %w", err)
	}
	if err != nil {
		if err := p.writePool(); err != nil {
			return err
		}
	} else if err := p.asBefore(); err != nil {
		return err
	}
	if p.Crowded {
		return p.writeCrowded()
	}
	return nil
}

func (p demoPlan) writePool() error {
	var tls []setting
	if p.Secure {
		tls = []setting{{"tls.cert_file", certFileName}, {"tls.key_file", keyFileName}}
	}
	origin := append([]setting{
		{"dns.port", fmt.Sprint(demoDNSPort)},
		{"drain", "0s"},
		{"encoder_tls.cert_file", certFileName},
		{"encoder_tls.key_file", keyFileName},
		{"rtmp.tls_port", fmt.Sprint(demoRTMPSPort)},
		{"rtmp.port", fmt.Sprint(demoRTMPPort)},
		{"srt.port", fmt.Sprint(demoSRTPort)},
		{"streams.port", fmt.Sprint(demoUDPPort)},
		{"streams.from", "[" + p.RTSP.Addr().String() + "]"},
	}, tls...)
	files, err := newPoolFiles(poolSettings{
		Stream:     demoStream,
		Zone:       demoZone,
		Origin:     p.Origin.Address,
		OriginMore: origin,
		RelayMore:  append([]setting{{"drain", "1s"}}, tls...),
	})
	if err != nil {
		return err
	}
	if err := files.write(p.Dir); err != nil {
		return err
	}
	addresses := []netip.Addr{p.Origin.Address}
	for len(addresses) < 9 {
		addresses = append(addresses, addresses[len(addresses)-1].Next())
	}
	return writeCertificate(p.Dir, []string{demoZone}, addresses)
}

// asBefore tells when an earlier demo in the folder was of another kind.
func (p demoPlan) asBefore() error {
	config, err := loadOriginConfig(p.Origin.Config)
	if err != nil {
		return err
	}
	if p.Secure && !config.TLS.On() {
		return fmt.Errorf("the demo in %s was made without --tls: choose another --dir", p.Dir)
	}
	return nil
}

// writeCrowded writes a configuration for each relay: on one address they
// need different ports, and folders.
func (p demoPlan) writeCrowded() error {
	shared, err := os.ReadFile(filepath.Join(p.Dir, "relay.yaml"))
	if err != nil {
		return fmt.Errorf("read the relays' configuration: %w", err)
	}
	for _, place := range append(p.Relays[:len(p.Relays):len(p.Relays)], p.Clone) {
		if _, err := os.Stat(place.Config); err == nil {
			continue
		}
		text, err := fill(string(shared), []setting{
			{"dir", fmt.Sprintf("state/%d", place.Viewers)},
			{"ports.viewers", fmt.Sprint(place.Viewers)},
			{"ports.gossip", fmt.Sprint(place.Gossip)},
			{"ports.api", fmt.Sprint(place.API)},
			{"tls.port", fmt.Sprint(place.TLS)},
		})
		if err != nil {
			return err
		}
		if err := writeNew(place.Config, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// publishKey is the key that an encoder gives.
func (p demoPlan) publishKey() (string, error) {
	config, err := loadOriginConfig(p.Origin.Config)
	if err != nil {
		return "", err
	}
	for _, s := range config.Streams {
		if s.Name == demoStream {
			return s.PublishKey, nil
		}
	}
	return "", fmt.Errorf("%s has no stream %s: the demo plays that one", p.Origin.Config, demoStream)
}
