package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// partitionTime is for how long the pool is in two.
const partitionTime = 2 * time.Minute

// healedBound is within how long it must then be one again.
const healedBound = 20 * time.Second

// A pool of six relays is in two for two minutes, a name server on each side and
// the origin on one. Both sides go on answering and serving, and are one pool
// again soon after.
func testPartition(t *testing.T) {
	// Nothing passes: the far side serves what it has, and gets nothing new.
	t.Run("of all", func(t *testing.T) { newPartition(t).run(false) })
	// The gossip is in two and no relay sees one of the other side, but the far
	// side's requests for media reach the origin: its viewers notice nothing.
	t.Run("but for media", func(t *testing.T) { newPartition(t).run(true) })
}

// partition is a pool with its two sides.
type partition struct {
	*machines
	near, far []int // the origin is near
}

const (
	partitionRelays  = 6
	partitionViewers = 9                               // of each side
	partitionNear    = poolFirst + partitionRelays     // viewers there
	partitionFar     = poolFirst + partitionRelays + 1 // and there
)

func newPartition(t *testing.T) *partition {
	return &partition{
		machines: newServedPool(t, partitionRelays, 2),
		near:     []int{poolOrigin, poolServer1, poolFirst, poolFirst + 1, poolFirst + 2, partitionNear},
		far:      []int{poolServer2, poolFirst + 3, poolFirst + 4, poolFirst + 5, partitionFar},
	}
}

func (p *partition) run(media bool) {
	t := p.t
	nearView, farView := p.newCrowd(partitionNear, p.at(poolServer1, 5300)), p.newCrowd(partitionFar, p.at(poolServer2, 5300))
	nearView.join(partitionViewers)
	farView.join(partitionViewers)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	near, far := &sideAnswers{of: p.near}, &sideAnswers{of: p.far}
	asking.Go(func() { near.ask(p.machines, p.dial(partitionNear, p.at(poolServer1, 5300)), stop) })
	asking.Go(func() { far.ask(p.machines, p.dial(partitionFar, p.at(poolServer2, 5300)), stop) })
	time.Sleep(5 * time.Second) // all play

	var spared []string
	if media {
		origin := p.address(poolOrigin)
		spared = []string{
			fmt.Sprintf("ip daddr %s tcp dport %d accept", origin, defaultViewerPort),
			fmt.Sprintf("ip saddr %s tcp sport %d accept", origin, defaultViewerPort),
		}
	}
	heal := p.sever(p.near, p.far, spared...)
	cut := time.Now()
	time.Sleep(partitionTime - 10*time.Second)
	if members := p.membersAt(poolOrigin); len(members) != 2+partitionRelays/2 {
		t.Errorf("the near side is %v", members)
	}
	if members := p.membersAt(poolServer2); len(members) != 1+partitionRelays/2 {
		t.Errorf("the far side is %v", members)
	}
	p.checkServed(p.near, partitionNear, true)
	p.checkServed(p.far, partitionFar, media)
	time.Sleep(time.Until(cut.Add(partitionTime)))

	heal()
	healed := time.Now()
	eventually(t, "the pool is one again", func() error { return p.one(healed) })
	took := time.Since(healed)
	t.Logf("one pool again %v after the partition of %v ended", took.Round(time.Millisecond), healed.Sub(cut).Round(time.Second))
	if took > healedBound {
		t.Errorf("one pool again only after %v, want at most %v", took, healedBound)
	}
	time.Sleep(10 * time.Second) // who lost the picture has it again
	close(stop)
	asking.Wait()
	near.check(t, "near", cut)
	far.check(t, "far", cut)
	p.checkViewers("near", nearView.end(), lostRelay)
	most := lostRelay
	if !media {
		most = partitionTime + healedBound
	}
	p.checkViewers("far", farView.end(), most)
}

// lostRelay is for how long a picture may stand still whose relay is on the
// other side: it hangs, and so may two others of which the viewer knows.
const lostRelay = 3 * viewerPatience

func (p *partition) checkViewers(side string, tally viewerTally, most time.Duration) {
	p.t.Logf("viewers of the %s side: %v", side, tally)
	if tally.joined != partitionViewers || tally.worst > most {
		p.t.Errorf("%s side: %d joined, a picture stood still for %v, want at most %v", side, tally.joined, tally.worst, most)
	}
}

// one tells why the pool is not one: when not all nodes have the same members.
func (p *partition) one(healed time.Time) error {
	all := p.membersAt(poolOrigin)
	if len(all) != 3+partitionRelays {
		return fmt.Errorf("the origin sees %v", all)
	}
	for i := poolServer1; i < partitionNear; i++ {
		if members := p.membersAt(i); !slices.Equal(members, all) {
			return fmt.Errorf("machine %d sees %v %v after", i, members, time.Since(healed))
		}
	}
	return nil
}

// membersAt are the names of the members that a node sees, in order.
func (p *partition) membersAt(i int) []string {
	var names []string
	status, err := p.status(i)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, n := range status.Nodes {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// checkServed asks the relays of a side, from there, for what viewers ask.
func (p *partition) checkServed(side []int, from int, live bool) {
	p.t.Helper()
	viewer := p.newViewer(from, p.at(poolServer1, 5300))
	defer viewer.client.CloseIdleConnections()
	for _, i := range side {
		if i < poolFirst || i >= partitionNear {
			continue
		}
		ask := func(path string) string {
			if _, err := viewer.get(p.t.Context(), p.base(i)+path); err != nil {
				return faultOf(err)
			}
			return "200"
		}
		index, list := ask("/theatre/index.m3u8"), ask("/theatre/main/live.m3u8")
		p.t.Logf("machine %d answers %s for the multivariant playlist, %s for the live list", i, index, list)
		if index != "200" || live && list != "200" {
			p.t.Errorf("machine %d does not serve its side", i)
		}
	}
}

// sideAnswers is what a name server said to who asked over and over.
type sideAnswers struct {
	of                   []int // the side that it is on
	asked, empty, failed int
	last                 time.Time // when it named a relay of the other side, before it ceased to for a while
	ceased               bool
}

// partitionQuiet is for how long the other side must not be named, to be taken
// for gone.
const partitionQuiet = 30 * time.Second

func (a *sideAnswers) ask(m *machines, conn net.Conn, stop <-chan struct{}) {
	for tick := time.NewTicker(20 * time.Millisecond); ; a.asked++ {
		select {
		case <-stop:
			tick.Stop()
			return
		case <-tick.C:
		}
		addresses, err := m.answers(conn)
		switch {
		case err != nil:
			a.failed++
		case len(addresses) == 0:
			a.empty++
		}
		a.note(addresses)
	}
}

func (a *sideAnswers) note(addresses []string) {
	a.ceased = a.ceased || !a.last.IsZero() && time.Since(a.last) > partitionQuiet
	if a.ceased {
		return
	}
	for _, text := range addresses {
		if address, err := netip.ParseAddr(text); err == nil && !slices.Contains(a.of, machineAt(address)) {
			a.last = time.Now()
		}
	}
}

func (a *sideAnswers) check(t *testing.T, side string, cut time.Time) {
	t.Helper()
	t.Logf("the %s side's name server gave %d answers; it named relays of the other side until %v after the cut",
		side, a.asked, a.last.Sub(cut).Round(time.Millisecond))
	if a.empty+a.failed > 0 {
		t.Errorf("%s side: %d empty answers, %d questions without one", side, a.empty, a.failed)
	}
	if !a.ceased || a.last.Sub(cut) > gossipBound {
		t.Errorf("%s side: relays of the other side are named for %v, want at most %v", side, a.last.Sub(cut), gossipBound)
	}
}

// gossipBound is within how long half a pool is found dead by those who are left:
// till then its own verdicts on itself count. It is the longest time for which
// memberlist suspects a node that few others suspect.
const gossipBound = 24 * time.Second
