package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// nginxConfig is what nginx runs with.
//
//go:embed nginx.conf
var nginxConfig []byte

// Where nginx listens; the ports are those of nginx.conf.
const (
	nginxHost       = "127.0.0.5"
	nginxSecurePort = "18443"
	nginxH2Port     = "18444"
)

// nginx is an nginx with one worker on the server's core.
type nginx struct {
	*process
	dir    string
	worker int // its process id
}

// newNginx makes its folder below dir, with its settings.
func newNginx(dir string, config []byte) (*nginx, error) {
	n := &nginx{dir: filepath.Join(dir, "nginx")}
	// Its worker runs as a user of its own, and reads these.
	for _, folder := range []string{dir, n.dir, filepath.Join(n.dir, "root")} {
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.Chmod(folder, 0o755)); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), config, 0o644); err != nil {
		return nil, err
	}
	_, err := newCredentials(n.dir)
	return n, err
}

// startNginx starts it, and waits for its worker.
func startNginx(ctx context.Context, dir string, config []byte) (*nginx, error) {
	n, err := newNginx(dir, config)
	if err != nil {
		return nil, err
	}
	if n.process, err = startProcess(dir, "nginx", serverCore, "nginx", "-p", n.dir, "-c", "nginx.conf"); err != nil {
		return nil, err
	}
	if err := n.await(ctx); err != nil {
		n.end()
		return nil, err
	}
	return n, nil
}

// await waits for the worker.
func (n *nginx) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("nginx has no worker: see "+n.log))
	defer cancel()
	for {
		if n.worker = childOf(n.pid()); n.worker != 0 {
			return nil
		}
		if err := errors.Join(n.alive(), pause(ctx, 50*time.Millisecond)); err != nil {
			return err
		}
	}
}

// childOf returns a child of a process, 0 when there is none.
func childOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	child, _ := strconv.Atoi(first) // none: 0
	return child
}

// put gives nginx a file to serve.
func (n *nginx) put(path string, body []byte) error {
	file := filepath.Join(n.dir, "root", filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}
