package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is a node that the demo runs as a process of its own, so that it can
// be killed like a machine.
type child struct {
	Role  string
	Place demoPlace
	Log   string // file

	process *exec.Cmd
	leash   io.Closer     // closed, it tells the child to end; our death closes it too
	ended   chan struct{} // closed when the process has ended
	err     error         // how it ended; read after ended
}

// endBound is longer than a node takes to drain and leave.
const endBound = 8 * time.Second

// startChild starts a node. It does not share our process group: Ctrl-C ends
// the demo, and the demo then ends its nodes in order.
func startChild(role string, place demoPlace, logs string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	c := &child{Role: role, Place: place, ended: make(chan struct{})}
	c.Log = filepath.Join(logs, fmt.Sprintf("%s-%s.log", role, place.Address))
	if place.Viewers != defaultViewerPort {
		c.Log = filepath.Join(logs, fmt.Sprintf("%s-%d.log", role, place.Viewers))
	}
	log, err := openLog(c.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	c.process = exec.Command(self, role, "--config", place.Config, "--address", place.Address.String(), "--until-eof")
	c.process.Stdout, c.process.Stderr = log, log
	c.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.leash, err = c.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	if err := c.process.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	go func() { // waited for by End
		c.err = c.process.Wait()
		close(c.ended)
	}()
	return c, nil
}

// openLog opens a log to add to: a demo in the same folder goes on in it.
func openLog(name string) (*os.File, error) {
	log, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return log, nil
}

// PID is the id of the process.
func (c *child) PID() int { return c.process.Process.Pid }

// Name is how a person tells the node from the others.
func (c *child) Name() string {
	if c.Place.Viewers != defaultViewerPort {
		return fmt.Sprintf("%s %s:%d", c.Role, c.Place.Address, c.Place.Viewers)
	}
	return fmt.Sprintf("%s %s", c.Role, c.Place.Address)
}

// End asks the node to end and waits for it; one that does not is killed.
func (c *child) End() {
	_ = c.process.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	c.leash.Close()
	select {
	case <-c.ended:
	case <-time.After(endBound):
		_ = c.process.Process.Kill()
		<-c.ended
	}
}

// how says how an ended child ended.
func (c *child) how() string {
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return fmt.Sprintf("was ended by a signal (%s)", status.Signal())
		}
		return fmt.Sprintf("failed: %s", c.lastWords())
	}
	return "ended by itself"
}

// lastWords are the last line of the log.
func (c *child) lastWords() string {
	text, err := os.ReadFile(c.Log)
	if err != nil {
		return "see " + c.Log
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(lines[len(lines)-1])
}
