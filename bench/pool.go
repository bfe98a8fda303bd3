package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where the demo listens.
const (
	originURL = "http://127.0.0.1:8080"
	relayIP   = "127.0.0.2"
	relayURL  = "http://" + relayIP + ":8080"
	rendition = "/theatre/main/"
)

// pool is a demo that this program started.
type pool struct {
	command  *exec.Cmd
	dir      string
	relayPID int
	bearer   string // lets us ask the origin as a node of the pool
}

// startPool starts the demo and waits until its first relay has a filled
// window.
func startPool(ctx context.Context, binary string) (*pool, error) {
	if conn, err := net.DialTimeout("tcp", relayIP+":8080", time.Second); err == nil {
		conn.Close()
		return nil, errors.New("something listens on " + relayIP + ":8080 already: end it first, a demo perhaps")
	}
	dir, err := os.MkdirTemp("", "surgecast-bench-")
	if err != nil {
		return nil, err
	}
	p := &pool{dir: dir, command: exec.Command(binary, "demo", "--dir", dir)}
	p.command.Stderr = os.Stderr
	if err := p.command.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// startPatience bounds the wait for a stream that plays; fillTime is how long
// the stream runs before anything is measured, so that lists have their size.
const (
	startPatience = 60 * time.Second
	fillTime      = 20 * time.Second
)

func (p *pool) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("the demo did not come up: are its ports in use?"))
	defer cancel()
	for {
		if response, err := http.Get(relayURL + rendition + "live.m3u8"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	if err := p.readState(); err != nil {
		return err
	}
	return pause(ctx, fillTime)
}

// readState reads what an operator on this machine could read.
func (p *pool) readState() error {
	text, err := os.ReadFile(filepath.Join(p.dir, "state", relayIP, "api.json"))
	if err != nil {
		return err
	}
	var api struct{ PID int }
	if err := json.Unmarshal(text, &api); err != nil {
		return fmt.Errorf("read api.json: %w", err)
	}
	p.relayPID = api.PID
	secret, err := os.ReadFile(filepath.Join(p.dir, "pool.secret"))
	if err != nil {
		return err
	}
	info := "surgecast node to node " + time.Now().UTC().Format(time.DateOnly)
	key, err := hkdf.Key(sha256.New, []byte(strings.TrimSpace(string(secret))), nil, info, 32)
	p.bearer = "Bearer " + hex.EncodeToString(key)
	return err
}

// stop ends the demo and removes its folder.
func (p *pool) stop() error {
	// An error here means that it has ended already.
	_ = p.command.Process.Signal(syscall.SIGINT)
	err := p.command.Wait()
	return errors.Join(err, os.RemoveAll(p.dir))
}

// pause waits for d, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
