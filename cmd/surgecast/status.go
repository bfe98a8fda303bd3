package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// statusCmd shows the pool as one of its nodes sees it.
type statusCmd struct {
	Dir     string `help:"Data folder of a node on this machine, or a folder above several: one that answers is asked. Default: here." xor:"node" placeholder:"DIR" default:"."`
	Node    string `help:"URL of a node's private API, such as http://192.0.2.10:9090." placeholder:"URL"`
	KeyFile string `help:"File with the API's key: a copy of the api.json in the node's data folder, or the bare token." placeholder:"FILE"`
	JSON    bool   `help:"Print JSON, for programs."`
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
	ctx, cancel := context.WithTimeout(ctx, askStatusBound)
	defer cancel()
	status, err := c.ask(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(status)
	}
	return status.writeTable(out)
}

// askStatusBound is longer than the node's own bound for asking the others.
const askStatusBound = 5 * time.Second

func (c *statusCmd) ask(ctx context.Context) (*poolStatus, error) {
	if c.Node != "" {
		if c.KeyFile == "" {
			return nil, errors.New("--node needs --key-file: a copy of the api.json in that node's data folder")
		}
		token, err := readToken(c.KeyFile)
		if err != nil {
			return nil, err
		}
		return fetchStatus(ctx, apiFile{URL: c.Node, Token: token})
	}
	found, err := findAPIs(c.Dir)
	if err != nil {
		return nil, err
	}
	return askFirst(ctx, c.Dir, found)
}

// askFirst asks the nodes in turn until one answers: of those whose folder is
// there, some may have been killed.
func askFirst(ctx context.Context, dir string, found []apiFile) (*poolStatus, error) {
	var last error
	for _, api := range found {
		status, err := fetchStatus(ctx, api)
		if err == nil {
			return status, nil
		}
		last = err
	}
	return nil, fmt.Errorf("no node that keeps its data in %s is running: %w", dir, last)
}

// findAPIs looks for api.json in dir and two folders below it: dir may be a
// node's own folder, the state folder, or that of a whole demo.
func findAPIs(dir string) ([]apiFile, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("there is no folder %s: --dir names a node's data folder or one above it", dir)
	}
	var found []apiFile
	var denied error
	for _, pattern := range []string{"", "*", "*/*"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern, apiFileName)) // the patterns are well-formed
		for _, name := range names {
			api, err := readAPIFile(name)
			if errors.Is(err, fs.ErrPermission) {
				denied = fmt.Errorf("this user may not read %s: ask as the user that runs the node", name)
			}
			if err == nil {
				found = append(found, api)
			}
		}
	}
	if len(found) == 0 && denied != nil {
		return nil, denied
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no node is running that keeps its data in %s (no %s in it): start one, or name its folder with --dir", dir, apiFileName)
	}
	return found, nil
}

func readAPIFile(name string) (apiFile, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return apiFile{}, err
	}
	var api apiFile
	if err := json.Unmarshal(text, &api); err != nil {
		return apiFile{}, fmt.Errorf("read %s: %w", name, err)
	}
	return api, nil
}

// readToken reads a key file: an api.json, or the token alone.
func readToken(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("--key-file: %w", err)
	}
	var api apiFile
	if err := json.Unmarshal(text, &api); err == nil && api.Token != "" {
		return api.Token, nil
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \n{") {
		return "", fmt.Errorf("--key-file: %s holds no key: take a copy of the api.json in the node's data folder", name)
	}
	return token, nil
}

// fetchStatus asks a private API.
func fetchStatus(ctx context.Context, api apiFile) (*poolStatus, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(api.URL, "/")+"/status", nil)
	if err != nil {
		return nil, fmt.Errorf("--node: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+api.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask node: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusUnauthorized {
		return nil, fmt.Errorf("%s does not take this key: it is made anew at each start of the node, copy its api.json again", api.URL)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: is this a node's private API?", api.URL, response.Status)
	}
	var status poolStatus
	if err := json.NewDecoder(io.LimitReader(response.Body, maxStatusBytes)).Decode(&status); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", api.URL, err)
	}
	return &status, nil
}

// maxStatusBytes bounds an answer: some thousands of nodes fit in.
const maxStatusBytes = 4 << 20

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

	// Error says why the node's own figures are missing; then those below are
	// zero.
	Error string `json:"error,omitempty"`

	Viewers       float64 `json:"viewers"`         // media seconds sent per second
	BitsPerSecond float64 `json:"bits_per_second"` // sent to viewers and relays
	UptimeSeconds float64 `json:"uptime_seconds"`

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
