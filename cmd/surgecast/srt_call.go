package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"surgecast/origin"
)

// callSRTCmd is the process that makes an SRT call for an origin: what to call is
// the first line of its standard input, as JSON, so that no secret is on a command
// line; what comes is its standard output. It ends with its input.
type callSRTCmd struct{}

func (callSRTCmd) Run(ctx context.Context, out io.Writer) error {
	var call origin.SRTCall
	input := json.NewDecoder(io.LimitReader(os.Stdin, 64<<10))
	if err := input.Decode(&call); err != nil {
		return fmt.Errorf("what to call: %w", err)
	}
	return call.Run(childFlags{UntilEOF: true}.untilParentEnds(ctx), out)
}

// srtProcess is such a process, as the origin sees it.
type srtProcess struct {
	io.ReadCloser // standard output
	process       *exec.Cmd
	input         io.Closer
	complaint     *firstBytes
}

// callSRT starts one, which ends with ctx.
func callSRT(ctx context.Context, call origin.SRTCall) (io.ReadCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("call by SRT: %w", err)
	}
	text, err := json.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("call by SRT: %w", err)
	}
	p := &srtProcess{process: exec.CommandContext(ctx, self, "call-srt"), complaint: &firstBytes{}}
	p.process.Stderr = p.complaint
	p.process.Cancel = func() error { return p.input.Close() } // so that it can hang up
	p.process.WaitDelay = time.Second                          // and is killed after this
	input, err := p.process.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("call by SRT: %w", err)
	}
	p.input = input
	if p.ReadCloser, err = p.process.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("call by SRT: %w", err)
	}
	if err := p.process.Start(); err != nil {
		return nil, fmt.Errorf("call by SRT: %w", err)
	}
	if _, err := input.Write(text); err != nil {
		return nil, errors.Join(fmt.Errorf("call by SRT: %w", err), p.Close())
	}
	return p, nil
}

// Close waits for the process, which must have been told to end, and returns what
// it said last.
func (p *srtProcess) Close() error {
	_ = p.input.Close()
	err := p.process.Wait()
	if said := strings.TrimSpace(p.complaint.String()); said != "" {
		return errors.New(strings.TrimPrefix(said, "surgecast: "))
	}
	return err
}

// firstBytes keeps the first 4 KiB that are written, and drops the rest.
type firstBytes struct{ bytes.Buffer }

func (f *firstBytes) Write(b []byte) (int, error) {
	_, _ = f.Buffer.Write(b[:min(len(b), max(0, 4<<10-f.Len()))]) // never fails
	return len(b), nil
}
