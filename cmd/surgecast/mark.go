package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"surgecast/relay"
)

// markCmd says something about a range of dates of a stream.
type markCmd struct {
	Stream   string            `arg:"" help:"Name of the stream."`
	Class    string            `required:"" help:"What kind of thing is marked, a name of your own such as org.example.incision."`
	ID       string            `name:"id" help:"Name of this mark, never used before in this stream. Default: a random one." placeholder:"NAME"`
	Start    time.Time         `help:"When it begins, such as 2026-03-01T20:15:00Z. Default: now." placeholder:"TIME"`
	Duration time.Duration     `help:"How long it is. Default: 0s, a moment." placeholder:"DURATION" xor:"length"`
	Open     bool              `help:"Its end is not known: it stays listed as long as the stream." xor:"length"`
	With     map[string]string `help:"A further attribute; the name begins with X-, your own domain backwards should follow. May be said again." placeholder:"X-NAME=TEXT" mapsep:"none"`
	apiFlags
}

// Help is shown by --help.
func (*markCmd) Help() string {
	return `Adds an EXT-X-DATERANGE to all lists of the stream, with its next part; players
and portals find it there by its class. It stays listed while any of its time is
in the live window. The origin is asked, by its private API: on its own machine
--dir finds it.

	surgecast mark theatre --class org.example.incision --dir ~/evening
	surgecast mark theatre --class org.example.step --duration 90s --with X-ORG-EXAMPLE-STEP=suture
	surgecast mark theatre --class org.example.break --start 2026-03-01T20:15:00Z --open

A mark can't be changed or taken back. Write nothing into it that viewers are not
to read.`
}

// Validate says what can't be marked.
func (c *markCmd) Validate() error {
	if c.Duration < 0 {
		return fmt.Errorf("--duration: %v is negative", c.Duration)
	}
	return relay.ValidStream(c.Stream)
}

// Run asks the origin and says how the mark stands there.
func (c *markCmd) Run(ctx context.Context, out io.Writer) error {
	m := markRequest{
		Class: c.Class, ID: c.ID, Start: c.Start,
		DurationSeconds: c.Duration.Seconds(), Open: c.Open, Attributes: c.With,
	}
	var a markAnswer
	if err := c.ask(ctx, m.request(c.Stream), &a); err != nil {
		return err
	}
	length := "a moment"
	switch {
	case c.Open:
		length = "without an end"
	case c.Duration > 0:
		length = fmt.Sprintf("%v long", c.Duration)
	}
	_, err := fmt.Fprintf(out, "Marked %s: %s, from %s, %s.\n", c.Stream, a.ID, a.Start.Format("2006-01-02T15:04:05.000Z07:00"), length)
	return err
}
