package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"surgecast/origin"
)

// The types of values in a configuration. Each says in its error what to
// write instead, since that sentence is all that a person at the console sees.

// Duration is a time with its unit: 2s, 225ms, 1m30s.
type Duration time.Duration

// UnmarshalText reads a duration; a bare number is refused, for nobody can
// tell whether seconds or milliseconds were meant.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || string(text) == "0" {
		if _, number := strconv.ParseFloat(string(text), 64); number == nil {
			return fmt.Errorf("%s has no unit: write %ss or %sms", text, text, text)
		}
		return fmt.Errorf("%q is no duration: write a number with its unit, such as 2s, 225ms or 1m30s", text)
	}
	if parsed < 0 {
		return fmt.Errorf("%s is negative: write a duration such as %s", text, strings.TrimPrefix(string(text), "-"))
	}
	*d = Duration(parsed)
	return nil
}

// BitRate is in bits per second: 800kbit/s, 100Mbit/s, 1.5Gbit/s.
type BitRate int64

// bitUnits are decimal, as links are sold.
var bitUnits = []struct {
	name string
	bits float64
}{{"kbit/s", 1e3}, {"Mbit/s", 1e6}, {"Gbit/s", 1e9}, {"bit/s", 1}}

// UnmarshalText reads a bit rate.
func (b *BitRate) UnmarshalText(text []byte) error {
	s := string(text)
	for _, unit := range bitUnits {
		number, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) || n*unit.bits > math.MaxInt64/2 {
			break
		}
		*b = BitRate(n * unit.bits)
		return nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return fmt.Errorf("%s has no unit: write %sMbit/s or %sGbit/s (%g bit/s if bits were meant)", s, s, s, n)
	}
	if strings.Contains(s, "B") {
		return fmt.Errorf("%q is in bytes: write bits per second, such as 100Mbit/s", s)
	}
	return fmt.Errorf("%q is no bit rate: write a number with kbit/s, Mbit/s or Gbit/s, such as 100Mbit/s", s)
}

// ByteSize is an amount of data: 500MB, 10GB, 1.5TB.
type ByteSize int64

// byteUnits are decimal, as disks are sold.
var byteUnits = []struct {
	name  string
	bytes float64
}{{"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}

// UnmarshalText reads an amount of data.
func (b *ByteSize) UnmarshalText(text []byte) error {
	s := string(text)
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) || n*unit.bytes > math.MaxInt64/2 {
			break
		}
		*b = ByteSize(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is no amount of data: write a number with MB, GB or TB, such as 10GB", s)
}

// Address is an IP address, or invalid for "auto": find it at each start.
type Address struct{ netip.Addr }

// UnmarshalText reads an address. Names are refused: what a name means may
// differ from clone to clone and from minute to minute.
func (a *Address) UnmarshalText(text []byte) error {
	if string(text) == "auto" || len(text) == 0 {
		a.Addr = netip.Addr{}
		return nil
	}
	addr, err := netip.ParseAddr(string(text))
	if err != nil {
		return fmt.Errorf("%q is no IP address: write one such as 192.0.2.10 or 2001:db8::10, or auto", text)
	}
	if addr.IsUnspecified() {
		return fmt.Errorf("%s stands for every address and can't be told to others: write the one that they reach, or auto", text)
	}
	a.Addr = addr.Unmap()
	return nil
}

// SecondAddress is one of the other family; the zero one: it is found out.
type SecondAddress struct {
	Address
	Off bool
}

// UnmarshalText reads auto, off or an address.
func (a *SecondAddress) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*a = SecondAddress{Off: true}
		return nil
	}
	a.Off = false
	return a.Address.UnmarshalText(text)
}

// HostPort is an IP address with a port: where a seed answers.
type HostPort struct{ netip.AddrPort }

// UnmarshalText reads ip:port.
func (h *HostPort) UnmarshalText(text []byte) error {
	parsed, err := netip.ParseAddrPort(string(text))
	if err == nil && parsed.Port() != 0 {
		h.AddrPort = parsed
		return nil
	}
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		return fmt.Errorf("%s has no port: write %s", text, netip.AddrPortFrom(addr, defaultGossipPort))
	}
	return fmt.Errorf("%q is no IP address with a port: write one such as 192.0.2.10:%d", text, defaultGossipPort)
}

// BaseURL is where another node serves: http://192.0.2.10:8080.
type BaseURL string

// UnmarshalText reads a base URL, or ip:port for one by plain HTTP.
func (b *BaseURL) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(string(text), "/")
	if at, err := netip.ParseAddrPort(s); err == nil && at.Port() != 0 {
		*b = BaseURL("http://" + at.String())
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || s != u.Scheme+"://"+u.Host {
		return fmt.Errorf("%q is no address of a node: write one such as 192.0.2.10:%d or http://192.0.2.10:%d", text, defaultViewerPort, defaultViewerPort)
	}
	*b = BaseURL(s)
	return nil
}

// Metadata is the base URL of a cloud's metadata service; "" for none.
type Metadata string

// UnmarshalText reads auto, off or a base URL.
func (m *Metadata) UnmarshalText(text []byte) error {
	switch string(text) {
	case "auto":
		*m = metadataBase
		return nil
	case "off":
		*m = ""
		return nil
	}
	var base BaseURL
	if err := base.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is no metadata service: write auto, off or a base URL such as %s", text, metadataBase)
	}
	*m = Metadata(base)
	return nil
}

// Resolver is a DNS server to ask: ip:port, invalid for the system's, or none.
type Resolver struct {
	netip.AddrPort
	Off bool
}

// UnmarshalText reads system, off or ip:port.
func (r *Resolver) UnmarshalText(text []byte) error {
	if s := string(text); s == "system" || s == "off" {
		*r = Resolver{Off: s == "off"}
		return nil
	}
	parsed, err := netip.ParseAddrPort(string(text))
	if err != nil || parsed.Port() == 0 {
		return fmt.Errorf("%q is no DNS server: write system, off or an address with its port, such as 192.0.2.53:53", text)
	}
	*r = Resolver{AddrPort: parsed}
	return nil
}

// Port is a TCP or UDP port; 0 turns the listener off.
type Port uint16

// UnmarshalText reads a port number.
func (p *Port) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no port: write a number from 1 to 65535, or 0 to turn this off", text)
	}
	*p = Port(n)
	return nil
}

// PublicKey is an Ed25519 public key in base64.
type PublicKey ed25519.PublicKey

// UnmarshalText reads the 44 letters of a public key.
func (k *PublicKey) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return fmt.Errorf("%q is no public key: write the 44 letters that \"surgecast init\" put into relay.yaml", text)
	}
	*k = raw
	return nil
}

// String returns the key as it stands in a configuration.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k) }

// LogLevel is the least grave line that is logged.
type LogLevel slog.Level

// UnmarshalText reads one of the four names.
func (l *LogLevel) UnmarshalText(text []byte) error {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[string(text)]
	if !ok {
		return fmt.Errorf("%q is no level: write debug, info, warn or error", text)
	}
	*l = LogLevel(level)
	return nil
}

// LogFormat is text (for people) or json (for collectors).
type LogFormat string

// UnmarshalText reads one of the two names.
func (f *LogFormat) UnmarshalText(text []byte) error {
	if s := string(text); s != "text" && s != "json" {
		return fmt.Errorf("%q is no log format: write text or json", s)
	}
	*f = LogFormat(text)
	return nil
}

// ServeViewers says when an origin serves viewers itself.
type ServeViewers string

// The three answers.
const (
	ServeWhenPoolEmpty ServeViewers = "when_pool_empty"
	ServeAlways        ServeViewers = "always"
	ServeNever         ServeViewers = "never"
)

// UnmarshalText reads one of the three names.
func (s *ServeViewers) UnmarshalText(text []byte) error {
	if oneOf(s, text, ServeWhenPoolEmpty, ServeAlways, ServeNever) {
		return nil
	}
	return fmt.Errorf("%q is not one of the answers: write when_pool_empty, always or never", text)
}

// AudioMode says where sound goes beside pictures.
type AudioMode string

// UnmarshalText reads one of the two names.
func (m *AudioMode) UnmarshalText(text []byte) error {
	if oneOf(m, text, AudioMode(origin.AudioMuxed), AudioMode(origin.AudioSeparate)) {
		return nil
	}
	return fmt.Errorf("%q is neither: write muxed or separate", text)
}

// SteerBy says how players are told of the relays.
type SteerBy string

// The two ways.
const (
	SteerNames     SteerBy = "names"
	SteerAddresses SteerBy = "addresses"
)

// UnmarshalText reads one of the two names.
func (s *SteerBy) UnmarshalText(text []byte) error {
	if oneOf(s, text, SteerNames, SteerAddresses) {
		return nil
	}
	return fmt.Errorf("%q is neither: write names or addresses", text)
}

// SameKey says which of two encoders publishes that come with a key to the same
// stream.
type SameKey string

// UnmarshalText reads a SameKey.
func (k *SameKey) UnmarshalText(text []byte) error {
	if oneOf(k, text, SameKey(origin.NewestWins), SameKey(origin.RefuseNewer)) {
		return nil
	}
	return fmt.Errorf("%q is neither: write %s or %s", text, origin.NewestWins, origin.RefuseNewer)
}

// OnLoss says what viewers get while nobody publishes.
type OnLoss string

// UnmarshalText reads one of the names.
func (l *OnLoss) UnmarshalText(text []byte) error {
	if oneOf(l, text, OnLoss(origin.GapOnLoss), OnLoss(origin.SlateOnLoss), OnLoss(origin.StandOnLoss)) {
		return nil
	}
	return fmt.Errorf("%q is none of them: write gap, slate or stand", text)
}

// oneOf takes text if it is one of the words, and tells whether it is.
func oneOf[W ~string](into *W, text []byte, words ...W) bool {
	i := slices.Index(words, W(text))
	if i >= 0 {
		*into = words[i]
	}
	return i >= 0
}
