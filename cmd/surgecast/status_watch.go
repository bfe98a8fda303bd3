package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// watchInterval is from one picture of the pool to the next.
const watchInterval = time.Second

// watch prints the pool again and again until ctx ends. A terminal is drawn
// over, without flicker; elsewhere one picture follows the other.
func (c *statusCmd) watch(ctx context.Context, out io.Writer) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	first := true
	for {
		status, err := c.status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err // nothing was ever seen: most likely the command is wrong
		case err == nil && c.JSON:
			if err := json.NewEncoder(out).Encode(status); err != nil {
				return err
			}
		case !c.JSON:
			if err := c.draw(out, status, err, first); err != nil {
				return err
			}
		}
		first = false
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// draw prints one picture, or why there is none.
func (c *statusCmd) draw(out io.Writer, status *poolStatus, asking error, first bool) error {
	on := terminalOf(out)
	var picture bytes.Buffer
	fmt.Fprintf(&picture, "%s\n\n", time.Now().Format("15:04:05"))
	if asking != nil {
		fmt.Fprintf(&picture, "%s\n", on.paint(red, fold(asking.Error(), on.width)))
	} else if err := status.writeTable(&picture, on); err != nil {
		return err
	}
	text := picture.String()
	if on.tty {
		start := "\x1b[H" // home
		if first {
			start = "\x1b[2J\x1b[H"
		}
		// Each line clears what was longer before, the end what was below.
		text = start + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
	} else if !first {
		text = "\n" + text
	}
	_, err := io.WriteString(out, text)
	return err
}
