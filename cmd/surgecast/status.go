package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"surgecast/origin"
)

// statusCmd shows the pool as one of its nodes sees it.
type statusCmd struct {
	apiFlags
	JSON  bool `help:"Print JSON, for programs: one object, or with --watch one a line."`
	Watch bool `help:"Show it anew each second, until interrupted." short:"w"`
}

// Help is shown by --help.
func (*statusCmd) Help() string {
	return `Asks one node, which asks all the others for their own figures: a node that is
listed and does not answer shows as such. MBIT/S is what a node sends now, OF what
it can, FROM who says that; LAG the age of its newest media; DNS the part of the
answers for the zone that names it. A terminal too narrow gets fewer columns.

	surgecast status --dir ~/evening
	surgecast status --watch
	surgecast status --node http://192.0.2.10:9090 --key-file api.json --json`
}

// Run asks and prints.
func (c *statusCmd) Run(ctx context.Context, out io.Writer) error {
	if c.Watch {
		return c.watch(ctx, out)
	}
	status, err := c.status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	return status.writeTable(out, terminalOf(out))
}

func (c *statusCmd) status(ctx context.Context) (*poolStatus, error) {
	var status poolStatus
	if err := c.ask(ctx, statusRequest, &status); err != nil {
		return nil, err
	}
	return &status, nil
}

// statusRequest gets a poolStatus.
var statusRequest = apiRequest{Method: http.MethodGet, Path: "/status"}

// poolStatus is what GET /status of the private API answers.
type poolStatus struct {
	// Asked is the name of the node that answers.
	Asked string `json:"asked"`

	// Isolated is true while that node sees no other one.
	Isolated bool `json:"isolated"`

	Nodes []nodeStatus `json:"nodes"`
}

// nodeStatus is one node: what gossip says of it, and what it says itself.
type nodeStatus struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	State   string `json:"state"`
	Address string `json:"address"` // where viewers and relays reach it
	Version string `json:"version"`

	// SecondAddress is of the other family of IP, where viewers reach it as well;
	// "": nowhere.
	SecondAddress string `json:"second_address,omitempty"`

	Tier   int    `json:"tier"`             // hops from the origin, 1 to 3; 0: not known, or none
	Parent string `json:"parent,omitempty"` // where it fetches from; "": not known

	// CapacityBitsPerSecond is what its link carries to viewers, as it knows, else
	// as it tells the pool; 0: not known.
	CapacityBitsPerSecond float64 `json:"capacity_bits_per_second"`

	// CapacityFrom is who says so: config, the cloud's type of the machine, card,
	// or carried, which is a guess; "": not known.
	CapacityFrom string `json:"capacity_from,omitempty"`

	// DNSShare is its part of the address records that answer for the zone's
	// name, as the node that was asked sees it: 0 to 1.
	DNSShare float64 `json:"dns_share"`

	// Error says why the node's own figures are missing; then those below are
	// zero.
	Error string `json:"error,omitempty"`

	Viewers       float64 `json:"viewers"`         // media seconds sent per second
	BitsPerSecond float64 `json:"bits_per_second"` // sent to viewers and relays
	UptimeSeconds float64 `json:"uptime_seconds"`

	// FullInSeconds is when it will take no more sessions if as many as now go
	// on coming; 0: now. Nil: not within an hour, or its capacity is not known.
	FullInSeconds *float64 `json:"full_in_seconds"`

	// LagSeconds is the age of the newest media: from its end to now. Nil when
	// there is none.
	LagSeconds *float64 `json:"lag_seconds"`

	// Feeds are the publishers that are connected to it, on an origin.
	Feeds []origin.Feed `json:"feeds,omitempty"`
	// Shown are its streams that show a slate or gaps, on an origin.
	Shown []origin.Shown `json:"shown,omitempty"`

	// Rungs are the renditions of its streams that have several, on an origin.
	Rungs []origin.RungStatus `json:"rungs,omitempty"`

	// Ladders make lower rungs of its streams, on an origin.
	Ladders []origin.LadderStatus `json:"ladders,omitempty"`
}

// sort puts origins first, then by address: the order in which people think.
func (s *poolStatus) sort() {
	slices.SortFunc(s.Nodes, func(a, b nodeStatus) int {
		if a.Role != b.Role {
			return strings.Compare(a.Role, b.Role)
		}
		return strings.Compare(a.Address, b.Address)
	})
}
