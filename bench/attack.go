package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// attackKind is one way to hurt a public server.
type attackKind struct {
	name    string // as -kind takes it
	title   string // in the table
	over    protocol
	object  func(ctx context.Context) (path string, err error) // what the benchmark lets it ask for
	conns   int                                                // at a time
	again   bool                                               // one that the server has ended is opened anew
	lasting time.Duration                                      // in the benchmark
	answers []int                                              // the statuses that it may get; nil: any
	run     func(ctx context.Context, a *attack, conn net.Conn) error
}

// attackKinds in the order in which they run: those that leave most behind come
// last.
var attackKinds = []attackKind{
	tricks("paths", "path tricks", watchedList, refused, paths),
	tricks("lengths", "two lengths, endless body", watchedList, refused, lengths),
	tricks("ranges", "10,000 ranges", segmentPath, ranged, ranges),
	frames("rapid-reset", "rapid reset", comingList, rapidReset),
	frames("continuation", "CONTINUATION flood", watchedList, continuation),
	frames("table-size", "table size toggled", watchedList, tableSize),
	frames("trailers", "100,000 trailer fields", watchedList, trailers),
	frames("window-updates", "window updates", watchedList, windowUpdates),
	{name: "slow-readers", title: "500 slow readers of 4 MiB", over: plain, object: segmentPath, conns: 500, lasting: 4 * time.Second, run: slowReader},
	{name: "slowloris", title: "5,000 half headers", over: plain, object: watchedList, conns: 5000, lasting: 7 * time.Second, run: halfHeader},
	{name: "idle", title: "15,000 idle connections", over: plain, object: watchedList, conns: 15_000, lasting: 4 * time.Second, answers: served, run: idle},
}

// attackTime is long enough for some thousand parts that the viewers get.
const attackTime = 2500 * time.Millisecond

// tricks are requests that may cost more than others, or are understood wrongly.
func tricks(name, title string, object func(context.Context) (string, error), answers []int, requests func(target) []string) attackKind {
	return attackKind{
		name: name, title: title, over: plain, object: object, conns: 50, again: true, lasting: attackTime, answers: answers,
		run: func(ctx context.Context, a *attack, conn net.Conn) error {
			return a.ask(ctx, conn, requests(a.target))
		},
	}
}

// frames are floods of HTTP/2.
func frames(name, title string, object func(context.Context) (string, error), begin func(*flooder) (step func(i int) error, err error)) attackKind {
	return attackKind{name: name, title: title, over: h2, object: object, conns: 20, again: true, lasting: attackTime, run: flood(begin)}
}

// mostOpened bounds the connections that one attack opens, one after the other:
// addresses and ports are enough for all of them.
const mostOpened = 50_000

// attacked is what "bench attack" prints, as JSON.
type attacked struct {
	Opened  int64         // connections
	Failed  int64         // that could not be opened
	Ended   int64         // by the server
	GoAways int64         // of these, with GOAWAY
	Sent    int64         // requests, or frames, whether they were read or not
	Answers map[int]int64 // by status
	Busy    float64       // share of a core that this process used
}

// wrong is how many answers are not of those that such requests may get.
func (a attacked) wrong(may []int) (n int64) {
	for status, times := range a.Answers {
		if len(may) > 0 && !slices.Contains(may, status) {
			n += times
		}
	}
	return n
}

// attack is an attack under way.
type attack struct {
	attackKind
	target  target
	opening chan struct{} // a token for each connection that is being opened

	opened, failed, ended, goAways, sent atomic.Int64

	mu      sync.Mutex
	answers map[int]int64
}

// attackCommand is "bench attack": one kind of attack on a server, bounded in
// time and in connections. It is for servers of one's own.
func attackCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	kind := flags.String("kind", "", "one of: "+strings.Join(attackNames(), " "))
	address := flags.String("url", "", "what to ask for, http or https, with an address of this machine")
	lasting := flags.Duration("for", 3*time.Second, "how long")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	i := slices.Index(attackNames(), *kind)
	if i < 0 {
		return fmt.Errorf("no attack is called %q: take one of %s", *kind, strings.Join(attackNames(), " "))
	}
	to, err := parseTarget(*address)
	if err != nil {
		return err
	}
	if !to.address.Addr().IsLoopback() {
		return fmt.Errorf("attacks are for this machine only, and %s is not", to.address.Addr())
	}
	a := newAttack(attackKinds[i], to)
	began := time.Now()
	a.all(ctx, *lasting)
	return json.NewEncoder(os.Stdout).Encode(a.result(time.Since(began)))
}

func newAttack(kind attackKind, to target) *attack {
	return &attack{attackKind: kind, target: to, opening: make(chan struct{}, mostOpening), answers: map[int]int64{}}
}

func attackNames() (names []string) {
	for _, kind := range attackKinds {
		names = append(names, kind.name)
	}
	return names
}

func (a *attack) result(lasted time.Duration) attacked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return attacked{
		Opened: a.opened.Load(), Failed: a.failed.Load(), Ended: a.ended.Load(), GoAways: a.goAways.Load(), Sent: a.sent.Load(),
		Answers: maps.Clone(a.answers), Busy: float64(ownCPU()) / float64(lasted),
	}
}

// all attacks from all connections at once, and returns when all have ended.
func (a *attack) all(ctx context.Context, lasting time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	var attackers sync.WaitGroup
	for n := range a.conns {
		attackers.Go(func() {
			a.once(ctx, n)
			for a.again && ctx.Err() == nil && a.opened.Load() < mostOpened {
				a.once(ctx, n)
			}
		})
	}
	attackers.Wait()
}

// mostOpening bounds how many connections are opened at the same time, so that
// none is lost in the server's queue.
const mostOpening = 100

// once attacks over one connection until the server ends it or ctx ends.
func (a *attack) once(ctx context.Context, n int) {
	select {
	case a.opening <- struct{}{}:
	case <-ctx.Done():
		return
	}
	conn, err := a.open(ctx, n)
	<-a.opening
	if err != nil {
		if ctx.Err() == nil {
			a.failed.Add(1)
			_ = pause(ctx, retryPause/10) // ctx is looked at by who calls
		}
		return
	}
	a.opened.Add(1)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = a.run(ctx, a, conn) // that the connection has ended
	if ctx.Err() == nil {
		a.ended.Add(1)
	}
	_ = conn.Close()
}

// open opens the nth attacker's connection.
func (a *attack) open(ctx context.Context, n int) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: attackAddress(n).AsSlice()}, Timeout: 5 * time.Second, Control: lateBound}
	conn, err := dialer.DialContext(ctx, "tcp", a.target.address.String())
	if err != nil || !a.target.secure {
		return conn, err
	}
	config := &tls.Config{InsecureSkipVerify: true} // it is the bench's own
	if a.over == h2 {
		config.NextProtos = []string{http2.NextProtoTLS}
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// attackAddress spreads attackers over addresses: a server counts connections
// by address.
func attackAddress(n int) netip.Addr {
	const addresses = 250
	return netip.AddrFrom4([4]byte{127, 66, 0, byte(1 + n%addresses)})
}

// answered counts an answer.
func (a *attack) answered(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[status]++
}
