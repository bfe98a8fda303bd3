package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// child is this program again, as a load, in a process of its own. It speaks
// in lines of JSON, and is spoken to in empty ones.
type child struct {
	command *exec.Cmd
	lines   *bufio.Scanner
	input   io.WriteCloser
}

// startChild starts a load on a core.
func startChild(ctx context.Context, on core, arguments ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return runChild(ctx, on, append([]string{self}, arguments...))
}

// startHumbleChild starts a load that only gets what others leave of the core:
// it takes nothing from viewers, origin and feed that run beside it.
func startHumbleChild(ctx context.Context, on core, arguments ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return runChild(ctx, on, append([]string{"chrt", "--idle", "0", self}, arguments...))
}

func runChild(ctx context.Context, on core, arguments []string) (*child, error) {
	if _, err := exec.LookPath("taskset"); on != anyCore && err == nil {
		arguments = append([]string{"taskset", "-c", string(on)}, arguments...)
	}
	c := &child{command: exec.CommandContext(ctx, arguments[0], arguments[1:]...)}
	c.command.Stderr = os.Stderr
	in, err := c.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.input = in
	c.lines = bufio.NewScanner(out)
	c.lines.Buffer(nil, 1<<20)
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start load: %w", err)
	}
	return c, nil
}

// next reads the next line.
func (c *child) next(into any) error {
	if !c.lines.Scan() {
		if err := errors.Join(c.lines.Err(), c.command.Wait()); err != nil {
			return fmt.Errorf("the load ended: %w", err)
		}
		return fmt.Errorf("the load ended: %w", io.ErrUnexpectedEOF)
	}
	return json.Unmarshal(c.lines.Bytes(), into)
}

// say sends an empty line: what it means is the load's affair.
func (c *child) say() error {
	_, err := io.WriteString(c.input, "\n")
	return err
}

// wait waits until the load has ended by itself.
func (c *child) wait() error { return c.command.Wait() }

// kill ends a load that is not needed any more.
func (c *child) kill() {
	_ = c.command.Process.Kill() // it may have ended
	_ = c.command.Wait()
}
