package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"surgecast/cluster"
)

// ownStatusPath is where a node tells other nodes of itself.
const ownStatusPath = "/pool/status"

// memberAnswerBound is how long a node waits for the others' own figures: a
// person is waiting, and one that takes longer is worth seeing as silent.
const memberAnswerBound = time.Second

// maxOwnStatusBytes bounds what another node tells of itself.
const maxOwnStatusBytes = 256 << 10

// ownStatus is the node itself, now.
func (n *node) ownStatus() nodeStatus {
	n.mu.Lock()
	state := n.announced
	n.mu.Unlock()
	load := n.load.Snapshot()
	own := statusOf(n.cluster.Name(), state)
	own.Viewers = load.Viewers
	own.BitsPerSecond = load.BitsPerSecond
	outlook, _ := n.headroom.outlooks()
	if known := n.headroom.known; known > 0 {
		own.CapacityBitsPerSecond = float64(known)
	}
	if own.CapacityBitsPerSecond > 0 {
		own.CapacityFrom = n.headroom.From()
	}
	own.FullInSeconds = outlook.seconds()
	own.Tier, own.Parent = n.tier(), n.parent()
	own.UptimeSeconds = time.Since(n.began).Seconds()
	if lag, ok := n.store.Lag(); ok {
		seconds := lag.Seconds()
		own.LagSeconds = &seconds
	}
	if n.feeds != nil {
		own.Feeds, own.Shown, own.Rungs, own.Ladders = n.feeds(), n.shown(), n.rungs(), n.ladders()
	}
	return own
}

// statusOf is what gossip tells of a node.
func statusOf(name string, s cluster.State) nodeStatus {
	return nodeStatus{
		Name: name, Role: string(s.Role), State: string(s.Status), Version: s.Version,
		Address: cmp.Or(s.Public, s.Media), SecondAddress: cluster.Member{State: s}.SecondMedia(), Tier: s.Tier, CapacityBitsPerSecond: float64(s.Capacity),
	}
}

// serveOwnStatus answers GET /pool/status; the server has checked that a node asks.
func (n *node) serveOwnStatus(w http.ResponseWriter, _ *http.Request) { writeJSON(w, n.ownStatus()) }

// poolStatus asks all members for their own figures, at once.
func (n *node) poolStatus(ctx context.Context) *poolStatus {
	ctx, cancel := context.WithTimeout(ctx, memberAnswerBound)
	defer cancel()
	members := n.cluster.Members()
	status := &poolStatus{Asked: n.cluster.Name(), Isolated: n.cluster.Isolated(), Nodes: make([]nodeStatus, len(members))}
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() { status.Nodes[i] = n.askMember(ctx, m) })
	}
	asking.Wait()
	for i, share := range cluster.Shares(members, true) {
		status.Nodes[i].DNSShare = share
	}
	status.sort()
	return status
}

// askMember returns what a member tells of itself, else what gossip tells of
// it and why the rest is missing.
func (n *node) askMember(ctx context.Context, m cluster.Member) nodeStatus {
	switch {
	case m.Self:
		return n.ownStatus()
	case m.State.Media == "": // a node without media has no figures either
		return statusOf(m.Name, m.State)
	}
	told, err := n.fetchOwnStatus(ctx, n.mediaOf(m))
	if err == nil && told.Name != m.Name {
		err = fmt.Errorf("another node answers there: %s", short(told.Name))
	}
	if err != nil {
		told = statusOf(m.Name, m.State)
		told.Error = err.Error()
	}
	return told
}

func (n *node) fetchOwnStatus(ctx context.Context, media string) (nodeStatus, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+media+ownStatusPath, nil)
	if err != nil {
		return nodeStatus{}, err
	}
	n.credential.Authorize(request)
	response, err := n.client.Do(request)
	if err != nil {
		return nodeStatus{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nodeStatus{}, fmt.Errorf("answered %s", response.Status)
	}
	var told nodeStatus
	err = json.NewDecoder(io.LimitReader(response.Body, maxOwnStatusBytes)).Decode(&told)
	return told, err
}
