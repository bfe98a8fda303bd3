package main

import (
	"context"
	"fmt"
	"io"

	"surgecast/relay"
)

// endCmd ends a stream.
type endCmd struct {
	Stream string `arg:"" help:"Name of the stream."`
	Yes    bool   `help:"Really: an end is final."`
	apiFlags
}

// Help is shown by --help.
func (*endCmd) Help() string {
	return `Ends the stream for good: its encoder is thrown out, its lists say that nothing
follows, players show the end, and one length of the list later it leaves all
relays. To begin it anew the origin has to be started again, which players see as
a new stream. An encoder that pauses needs none of this.

	surgecast end theatre --yes --dir ~/evening`
}

// Validate keeps a stream from being ended by mistake.
func (c *endCmd) Validate() error {
	if !c.Yes {
		return fmt.Errorf("an end is final: %s can be begun anew only by starting the origin again; say --yes to end it", c.Stream)
	}
	return relay.ValidStream(c.Stream)
}

// Run asks the origin.
func (c *endCmd) Run(ctx context.Context, out io.Writer) error {
	if err := c.ask(ctx, endRequest(c.Stream), &struct{}{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s has ended. Viewers see the rest of its list, then it leaves the relays.\n", c.Stream)
	return err
}
