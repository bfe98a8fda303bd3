package main

import (
	"context"
	"errors"
	"io"
	"os"
)

// childFlags are for nodes that the demo starts.
type childFlags struct {
	UntilEOF bool `hidden:"" name:"until-eof" help:"End when standard input ends, as it does when the parent is gone."`
}

// errParentEnded is why a demo's node ends that nobody told to.
var errParentEnded = errors.New("the demo is gone")

// untilParentEnds returns a context that also ends when the parent process is
// gone, however it went: its end of the pipe is closed then.
func (c childFlags) untilParentEnds(ctx context.Context) context.Context {
	if !c.UntilEOF {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with the process: a read of standard input can't be given up
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(errParentEnded)
	}()
	return ctx
}
