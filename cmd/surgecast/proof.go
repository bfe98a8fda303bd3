package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"surgecast/relay"
)

// Bounds of the proof that a relay gives itself.
const (
	proofBound = 2 * time.Second // for one proof before the relay is listed
	proofBytes = 4 << 20         // of one playlist

	// The pause between two proofs doubles from the first to the second.
	leastProofPause = 50 * time.Millisecond
	mostProofPause  = time.Second
)

// prove plays the relay's own data path through: each live list, asked by
// HTTP at the own listener under the public name, must be one that the store
// had since the question was put. A relay that can't show this to itself is
// not listed. Lists of windows that are not counted are left out.
func (r *relayNode) prove(ctx context.Context, bound time.Duration, counted func(*relay.Window) bool) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if _, err := r.askSelf(ctx, "/healthz"); err != nil {
		return err
	}
	for _, stream := range r.store.Streams() {
		if stream.Index() == nil {
			continue // not live yet: the follower has not made it known
		}
		for _, rendition := range stream.Renditions() {
			if !counted(stream.Window(rendition)) {
				continue
			}
			if err := r.proveList(ctx, stream, rendition); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *relayNode) proveList(ctx context.Context, stream *relay.Stream, rendition string) error {
	before := stream.Window(rendition).Version()
	path := "/" + stream.Name + "/" + rendition + "/live.m3u8"
	text, err := r.askSelf(ctx, path)
	if err != nil {
		return err
	}
	if before == nil || bytes.Equal(text, before.Text) {
		return nil
	}
	list, err := relay.ParsePlaylist(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if list.OpenSequence() < before.Playlist.OpenSequence() {
		return fmt.Errorf("%s: is older than what is held", path)
	}
	return nil
}

// askSelf gets a path from the node's own listener.
func (n *node) askSelf(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.viewers.Addr().String()+path, nil)
	if err != nil {
		return nil, err
	}
	request.Host = n.config.Zone // the name under which viewers come; none: the address
	response, err := n.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: answered %s", path, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, proofBytes))
}
