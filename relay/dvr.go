package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// ErrUnavailable: it is there, but can't be had at this moment.
var ErrUnavailable = errors.New("not available at this moment")

// What DVR does beside the live delivery is bounded, so that looking back never
// costs those who watch live.
const (
	// maxDiskReads is how many answers are read from disk at once; one more
	// gets 503.
	maxDiskReads = 64
	// maxPulls is how many objects are pulled through at once, and
	// maxPullsWaiting how many are waited for; with one more the answer is 503.
	maxPulls        = 4
	maxPullsWaiting = 256
)

// DVRConfig says where a node keeps what viewers can look back on.
type DVRConfig struct {
	// Dir is a folder of this node's own. Required.
	Dir string
	// Bytes is the budget of all files in it; the oldest go first. Required.
	Bytes int64
	// Logger is required.
	Logger *slog.Logger

	// Of a relay; an origin makes the lists and has all that they name.

	// Upstreams returns the base URLs of the nodes that have all; the first is
	// asked first. Nil on an origin.
	Upstreams func() []string
	// Peers returns base URLs of nodes that may have kept what is asked for,
	// in random order; the first two are asked before an upstream. May be nil.
	Peers func() []string
	// Client must not follow redirects.
	Client     *http.Client
	Credential *Credential
}

// DVR keeps what has left the live window on disk, for viewers who look back:
//
//	window ─▶ Recording ─▶ disk ─▶ /{stream}/{rendition}/{epoch}/{msn}.m4s
//	                │       ▲
//	                ▼       └── pulled through on a miss (relays)
//	            long list ─▶ /{stream}/{rendition}/dvr.m3u8
//
// An origin makes the long lists. A relay writes what it sees live, fetches a
// list when a viewer wants it, and media that it never saw when a viewer wants
// those. None of it is needed to serve live.
type DVR struct {
	config DVRConfig
	disk   *disk
	reads  chan struct{} // holds one for each answer that is being read
	pulls  chan struct{} // holds one for each object that is being pulled
}

// OpenDVR opens the folder and takes stock of it. What is there is served once
// a long list confirms it.
func OpenDVR(c DVRConfig) (*DVR, error) {
	disk, err := openDisk(c.Dir, c.Bytes, c.Logger)
	if err != nil {
		return nil, err
	}
	return &DVR{config: c, disk: disk, reads: make(chan struct{}, maxDiskReads), pulls: make(chan struct{}, maxPulls)}, nil
}

// DVRUsage is how much a node keeps.
type DVRUsage struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Usage returns how much is kept now.
func (d *DVR) Usage() DVRUsage {
	files, bytes := d.disk.usage()
	return DVRUsage{Files: files, Bytes: bytes}
}

// Keep deletes what belongs to other streams than those named.
func (d *DVR) Keep(names []string) {
	gone := d.disk.streams()
	for _, name := range names {
		delete(gone, name)
	}
	for name := range gone {
		d.forget(name)
	}
}

func (d *DVR) forget(stream string) {
	if err := d.disk.removeAll(stream); err != nil {
		d.config.Logger.Error("delete a stream from the DVR", "stream", stream, "err", err)
	}
}

// Run records a stream until ctx ends, and lets viewers look back for length.
// On a relay, epoch returns the authority's, beyond which nothing is taken; nil
// on an origin.
func (d *DVR) Run(ctx context.Context, st *Stream, length time.Duration, epoch func() Epoch) error {
	if err := ValidStream(st.Name); err != nil {
		return err // it becomes a folder
	}
	st.setLookedBack(length > 0)
	if length <= 0 {
		d.forget(st.Name)
		return nil
	}
	var running sync.WaitGroup
	defer running.Wait()
	started := map[string]bool{}
	for {
		grown := st.grown()
		for _, rendition := range st.Renditions() {
			if started[rendition] {
				continue
			}
			started[rendition] = true
			r, err := d.newRecording(st, rendition, length, epoch)
			if err != nil {
				st.setLookedBack(false)
				return fmt.Errorf("record %s/%s: %w", st.Name, rendition, err)
			}
			st.setRecording(rendition, r)
			running.Go(func() {
				r.run(ctx)
				st.setRecording(rendition, nil)
			})
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
