package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// drainCmd takes a relay out of service.
type drainCmd struct {
	Target string `arg:"" optional:"" name:"relay" help:"Name of the relay as status shows it, or its address. Default: the node that is asked."`
	apiFlags
}

// Help is shown by --help.
func (*drainCmd) Help() string {
	return `The relay leaves DNS, goes on serving those who watch for the "drain:" time of its
configuration (120s), sends new viewers to the others, then leaves the pool and
ends. When it is started again it stays out of service until it is undrained.
Any node may be asked; it passes the order on. To restart a relay this is not
needed: it drains at SIGTERM too, and is in service again when it comes back.

	surgecast drain 3f9a01c2 --dir ~/evening
	surgecast drain 192.0.2.14 --node http://192.0.2.10:9090 --key-file api.json`
}

// Run gives the order and says what follows.
func (c *drainCmd) Run(ctx context.Context, out io.Writer) error {
	a, err := c.order(ctx, c.Target, true)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s drains: it gets no new viewers, and ends in %v.\n", a.who(), time.Duration(a.Seconds*float64(time.Second)))
	if a.Seconds == 0 {
		text = fmt.Sprintf("%s serves nobody: it ends now.\n", a.who())
	}
	if a.Others == 0 {
		text += "No other relay serves: new viewers still come here, and have nowhere to go then.\n"
	}
	_, err = fmt.Fprint(out, text+"It stays out of service until \"surgecast undrain\".\n")
	return err
}

// undrainCmd takes a relay into service again.
type undrainCmd struct {
	Target string `arg:"" optional:"" name:"relay" help:"Name of the relay as status shows it, or its address. Default: the node that is asked."`
	apiFlags
}

// Help is shown by --help.
func (*undrainCmd) Help() string {
	return `The relay fetches what it lacks, proves that it serves, and is listed again. It
must be running: of one that has ended, start it first.

	surgecast undrain 3f9a01c2 --dir ~/evening`
}

// Run gives the order.
func (c *undrainCmd) Run(ctx context.Context, out io.Writer) error {
	a, err := c.order(ctx, c.Target, false)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is in service again when it has proved itself: see \"surgecast status\".\n", a.who())
	return err
}

// order asks a node to drain, or not to.
func (f apiFlags) order(ctx context.Context, target string, drain bool) (a drainAnswer, err error) {
	if target == "" && f.Node == "" {
		found, err := findAPIs(f.Dir)
		if err != nil {
			return a, err
		}
		if len(found) > 1 {
			return a, fmt.Errorf("several nodes keep their data in %s: name the relay, as \"surgecast status\" shows it", f.Dir)
		}
	}
	err = f.ask(ctx, apiRequest{Method: http.MethodPost, Path: "/drain", Body: drainRequest{Target: target, Drain: drain}}, &a)
	return a, err
}

// drainRequest is what POST /drain of the private API takes.
type drainRequest struct {
	Target string `json:"target"` // the beginning of a name, or an address; "": the node that is asked
	Drain  bool   `json:"drain"`  // false: to be in service again
}

// drainAnswer is how the node stands after an order.
type drainAnswer struct {
	Name    string  `json:"name"`
	Address string  `json:"address"`
	Drains  bool    `json:"drains"`
	Seconds float64 `json:"seconds"` // until it ends
	Others  int     `json:"others"`  // relays that serve beside it
}

func (a drainAnswer) who() string { return fmt.Sprintf("Relay %s (%s)", a.Address, short(a.Name)) }
