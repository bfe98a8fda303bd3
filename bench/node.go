package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is an origin or a relay that this program started.
type node struct {
	*process
	api struct {
		URL   string
		Token string
		PID   int
	}
}

// startNode starts a node, whose configuration is NAME.yaml, and waits until its private API can be asked.
func startNode(ctx context.Context, dir, binary, role, address, name string, on core) (*node, error) {
	return startNodeAs(ctx, dir, []string{binary}, role, address, name, on)
}

// startNodeAs is startNode with what stands before the program, as env does.
func startNodeAs(ctx context.Context, dir string, program []string, role, address, name string, on core) (*node, error) {
	arguments := slices.Concat(program[1:], []string{role, "--config", filepath.Join(dir, name+".yaml"), "--address", address})
	p, err := startProcess(dir, name, on, program[0], arguments...)
	if err != nil {
		return nil, err
	}
	n := &node{process: p}
	file := filepath.Join(dir, "state", address, "api.json")
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("%s did not come up: see %s", name, p.log))
	defer cancel()
	for {
		text, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(text, &n.api) == nil && n.api.PID == p.pid() {
			return n, nil
		}
		if err := errors.Join(p.alive(), pause(ctx, 50*time.Millisecond)); err != nil {
			p.end()
			return nil, err
		}
	}
}

// alive tells whether a node that was started still runs.
func (n *node) alive() error {
	if n == nil {
		return nil
	}
	return n.process.alive()
}

// stop ends a node, if it was started.
func (n *node) stop() {
	if n != nil {
		n.end()
	}
}

// metric asks the private API for one number.
func (n *node) metric(ctx context.Context, name string) (float64, error) {
	body, _, err := fetch(ctx, n.api.URL+"/metrics", "Bearer "+n.api.Token)
	if err != nil {
		return 0, err
	}
	return parseMetric(string(body), name)
}

// parseMetric finds the value of a metric without labels.
func parseMetric(text, name string) (float64, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
