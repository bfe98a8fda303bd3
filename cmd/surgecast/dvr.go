package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"surgecast/cluster"
	"surgecast/relay"
)

// dvrFolder is where a node keeps what viewers look back on, in its own state.
const dvrFolder = "dvr"

// dvrConfig is what an origin's and a relay's DVR have in common.
func (n *node) dvrConfig() relay.DVRConfig {
	return relay.DVRConfig{
		Dir:        filepath.Join(n.folder.Path, dvrFolder),
		Bytes:      int64(n.config.DVRBytes),
		Logger:     n.log,
		Client:     n.client,
		Credential: n.credential,
	}
}

// openDVR opens a relay's DVR: what it has not seen comes from its parents,
// after what is live.
func (r *relayNode) openDVR(parents func() []string, live *relay.Precedence) (err error) {
	config := r.dvrConfig()
	config.Upstreams, config.Peers = parents, r.peers
	config.Client = live.Polite(r.client)
	r.dvr, err = relay.OpenDVR(config)
	return err
}

// peers are the base URLs of the other relays that serve, in random order.
func (r *relayNode) peers() []string {
	var bases []string
	for _, m := range cluster.Serving(r.cluster.Members()) {
		if !m.Self {
			bases = append(bases, "http://"+r.mediaOf(m))
		}
	}
	rand.Shuffle(len(bases), func(i, j int) { bases[i], bases[j] = bases[j], bases[i] })
	return bases
}

// runRecorded runs the origin, and its DVR until the last segment is sealed.
func (o *originNode) runRecorded(ctx context.Context) error {
	recording, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var names []string
	for _, s := range o.config.Streams {
		names = append(names, s.Name)
		running.Go(func() {
			err := o.dvr.Run(recording, o.store.Stream(s.Name), time.Duration(s.DVR), nil)
			if err != nil && recording.Err() == nil {
				o.log.Error("the DVR of a stream ended", "stream", s.Name, "err", err)
			}
		})
	}
	o.dvr.Keep(names)
	return o.origin.Run(ctx)
}
