package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// capacity is what a node's link carries to viewers, as well as it is known:
//
//	configured, else what the cloud sells,
//	else the network card's speed            a bound: sessions are refused by it
//	else what the link has carried           a guess: it weighs the node in the pool
//
// What was carried says nothing about what could be. So it is taken twice, which
// leaves the node half empty whatever comes, it refuses nobody, and it is told
// to the pool only where it is more than what the pool takes a node for of which
// it knows nothing: the median of the others.
type capacity struct {
	known BitRate // 0: not known
	from  string  // who says what is known: capacityConfigured, the cloud's type, capacityCard
	file  string  // remembers what was carried; "": that is of no use

	mu      sync.Mutex
	carried BitRate
}

// capacityFile is in the node's state folder. A clone drops it: its link is
// another one.
const capacityFile = "capacity"

// carriedTwice is the room that a node is taken to have above what it carried.
const carriedTwice = 2

// Where a capacity is from, unless it is from a cloud.
const (
	capacityConfigured = "config"
	capacityCard       = "card"
	capacityCarried    = "carried"
)

// newCapacity finds out what can be known at the start.
func newCapacity(configured BitRate, told cloud, cards fs.FS, address netip.Addr, folder string) (*capacity, error) {
	c := &capacity{}
	for _, source := range []struct {
		known BitRate
		from  string
	}{{configured, capacityConfigured}, {cloudSpeed(told), told.Type}, {speedTowards(cards, address), capacityCard}} {
		if c.known == 0 && source.known != 0 {
			c.known, c.from = source.known, source.from
		}
	}
	if c.known != 0 || address.IsLoopback() {
		return c, nil
	}
	c.file = filepath.Join(folder, capacityFile)
	text, err := os.ReadFile(c.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return c, fmt.Errorf("read what was carried: %w", err)
	}
	c.carried, err = parseCarried(text)
	return c, err
}

// speedTowards is that of the card with the address, 0 when it is not known.
func speedTowards(cards fs.FS, address netip.Addr) BitRate {
	if cards == nil || address.IsLoopback() {
		return 0
	}
	return cardSpeed(cards, interfaceOf(address))
}

// interfaceOf returns the name of the interface that has the address, "" when
// none has: it may be one that a router translates.
func interfaceOf(address netip.Addr) string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, one := range interfaces {
		addrs, err := one.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == address.WithZone("") {
				return one.Name
			}
		}
	}
	return ""
}

// mostCardSpeed is beyond any card, Mbit/s: what says more is mistaken.
const mostCardSpeed = 10_000_000

// cardSpeed reads the speed of an interface from /sys/class/net, 0 when it is
// not known. Virtual cards say -1 there, or a number that means nothing: only
// what stands for a device, or for several that are bonded, is believed.
func cardSpeed(cards fs.FS, name string) BitRate {
	if name == "" {
		return 0
	}
	_, noDevice := fs.Stat(cards, name+"/device")
	_, noBond := fs.Stat(cards, name+"/bonding")
	text, err := fs.ReadFile(cards, name+"/speed")
	if err != nil || noDevice != nil && noBond != nil {
		return 0
	}
	megabits, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || megabits <= 0 || megabits > mostCardSpeed {
		return 0
	}
	return BitRate(megabits * 1e6)
}

// carry notes that so much went out over the last seconds. What is remembered
// rises in steps of a tenth, so that it is seldom written.
func (c *capacity) carry(bitsPerSecond float64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == "" || bitsPerSecond < leastCarried || bitsPerSecond < 1.1*float64(c.carried) || bitsPerSecond > mostCardSpeed*1e6 {
		return nil
	}
	c.carried = BitRate(bitsPerSecond)
	if err := replaceFile(c.file, fmt.Appendf(nil, "%d\n", c.carried)); err != nil {
		return fmt.Errorf("remember what was carried: %w", err)
	}
	return nil
}

// leastCarried is less than any link that is worth a relay, bits/s.
const leastCarried = 10e6

// parseCarried reads the file of a capacity: bits per second, a decimal number
// in one line.
func parseCarried(text []byte) (BitRate, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil || n < 0 || n > mostCardSpeed*1e6 {
		return 0, errors.New("what was carried is not remembered: the file " + capacityFile + " holds no number of bits per second; it is written anew")
	}
	return BitRate(n), nil
}

// Carried is the most that has gone out, over ten seconds.
func (c *capacity) Carried() BitRate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carried
}

// Told is what the pool is to take the node for; usual is the median of what the
// others tell, 0 when they tell nothing.
func (c *capacity) Told(usual int64) BitRate {
	if c.known != 0 {
		return c.known
	}
	if guess := carriedTwice * c.Carried(); int64(guess) > usual {
		return guess
	}
	return 0
}

// From is who says what Told tells.
func (c *capacity) From() string {
	if c.known != 0 {
		return c.from
	}
	return capacityCarried
}

// replaceFile puts text in place of what a file holds, so that a crash leaves
// the one or the other.
func replaceFile(name string, text []byte) error {
	fresh := name + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}
