package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// protocol is how viewers speak to a server.
type protocol string

const (
	plain   protocol = "h1"
	secured protocol = "h1+tls"
	h2      protocol = "h2"
)

// runTime is how long one run asks; maxBusy is how busy the load may be, as a
// share of its core: beyond it, it is the load that is measured.
const (
	runTime = 700 * time.Millisecond
	maxBusy = 0.9
)

// answers is what a load generator saw.
type answers struct {
	requests int
	failed   int
	busy     float64 // the load's share of its core
}

// load asks a server for one URL again and again over conns connections, each
// with one request at a time, for runTime. The generators cost as little as can
// be: our own, which leaves bodies unread, for HTTP/1.1, and h2load for HTTP/2.
func load(ctx context.Context, over protocol, url string, conns int) (answers, error) {
	connections, lasting := strconv.Itoa(conns), runTime.String()
	if over == h2 {
		return generate(ctx, parseH2load, "h2load", "-t", "1", "-c", connections, "-m", "1", "-D", lasting, url)
	}
	self, err := os.Executable()
	if err != nil {
		return answers{}, err
	}
	return generate(ctx, parseHammer, self, "hammer", "-conns", connections, "-for", lasting, "-url", url)
}

// generate runs a load generator on the load's core.
func generate(ctx context.Context, parse func(string) (answers, error), arguments ...string) (answers, error) {
	if _, err := exec.LookPath("taskset"); err == nil {
		arguments = append([]string{"taskset", "-c", string(loadCore)}, arguments...)
	}
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	began := time.Now()
	text, err := command.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return answers{}, fmt.Errorf("%s: %w: %s", strings.Join(arguments, " "), err, text)
	}
	a, err := parse(string(text))
	if err != nil {
		return a, fmt.Errorf("%s: %w: %s", strings.Join(arguments, " "), err, text)
	}
	if a.failed > 0 {
		return a, fmt.Errorf("%d of %d answers are errors: %s: %s", a.failed, a.requests, strings.Join(arguments, " "), text)
	}
	a.busy = float64(command.ProcessState.UserTime()+command.ProcessState.SystemTime()) / float64(took)
	return a, nil
}

// parseHammer reads what our own generator prints.
func parseHammer(text string) (answers, error) {
	var h hammered
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return answers{}, fmt.Errorf("%w: %w", errNoCount, err)
	}
	return answers{requests: h.Requests, failed: h.Failed}, nil
}

var (
	h2Done   = regexp.MustCompile(`requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed`)
	h2Status = regexp.MustCompile(`status codes: (\d+) 2xx`)
)

var errNoCount = errors.New("the load generator's count is not to be found")

// parseH2load reads what h2load prints at its end.
func parseH2load(text string) (answers, error) {
	done, err := numbers(h2Done, text)
	if err != nil {
		return answers{}, err
	}
	good, err := numbers(h2Status, text)
	if err != nil {
		return answers{}, err
	}
	// What the end of the run cut off is not done; its head may be counted as a
	// good status.
	return answers{requests: done[0], failed: done[1] + max(0, done[0]-good[0])}, nil
}

// numbers are the groups of a pattern's first match.
func numbers(pattern *regexp.Regexp, text string) ([]int, error) {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		return nil, errNoCount
	}
	all := make([]int, len(match)-1)
	for i, group := range match[1:] {
		n, err := strconv.Atoi(group)
		if err != nil {
			return nil, errNoCount
		}
		all[i] = n
	}
	return all, nil
}
