package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
)

// statusCmd shows the pool as one of its nodes sees it.
type statusCmd struct {
	apiFlags
	JSON bool `help:"Print JSON, for programs."`
}

// Help is shown by --help.
func (*statusCmd) Help() string {
	return `Asks one node, which asks all the others for their own figures: a node that is
listed and does not answer shows as such.

	surgecast status --dir ~/evening
	surgecast status --node http://192.0.2.10:9090 --key-file api.json --json`
}

// Run asks and prints.
func (c *statusCmd) Run(ctx context.Context, out io.Writer) error {
	var status poolStatus
	if err := c.ask(ctx, statusRequest, &status); err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	return status.writeTable(out)
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

	// Tier is how many hops its media come from the origin: 0 on an origin, and
	// while there are none.
	Tier int `json:"tier"`

	// Error says why the node's own figures are missing; then those below are
	// zero.
	Error string `json:"error,omitempty"`

	Viewers       float64 `json:"viewers"`         // media seconds sent per second
	BitsPerSecond float64 `json:"bits_per_second"` // sent to viewers and relays
	UptimeSeconds float64 `json:"uptime_seconds"`

	// Parent is the address of the node that feeds it; "" of none.
	Parent string `json:"parent"`

	// LagSeconds is the age of the newest media: from its end to now. Nil when
	// there is none.
	LagSeconds *float64 `json:"lag_seconds"`
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

// writeTable prints the pool for people.
func (s *poolStatus) writeTable(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  NODE\tROLE\tSTATE\tADDRESS\tVIEWERS\tMBIT/S\tLAG\tVERSION")
	for _, n := range s.Nodes {
		mark := " "
		if n.Name == s.Asked {
			mark = "*"
		}
		fmt.Fprintf(table, "%s %s\t%s\t%s\t%s\t%s\t%s\n", mark, short(n.Name), n.Role, n.State, n.Address, n.figures(), n.Version)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", s.summary())
	return err
}

func (n nodeStatus) figures() string {
	if n.Error != "" {
		return "-\t-\tno answer"
	}
	lag := "-"
	if n.LagSeconds != nil {
		lag = fmt.Sprintf("%.0f ms", *n.LagSeconds*1000)
	}
	return fmt.Sprintf("%.0f\t%.1f\t%s", n.Viewers, n.BitsPerSecond/1e6, lag)
}

// summary is the line under the table.
func (s *poolStatus) summary() string {
	if s.Isolated {
		return "* was asked. It sees no other node: check its seeds and the network."
	}
	serving, silent := 0, 0
	var viewers, bits float64
	for _, n := range s.Nodes {
		if n.Role == "relay" && n.State == "serving" {
			serving++
		}
		if n.Error != "" {
			silent++
		}
		viewers += n.Viewers
		bits += n.BitsPerSecond
	}
	text := fmt.Sprintf("* was asked. %s serving, %s, %.1f Mbit/s in all.",
		count(serving, "relay"), count(int(math.Round(viewers)), "viewer"), bits/1e6)
	if silent > 0 {
		text += fmt.Sprintf(" %s did not answer within %v.", count(silent, "node"), memberAnswerBound)
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short is enough of a node's random name to tell it from the others.
func short(name string) string { return name[:min(8, len(name))] }
