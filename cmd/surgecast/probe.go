package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// probePath is where a relay tells its probers how far it has the streams.
const probePath = "/pool/probe"

// newProber builds what asks other relays how they are. Each probe is a
// connection of its own, as a new viewer's is: a relay that takes no new ones
// must not look well over an old one.
func (n *node) newProber() *cluster.Prober {
	client := n.env.client()
	client.Transport.(*http.Transport).DisableKeepAlives = true
	return cluster.NewProber(cluster.ProberConfig{
		Self:     n.cluster.Name,
		Members:  n.cluster.Members,
		Changed:  n.cluster.Changed,
		Verdicts: n.cluster.Verdicts(),
		Lost:     n.cluster.Lost(),
		Ask: func(ctx context.Context, m cluster.Member) (cluster.ProbeAnswer, error) {
			return n.probe(ctx, client, m)
		},
		Routes: n.env.Routes,
		Own:    func() cluster.Positions { return positions(n.store) },
		Logger: n.log,
	})
}

// probe asks a relay where viewers reach it.
func (n *node) probe(ctx context.Context, client *http.Client, m cluster.Member) (cluster.ProbeAnswer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.PublicMedia()+probePath, nil)
	if err != nil {
		return cluster.ProbeAnswer{}, err
	}
	n.credential.Authorize(request)
	response, err := client.Do(request)
	if err != nil {
		return cluster.ProbeAnswer{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return cluster.ProbeAnswer{}, fmt.Errorf("answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, cluster.MaxProbeAnswer))
	if err != nil {
		return cluster.ProbeAnswer{}, err
	}
	return cluster.DecodeProbeAnswer(body)
}

// serveProbe answers GET /pool/probe; the server has checked that a node asks.
// It reads the windows that viewers are answered from, under their locks: a
// relay whose store hangs does not answer.
func (n *node) serveProbe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(cluster.ProbeAnswer{Name: n.cluster.Name(), Status: n.status(), Streams: positions(n.store)}.Encode())
}

// positions tells how far a store has each stream: as far as its rendition that
// is farthest behind. Streams without media yet are left out.
func positions(store *relay.Store) cluster.Positions {
	all := make(cluster.Positions)
	for _, stream := range store.Streams() {
		for _, rendition := range stream.Renditions() {
			v := stream.Window(rendition).Version()
			if v == nil || v.Playlist.End().IsZero() {
				continue
			}
			step := stream.Constants.PartTarget
			if step == 0 { // it comes by whole segments
				step = stream.Constants.TargetDuration
			}
			at := cluster.Position{End: v.Playlist.End().Truncate(time.Millisecond), Step: step.Truncate(time.Millisecond)}
			if before, ok := all[stream.Name]; !ok || at.End.Before(before.End) {
				all[stream.Name] = at
			}
		}
	}
	return all
}

// healthy tells whether a member's probers find it fit for viewers.
func (n *node) healthy(m cluster.Member) bool { return n.cluster.Verdicts().Healthy(m.Name) }

// sound returns the members without the relays that their probers find unfit;
// all of them when no relay is left otherwise: one that may answer is better
// than none.
func (n *node) sound() []cluster.Member {
	members := n.cluster.Members()
	fit := make([]cluster.Member, 0, len(members))
	for _, m := range members {
		if n.healthy(m) {
			fit = append(fit, m)
		}
	}
	if len(cluster.Serving(fit)) == 0 {
		return members
	}
	return fit
}
