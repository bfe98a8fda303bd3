package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"surgecast/origin/origintest"
	"surgecast/simnet"
)

// chance is what happens to a pool of a story by chance, drawn from a seed.
// memberlist draws for itself, so a seed fixes what happens to whom and when,
// and not each packet.
type chance struct {
	*story
	random *rand.Rand
	began  time.Time
	stay   int         // the first relays, to which nothing happens: viewers ask their DNS
	there  []int       // relays that are up and mean to stay so
	asked  []*storyDNS // whom viewers ask for relays
}

// Relays join, die, drain and are cut from all others at random, while viewers
// send each request to a relay of a new DNS answer: they never see a list step
// back, and have everything that a list names.
func TestStoryOfChance(t *testing.T) {
	for seed := range uint64(sized(1, 4)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStory(t)
				s.net = simnet.New(simnet.Config{Seed: seed, Delay: storyDelay})
				c := &chance{story: s, random: rand.New(rand.NewPCG(seed, 4)), stay: 2}
				c.evening(sized(4, 9), sized(2, 6), sized(22*time.Second, time.Minute))
			})
		})
	}
}

// evening runs a pool and its viewers. Faults end 20 s before it does: so long
// may a pool need to be one again.
func (c *chance) evening(relays, viewers int, long time.Duration) {
	nodes, stopNodes := context.WithCancel(c.t.Context())
	feed, stopFeed := context.WithCancel(c.t.Context())
	c.startOrigin(nodes)
	for i := range relays {
		c.startRelay(nodes, i)
		c.there = append(c.there, i)
	}
	c.publish(feed, &origintest.Source{FPS: 25, GOP: 25})
	c.asked = append(c.asked, c.newDNS(c.origin.node))
	for _, r := range c.relays[:c.stay] {
		c.asked = append(c.asked, c.newDNS(r.node))
	}
	time.Sleep(6 * time.Second) // all are listed, and there are lists
	for _, d := range c.asked {
		d.until(2*time.Second, c.there...)
	}

	c.began = time.Now()
	watching, stopViewers := context.WithDeadline(c.t.Context(), c.began.Add(long))
	var crowd sync.WaitGroup
	all := make([]*storyWatcher, viewers)
	for i := range all {
		all[i] = newStoryWatcher(c.story, i, nil)
		all[i].relays = func() []string { return c.answer(all[i].random) }
		all[i].patience = time.Second
		crowd.Go(func() { all[i].watch(watching) })
	}
	mended := c.began.Add(long - sized(12*time.Second, 20*time.Second))
	for time.Until(mended) > time.Second {
		c.strike(nodes, mended)
	}
	time.Sleep(time.Until(mended))
	for _, d := range c.asked {
		d.until(20*time.Second, c.there...)
	}
	c.log("all are named again")
	crowd.Wait()
	stopViewers()
	for _, w := range all {
		// A viewer that asked in vain goes on at the live edge, so it may lack what
		// came meanwhile; and it asks in vain until a relay without source is named
		// no more.
		w.check(long*4/5, 10*time.Second)
		if w.audited == 0 {
			c.t.Errorf("viewer %d asked for no older object", w.name)
		}
		c.t.Logf("viewer %d had %d parts and %d older objects, was sent on %d times; a part was %v old at most",
			w.name, w.parts, w.audited, w.retries, w.latest)
	}
	stopFeed()
	time.Sleep(time.Second)
	c.relays = slices.DeleteFunc(c.relays, func(r *storyRelayNode) bool { return r.gone })
	c.checkEqual()
	stopNodes()
	c.end()
}

func (c *chance) log(format string, values ...any) {
	c.t.Logf("%6.2f s: %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, values...))
}

// answer is where one DNS answer sends a viewer. It is never empty.
func (c *chance) answer(random *rand.Rand) []string {
	var bases []string
	for _, address := range c.asked[random.IntN(len(c.asked))].one() {
		bases = append(bases, storyBase(address))
	}
	if len(bases) == 0 {
		c.t.Error("an empty DNS answer")
		return storyRelays(c.stay)
	}
	return bases
}

// strike lets something happen, and waits until it is over.
func (c *chance) strike(ctx context.Context, mended time.Time) {
	time.Sleep(min(time.Duration(c.random.Int64N(int64(2*time.Second))), time.Until(mended)))
	lasts := min(time.Second+time.Duration(c.random.Int64N(int64(9*time.Second))), time.Until(mended))
	if lasts <= 0 {
		return
	}
	switch spare := len(c.there) - c.stay; {
	case c.random.IntN(3) == 0 || spare < 2:
		i := len(c.relays)
		c.log("relay %d joins", i)
		c.startRelay(ctx, i)
		c.there = append(c.there, i)
	case c.random.IntN(3) == 0:
		i := c.take()
		c.log("relay %d is killed", i)
		c.kill(i)
	case c.random.IntN(3) == 0:
		i := c.take()
		c.log("relay %d is drained", i)
		c.relays[i].stop()
	case c.random.IntN(2) == 0:
		c.log("packets are lost for %v", lasts)
		c.net.SetDrop(0.3 * c.random.Float64())
		time.Sleep(lasts)
		c.net.SetDrop(0)
	default:
		c.split(1+c.random.IntN(min(spare, 3)), lasts)
	}
}

// take draws a relay that is to go.
func (c *chance) take() int {
	at := c.stay + c.random.IntN(len(c.there)-c.stay)
	i := c.there[at]
	c.there = slices.Delete(c.there, at, at+1)
	c.relays[i].gone = true
	return i
}

// split cuts some relays from all other nodes; viewers reach both sides.
func (c *chance) split(n int, lasts time.Duration) {
	away := slices.Clone(c.there[c.stay:])
	c.random.Shuffle(len(away), func(i, j int) { away[i], away[j] = away[j], away[i] })
	away = away[:n]
	rest := []string{storyOrigin()}
	for _, i := range c.there {
		if !slices.Contains(away, i) {
			rest = append(rest, storyRelay(i))
		}
	}
	c.log("relays %v are cut from the others for %v", away, lasts)
	for _, i := range away {
		for _, o := range rest {
			c.net.Cut(storyRelay(i), o)
		}
	}
	time.Sleep(lasts)
	for _, i := range away {
		for _, o := range rest {
			c.net.Heal(storyRelay(i), o)
		}
	}
	c.log("the network is whole")
}
