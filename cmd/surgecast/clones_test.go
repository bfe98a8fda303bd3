package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"surgecast/relay"
)

// cloning is a pool in network namespaces that grows from one relay to many
// while viewers watch.
type cloning struct {
	*machines
	dir      string
	megabits int               // of the origin's link
	first    time.Time         // when the first clone was started
	begun    map[int]time.Time // when each was
	seen     *namedRelays
	crowd    *crowdAt
	wire     *wire
	sentBy   []sentBytes // by the origin, each second
}

const (
	clones       = 20
	cloneGap     = 500 * time.Millisecond // all within 10 s
	cloneViewers = 50
	// The machines: origin, viewers, the relay that is copied, and its copies.
	cloneOrigin, cloneCrowd, cloneSource, cloneFirst = 1, 2, 3, 4
	cloneLast                                        = cloneFirst + clones - 1
	// cloneCalm is for how long all is counted once all are there.
	cloneCalm = 30 * time.Second
)

// The disk of the only relay is copied twenty times, and the copies are started
// within ten seconds, in the middle of an event with a full window: all are
// named, each fetches each object once, the origin sends what its slots allow,
// and nobody's picture stands still. Once the origin's link feeds all, and once
// it feeds three, so that they become a tree.
func TestTwentyClones(t *testing.T) {
	if !proving() {
		t.Skip("takes four minutes; make prove runs it")
	}
	t.Run("of an origin that feeds all", func(t *testing.T) {
		c := newCloning(t, 100)
		c.grow()
		c.check(1)
	})
	t.Run("as a tree", func(t *testing.T) {
		c := newCloning(t, 10)
		c.grow()
		c.check(relay.MaxTier)
	})
}

// newCloning starts an origin with that uplink, its feed and a relay, and waits
// until the window is full.
func newCloning(t *testing.T, megabits int) *cloning {
	c := &cloning{machines: newMachines(t, cloneLast), begun: map[int]time.Time{}}
	link := fmt.Sprintf("%dMbit/s", megabits)
	c.dir = newPoolDir(t, poolSettings{
		Origin:     c.address(cloneOrigin),
		OriginMore: []setting{{"dns.port", "5300"}, {"dns.rate_limit", "100000"}, {"drain", "0s"}, {"capacity", link}},
		RelayMore:  []setting{{"drain", "0s"}},
	})
	c.megabits = megabits
	c.shape(cloneOrigin, fmt.Sprintf("%dmbit", megabits))
	c.start(cloneOrigin, "origin", c.dir)
	c.feed(cloneOrigin, c.dir)
	return c
}

// grow lets viewers come and clones start, and returns when all is counted.
func (c *cloning) grow() {
	t := c.t
	disk := copyDisk(t, c.dir)
	c.start(cloneSource, "relay", disk)
	server := c.at(cloneOrigin, 5300)
	conn := c.dial(cloneOrigin, server)
	eventually(t, "the first relay is named", func() error { return c.named(conn, cloneSource) })
	c.awaitFullWindow()
	copies := map[int]string{}
	for i := cloneFirst; i <= cloneLast; i++ {
		copies[i] = copyDisk(t, disk)
	}
	c.wire = c.listen()
	c.crowd = c.newCrowd(cloneCrowd, server)
	c.crowd.join(cloneViewers / 5)
	c.seen = c.watchNames(conn, cloneFirst, cloneLast)
	counting := c.countSent()

	c.first = time.Now()
	tick := time.NewTicker(cloneGap)
	defer tick.Stop()
	for i := cloneFirst; i <= cloneLast; i++ {
		c.begun[i] = time.Now()
		c.start(i, "relay", copies[i])
		c.crowd.join(cloneViewers / 25)
		<-tick.C
	}
	within := c.begun[cloneLast].Sub(c.first)
	t.Logf("%d clones started within %v", clones, within.Round(time.Millisecond))
	if within > 15*time.Second {
		t.Errorf("the machine is too busy with other work: this proves nothing")
	}
	c.seen.await()
	calm := time.Now().Add(5 * time.Second)
	time.Sleep(5*time.Second + cloneCalm) // what is counted is a time
	counting()
	c.reportNamed()
	c.checkMedia(calm)
	c.checkSent(calm)
	c.checkViewers()
}

// shape bounds what a machine sends, as a narrow uplink does.
func (m *machines) shape(i int, rate string) {
	m.t.Helper()
	m.sh(exec.CommandContext(m.t.Context(), "tc", "-n", m.name(i), "qdisc", "add", "dev", "eth0", "root", "tbf",
		"rate", rate, "burst", "128kb", "latency", "200ms"))
}

// awaitFullWindow waits until the origin's list is as long as it will be.
func (c *cloning) awaitFullWindow() {
	viewer := c.newViewer(cloneCrowd, c.at(cloneOrigin, 5300))
	defer viewer.client.CloseIdleConnections()
	long := func() error {
		text, err := viewer.get(c.t.Context(), c.base(cloneSource)+"/theatre/main/live.m3u8")
		if err != nil {
			return err
		}
		p, err := relay.ParsePlaylist(text)
		if err != nil {
			return err
		}
		length := time.Duration(0)
		for _, s := range p.Segments {
			length += s.Duration
		}
		if length < 55*time.Second {
			return fmt.Errorf("the window is %v long", length)
		}
		return nil
	}
	began := time.Now()
	for err := long(); err != nil; err = long() {
		if time.Since(began) > 2*time.Minute {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second) // it grows by as much
	}
}

// check holds the tree to its rules: all are there, at most so deep, and each
// one's parents lead to the origin.
func (c *cloning) check(depth int) {
	status, err := c.status(cloneOrigin)
	if err != nil {
		c.t.Fatal(err)
	}
	byMedia, tiers := map[string]nodeStatus{}, map[int]int{}
	for _, n := range status.Nodes {
		byMedia[n.Address] = n
		if n.Role == "relay" {
			tiers[n.Tier]++
		}
	}
	c.t.Logf("relays by tier: %v", tiers)
	if len(status.Nodes) != 1+1+clones {
		c.t.Errorf("%d nodes in the status", len(status.Nodes))
	}
	deepest := 0
	for _, n := range status.Nodes {
		if n.Role != "relay" {
			continue
		}
		way := []string{n.Address}
		for at := n; at.Role == "relay" && len(way) <= relay.MaxTier+1; {
			at = byMedia[at.Parent]
			way = append(way, at.Address)
		}
		hops := len(way) - 1
		deepest = max(deepest, hops)
		if byMedia[way[hops]].Role != "origin" || hops != n.Tier || hops > relay.MaxTier {
			c.t.Errorf("%s says tier %d, its parents are %v", n.Address, n.Tier, way[1:])
		}
		if n.State != "serving" {
			c.t.Errorf("%s is %s", n.Address, n.State)
		}
	}
	if deepest > depth || depth > 1 && deepest < 2 {
		c.t.Errorf("the tree is %d deep", deepest)
	}
}

// namedRelays takes down when machines are first named.
type namedRelays struct {
	at      map[int]time.Time
	missing func() []int
	done    chan struct{}
	err     error
}

// watchNames asks over and over until all of first to last were named.
func (c *cloning) watchNames(conn net.Conn, first, last int) *namedRelays {
	n := &namedRelays{at: map[int]time.Time{}, done: make(chan struct{})}
	n.missing = func() []int {
		var missing []int
		for i := first; i <= last; i++ {
			if n.at[i].IsZero() {
				missing = append(missing, i)
			}
		}
		return missing
	}
	go func() {
		defer close(n.done)
		for end := time.Now().Add(time.Minute); len(n.missing()) > 0; time.Sleep(2 * time.Millisecond) {
			addresses, err := c.answers(conn)
			if err == nil && len(addresses) == 0 {
				err = fmt.Errorf("an empty answer")
			}
			if err == nil && time.Now().After(end) {
				err = fmt.Errorf("machines %v are not named", n.missing())
			}
			if n.err = err; err != nil {
				return
			}
			for i := first; i <= last; i++ {
				if n.at[i].IsZero() && slices.Contains(addresses, c.address(i).String()) {
					n.at[i] = time.Now()
				}
			}
		}
	}()
	c.t.Cleanup(func() { <-n.done })
	return n
}

func (n *namedRelays) await() { <-n.done }

// reportNamed prints how long each clone took from its process's start.
func (c *cloning) reportNamed() {
	if c.seen.err != nil {
		c.t.Fatal(c.seen.err)
	}
	var took []time.Duration
	for i, at := range c.seen.at {
		took = append(took, at.Sub(c.begun[i]).Round(time.Millisecond))
	}
	slices.Sort(took)
	c.t.Logf("from each process's start to its name in the DNS: %v; the last %v after the first start",
		took, c.seen.at[cloneLast].Sub(c.first).Round(time.Millisecond))
}

// checkMedia counts what each relay fetched.
func (c *cloning) checkMedia(calm time.Time) {
	all := c.wire.finish(c.t)
	counts := mediaAsked(all)
	// What was begun just before the end of the taking down may be missing.
	objects := mediaBetween(all, calm, time.Now().Add(-3*time.Second))
	if least := int(cloneCalm / (250 * time.Millisecond) * 3 / 4); len(objects) < least {
		c.t.Errorf("only %d objects in %v", len(objects), cloneCalm)
	}
	total, twice := 0, map[string]int{}
	for i := cloneSource; i <= cloneLast; i++ {
		for _, path := range objects {
			if counts[i][path] == 0 {
				c.t.Errorf("machine %d never fetched %s", i, path)
			}
		}
		for path, n := range counts[i] {
			total += n
			if n > 1 {
				twice[fmt.Sprintf("machine %d: %s", i, path)] = n
			}
		}
	}
	c.t.Logf("%d objects were fetched by each of %d relays; in all %d fetches, %d of them not for the first time",
		len(objects), 1+clones, total, len(twice))
	if len(twice) > 0 {
		c.t.Errorf("fetched more than once: %v", twice)
	}
	for _, a := range all {
		if a.from == cloneCrowd && a.to == cloneOrigin && strings.Contains(a.path, ".m4s") {
			c.t.Fatalf("the origin was asked by a viewer: %+v", a)
		}
	}
}

// mediaBetween are the media that anybody asked for first between two times.
func mediaBetween(all []asked, from, to time.Time) []string {
	first := map[string]time.Time{}
	for _, a := range all {
		if _, known := first[a.path]; !known && slices.Contains([]string{".m4s", ".mp4"}, path.Ext(a.path)) {
			first[a.path] = a.at
		}
	}
	maps.DeleteFunc(first, func(_ string, at time.Time) bool { return at.Before(from) || at.After(to) })
	return slices.Sorted(maps.Keys(first))
}

// sentBytes is what the origin had sent at a time.
type sentBytes struct {
	at    time.Time
	bytes int64
}

// sent is what has come out of a machine, as its port of the bridge has it.
func (c *cloning) sent(i int) int64 {
	text, err := exec.Command("ip", "-n", c.name(0), "-j", "-s", "link", "show", "dev", c.port(i)).Output()
	var links []struct {
		Stats struct{ RX struct{ Bytes int64 } } `json:"stats64"`
	}
	if err == nil {
		err = json.Unmarshal(text, &links)
	}
	if err != nil || len(links) != 1 {
		c.t.Errorf("read what the origin sent: %v %s", err, text)
		return 0
	}
	return links[0].Stats.RX.Bytes
}

// countSent looks at the origin's port each second until it is told to end.
func (c *cloning) countSent() (end func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			c.sentBy = append(c.sentBy, sentBytes{time.Now(), c.sent(cloneOrigin)})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	end = func() { cancel(); <-done }
	c.t.Cleanup(end)
	return end
}

// checkSent holds what the origin sends, when all is calm, to what its children
// may take: a quarter of its link, for that is how its slots are counted, and a
// fifth of that for lists, headers, probes and gossip.
func (c *cloning) checkSent(calm time.Time) {
	var most, mean float64
	began := slices.IndexFunc(c.sentBy, func(s sentBytes) bool { return s.at.After(calm) })
	if began < 0 || began == len(c.sentBy)-1 {
		c.t.Fatal("nothing was counted")
	}
	rate := func(a, b sentBytes) float64 { return float64(b.bytes-a.bytes) * 8 / 1e6 / b.at.Sub(a.at).Seconds() }
	var each []int
	for i := 1; i <= began; i++ {
		each = append(each, int(rate(c.sentBy[i-1], c.sentBy[i])))
		most = max(most, rate(c.sentBy[i-1], c.sentBy[i]))
	}
	c.t.Logf("Mbit/s that the origin sent, second by second: %v", each)
	mean = rate(c.sentBy[began], c.sentBy[len(c.sentBy)-1])
	budget := float64(c.megabits) * 0.25 * 1.2
	c.t.Logf("the origin, with %d Mbit/s, sends %.1f Mbit/s when all are there; %.1f in the worst second before", c.megabits, mean, most)
	if mean > budget {
		c.t.Errorf("the origin sends %.1f Mbit/s, its children may take %.1f", mean, budget)
	}
}

// noticed is how long a picture must stand still for hls.js to call it a stall.
const noticed = 250 * time.Millisecond

// checkViewers holds that nobody noticed.
func (c *cloning) checkViewers() {
	tally := c.crowd.end()
	c.t.Log(tally)
	for _, one := range tally.stood {
		if one.lasts > noticed {
			c.t.Errorf("a picture stood still for %v, %v after the first start", one.lasts.Round(time.Millisecond), one.until.Sub(c.first).Round(10*time.Millisecond))
		}
	}
	if tally.joined != cloneViewers || tally.skipped > 0 {
		c.t.Errorf("%d of %d joined, %d skips", tally.joined, cloneViewers, tally.skipped)
	}
}
