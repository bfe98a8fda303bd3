package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Where the nodes listen: ports of their own, so that a demo may run beside.
const (
	originHost = "127.0.0.1"
	relayHost  = "127.0.0.2"
	secondHost = "127.0.0.3"
	viewerPort = "18080"
	securePort = "18443"
	rtspPort   = "18554"
)

// poolPorts are the samples' keys with the ports that the bench gives them.
var poolPorts = []setting{
	{"ports.viewers", viewerPort},
	{"ports.gossip", "17946"},
	{"ports.api", "19090"},
	{"rtsp.port", rtspPort},
	{"rtsp.rtp_port", "18000"},
	{"rtsp.rtcp_port", "18001"},
}

// poolSpec says which pool to start: one origin, one relay.
type poolSpec struct {
	streams []streamSpec
	window  time.Duration
	relayOn core
	chain   bool // a second relay, filled by the first
	young   bool // the lists need not have come to their size
}

// streamSpec is a stream and the film that is pushed to it.
type streamSpec struct {
	name         string
	target, part time.Duration
	film         clip
}

// pool is one origin and one relay that this program started.
type pool struct {
	dir           string
	origin, relay *node
	second        *node // a relay that is filled by the relay; nil where there is no such thing
	feeds         []*process
	tls           *credentials // nil when the relay has no TLS
	bearer        string       // lets us ask the origin as a node of the pool
}

// startPool starts the nodes and the feeds, and waits until the relay has a
// filled window of each stream.
func startPool(ctx context.Context, binary string, spec poolSpec) (*pool, error) {
	dir, err := os.MkdirTemp("", "surgecast-bench-")
	if err != nil {
		return nil, err
	}
	p := &pool{dir: dir}
	if err := p.start(ctx, binary, spec); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *pool) start(ctx context.Context, binary string, spec poolSpec) (err error) {
	if text, err := exec.CommandContext(ctx, binary, "init", p.dir, "--stream", spec.streams[0].name).CombinedOutput(); err != nil {
		return fmt.Errorf("make the pool's files: %w: %s", err, text)
	}
	if err := p.configure(spec); err != nil {
		return err
	}
	if p.origin, err = startNode(ctx, p.dir, binary, "origin", originHost, "origin", loadCore); err != nil {
		return err
	}
	if err := p.feed(binary, spec); err != nil {
		return err
	}
	if p.relay, err = startNode(ctx, p.dir, binary, "relay", relayHost, "relay", spec.relayOn); err != nil {
		return err
	}
	if err := p.startSecond(ctx, binary, spec); err != nil {
		return err
	}
	return p.awaitWindow(ctx, spec)
}

// startSecond starts a relay of the relay, if that is asked for.
func (p *pool) startSecond(ctx context.Context, binary string, spec poolSpec) (err error) {
	if !spec.chain {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "relay.yaml"))
	if err != nil {
		return err
	}
	file := filepath.Join(p.dir, "second.yaml")
	second := set(string(text), []setting{{"parents", fmt.Sprintf("[%s:%s]", relayHost, viewerPort)}})
	if err := os.WriteFile(file, []byte(second), 0o600); err != nil {
		return err
	}
	p.second, err = startNode(ctx, p.dir, binary, "relay", secondHost, "second", loadCore)
	return err
}

// configure gives the samples the bench's ports, window and streams.
func (p *pool) configure(spec poolSpec) (err error) {
	first := spec.streams[0]
	of := append([]setting{{"window", spec.window.String()}, {"target_duration", first.target.String()}, {"part", first.part.String()}, {"drain", "0s"}}, poolPorts...)
	var more strings.Builder
	for _, s := range spec.streams[1:] {
		fmt.Fprintf(&more, "  - name: %s\n    publish_key_file: %s.key\n    target_duration: %v\n    part: %v\n", s.name, first.name, s.target, s.part)
	}
	if err := rewrite(filepath.Join(p.dir, "origin.yaml"), of, more.String()); err != nil {
		return err
	}
	relay := filepath.Join(p.dir, "relay.yaml")
	if err := rewrite(relay, append([]setting{{"seeds", `["127.0.0.1:17946"]`}, {"drain", "0s"}}, poolPorts...), ""); err != nil {
		return err
	}
	p.tls, err = secure(p.dir, relay)
	if err != nil {
		return err
	}
	p.bearer, err = bearer(filepath.Join(p.dir, "pool.secret"))
	return err
}

// feed pushes the films.
func (p *pool) feed(binary string, spec poolSpec) error {
	key, err := os.ReadFile(filepath.Join(p.dir, spec.streams[0].name+".key"))
	if err != nil {
		return err
	}
	for _, s := range spec.streams {
		url := fmt.Sprintf("rtsp://publish:%s@%s:%s/%s", strings.TrimSpace(string(key)), originHost, rtspPort, s.name)
		feed, err := s.film.push(p.dir, binary, s.name, url)
		if err != nil {
			return err
		}
		p.feeds = append(p.feeds, feed)
	}
	return nil
}

// startPatience bounds the wait for a stream that plays.
const startPatience = 60 * time.Second

// awaitWindow waits until the relay's lists have come to their size.
func (p *pool) awaitWindow(ctx context.Context, spec poolSpec) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("no stream came up: look at the logs in "+p.dir))
	defer cancel()
	for _, s := range spec.streams {
		for _, base := range p.relays() {
			for !isThere(ctx, base+"/"+s.name+"/main/live.m3u8") {
				if err := errors.Join(p.alive(), pause(ctx, 100*time.Millisecond)); err != nil {
					return err
				}
			}
		}
	}
	if spec.young {
		return nil
	}
	return pause(ctx, min(spec.window+2*time.Second, 15*time.Second))
}

// relays that were started.
func (p *pool) relays() []string {
	if p.second == nil {
		return []string{relayURL}
	}
	return []string{relayURL, secondURL}
}

// isThere tells whether a URL is answered with 200.
func isThere(ctx context.Context, url string) bool {
	_, _, err := fetch(ctx, url, "")
	return err == nil
}

// protocols that the relay speaks.
func (p *pool) protocols() []protocol {
	if p.tls == nil {
		return []protocol{plain}
	}
	return []protocol{plain, secured, h2}
}

// alive returns an error when something has ended that should run.
func (p *pool) alive() error {
	var err error
	for _, feed := range p.feeds {
		err = errors.Join(err, feed.alive())
	}
	return errors.Join(err, p.origin.alive(), p.relay.alive(), p.second.alive())
}

// stop ends all and removes the folder.
func (p *pool) stop() error {
	for _, feed := range p.feeds {
		feed.end()
	}
	p.second.stop()
	p.relay.stop()
	p.origin.stop()
	return os.RemoveAll(p.dir)
}

// bearer is what a node of the pool shows to another.
func bearer(file string) (string, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	info := "surgecast node to node " + time.Now().UTC().Format(time.DateOnly)
	key, err := hkdf.Key(sha256.New, []byte(strings.TrimSpace(string(secret))), nil, info, 32)
	return "Bearer " + hex.EncodeToString(key), err
}

// Where viewers ask.
const (
	secondURL      = "http://" + secondHost + ":" + viewerPort
	originURL      = "http://" + originHost + ":" + viewerPort
	relayURL       = "http://" + relayHost + ":" + viewerPort
	secureRelayURL = "https://" + relayHost + ":" + securePort
)

// pause waits for d, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
