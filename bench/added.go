package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// addedResult is what "bench added" prints, as JSON: how long after the first
// node each of the others had a part whole, in milliseconds.
type addedResult struct {
	Parts int
	Added []spread // of the second node, the third …
}

// probe asks several nodes for the part that comes next, which they hold until
// they have it, and compares when its last byte came. One thread reads all
// answers, the first node's first: what it is late, it is late for all.
type probe struct {
	loop  *loop
	path  string // of the media playlist
	list  *line  // to the first node
	nodes []*line
	added []times
	fault error
}

// addedCommand is "bench added URL URL ...": media playlists of one stream,
// the node that has it first, first.
func addedCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("added", flag.ContinueOnError)
	parts := flags.Int("parts", 200, "how many parts to time")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	p, err := newProbe(flags.Args())
	if err != nil {
		return err
	}
	defer p.loop.stop()
	hint, err := p.hint(ctx, "")
	for range *parts {
		if err != nil {
			return err
		}
		hint, err = p.time(ctx, hint)
	}
	result := addedResult{Parts: *parts}
	for _, added := range p.added {
		result.Added = append(result.Added, added.spread())
	}
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(result))
}

func newProbe(urls []string) (*probe, error) {
	if len(urls) < 2 {
		return nil, errors.New("added needs two URLs or more")
	}
	p := &probe{added: make([]times, len(urls)-1)}
	for i, text := range urls {
		target, err := parseTarget(text)
		if err != nil {
			return nil, err
		}
		if p.loop == nil {
			if p.loop, err = newLoop(target.address.String(), browserFields); err != nil {
				return nil, err
			}
			p.path = target.path
			if p.list, err = p.loop.dial(netip.IPv4Unspecified(), target.address); err != nil {
				return nil, err
			}
		}
		node, err := p.loop.dial(netip.IPv4Unspecified(), target.address)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		p.nodes = append(p.nodes, node)
	}
	return p, nil
}

// hint asks the first node for a list and returns the part that comes after.
func (p *probe) hint(ctx context.Context, query string) (hint string, err error) {
	answered := false
	p.list.get(p.path+query, always, func(a *answer) {
		answered = true
		if err = good(a); err != nil {
			return
		}
		text := ""
		if text, err = a.text(); err == nil {
			hint = list{text}.hint()
		}
	})
	if err := p.loop.run(ctx, func() bool { return answered }); err != nil {
		return "", err
	}
	if hint == "" {
		err = errors.Join(err, ctx.Err(), errors.New("the first node's list has no preload hint"))
	}
	return hint, err
}

// time asks all nodes for one part.
func (p *probe) time(ctx context.Context, part string) (next string, err error) {
	came := make([]time.Time, len(p.nodes))
	missing := len(p.nodes)
	for i, node := range p.nodes {
		node.get(resolve(p.path, part), nil, func(a *answer) {
			missing--
			came[i] = a.last
			if a.err == nil && a.status != http.StatusOK {
				a.err = fmt.Errorf("node %d: status %d for %s", i, a.status, part)
			}
			p.fault = errors.Join(p.fault, a.err)
		})
	}
	if next, err = p.hint(ctx, directives(part)); err != nil {
		return "", err
	}
	if err := p.loop.run(ctx, func() bool { return missing == 0 || p.fault != nil }); err != nil {
		return "", err
	}
	for i := range p.added {
		p.added[i].add(came[i+1].Sub(came[0]))
	}
	return next, errors.Join(p.fault, ctx.Err())
}
