package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// hammered is what "bench hammer" prints, as JSON.
type hammered struct {
	Requests int
	Failed   int
	Bytes    int64   // of bodies
	Busy     float64 // share of a core that this process used
}

// hammerRest is how long the load rests after each turn. Without it a load that
// is quicker than the server would wake for each single answer, and use up its
// core with waking; the server has the other connections' requests meanwhile.
const hammerRest = 50 * time.Microsecond

// hammer asks for one URL again and again over some connections, each with one
// request at a time: wrk's work at less cost, since bodies are neither copied
// in cleartext nor deciphered over TLS.
func hammer(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("hammer", flag.ContinueOnError)
	address := flags.String("url", "", "what to ask for, http or https")
	conns := flags.Int("conns", 64, "connections")
	lasting := flags.Duration("for", runTime, "how long")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	target, err := parseTarget(*address)
	if err != nil {
		return err
	}
	l, err := newLoop(target.address.String(), "") // like wrk: nothing that asks for other bytes
	if err != nil {
		return err
	}
	defer l.stop()
	var result hammered
	var lines []*line
	for range *conns {
		c, err := l.dial(netip.AddrFrom4([4]byte{127, 0, 0, 1}), target.address)
		if err != nil {
			return err
		}
		if target.secure {
			if err := c.secure(); err != nil {
				return err
			}
		}
		lines = append(lines, c)
	}
	began := time.Now()
	for _, c := range lines {
		result.keepAsking(c, target.path)
	}
	l.rest = hammerRest
	end := began.Add(*lasting)
	if err := l.run(ctx, func() bool { return time.Now().After(end) || len(l.lines) == 0 }); err != nil {
		return err
	}
	result.Busy = float64(ownCPU()) / float64(time.Since(began))
	return json.NewEncoder(os.Stdout).Encode(result)
}

func (h *hammered) keepAsking(c *line, path string) {
	c.get(path, nil, func(a *answer) {
		h.Requests++
		h.Bytes += int64(a.size)
		if a.err != nil || a.status != http.StatusOK {
			h.Failed++
		}
		if a.err == nil {
			h.keepAsking(c, path)
		}
	})
}

// target is a URL, taken apart.
type target struct {
	secure  bool
	address netip.AddrPort
	path    string
}

var errTarget = errors.New("the URL must look like http://127.0.0.2:8080/theatre/index.m3u8, with an address in it")

func parseTarget(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return target{}, errTarget
	}
	address, err := netip.ParseAddrPort(u.Host)
	if err != nil || !address.Addr().Is4() {
		return target{}, errTarget
	}
	return target{u.Scheme == "https", address, u.RequestURI()}, nil
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // can't be: the arguments are right
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
