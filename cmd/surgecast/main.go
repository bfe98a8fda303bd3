// Command surgecast takes a live feed from one place to any number of viewers:
// an origin packages it once, relays fetch and serve it, and the pool of
// relays grows by cloning.
//
// It is the only package that knows all the others. They are joined here by
// small functions, so that each can be understood alone:
//
//	cmd/surgecast ─▶ origin ─▶ relay
//	              ├▶ relay
//	              └▶ cluster
//
// Each subcommand is a file; the wiring of a node reads as its boot order.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands are the subcommands, in the order in which --help shows them.
type commands struct {
	Demo demoCmd `cmd:"" group:"try" help:"Run a whole pool on this machine and play a clip through it."`
	Feed FeedCmd `cmd:"" group:"try" help:"Push the built-in clip to an origin, again and again."`

	Init   initCmd   `cmd:"" group:"run" help:"Write the configurations and secrets of a new pool."`
	Origin originCmd `cmd:"" group:"run" help:"Take the feed, package it, tell the relays."`
	Relay  relayCmd  `cmd:"" group:"run" help:"Fetch what the origin packages and serve viewers."`

	Nameserver nameserverCmd `cmd:"" group:"run" help:"Answer DNS for the pool's zone, without media."`
	Delegation delegationCmd `cmd:"" group:"run" help:"Print what the zone above must say, and check that it does."`

	Status  statusCmd  `cmd:"" group:"watch" help:"Show the nodes of the pool, their state and load."`
	Mark    markCmd    `cmd:"" group:"watch" help:"Mark a moment or a time in a stream's lists."`
	Switch  switchCmd  `cmd:"" group:"watch" help:"Put the other input of a stream on air."`
	Slate   slateCmd   `cmd:"" group:"watch" help:"Show a picture in place of a stream's feed, and keep such pictures."`
	End     endCmd     `cmd:"" group:"watch" help:"End a stream for good."`
	Drain   drainCmd   `cmd:"" group:"watch" help:"Take a relay out of service without a viewer noticing."`
	Undrain undrainCmd `cmd:"" group:"watch" help:"Take a drained relay into service again."`
	Version versionCmd `cmd:"" group:"watch" help:"Show what this binary is."`

	CallSRT callSRTCmd `cmd:"" hidden:"" name:"call-srt" help:"Call by SRT for an origin."`
}

const summary = `surgecast takes a live feed from one place to any number of viewers.

See it work: "surgecast demo". Run a pool of your own: "surgecast init DIR" says the rest.
Each command explains itself: "surgecast COMMAND --help".

Exit status: 0 when all went well, 1 when something failed, 2 when the command line or a configuration is wrong.`

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	// A second signal ends the process at once: the first has restored what
	// signals do by themselves.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	parser, err := newParser(os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "surgecast: %v\n", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "surgecast: %v (see \"surgecast --help\")\n", err)
		return exitUsage
	}
	bind(ctx, command, os.Stdout)
	if err := command.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "surgecast: %v\n", err)
		if configuration := (*configError)(nil); errors.As(err, &configuration) {
			return exitUsage
		}
		return exitFailed
	}
	return 0
}

// bind gives a command what its Run takes.
func bind(ctx context.Context, command *kong.Context, out io.Writer) {
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(out, (*io.Writer)(nil))
}

func newParser(out, errors io.Writer) (*kong.Kong, error) {
	return kong.New(&commands{},
		kong.Name("surgecast"),
		kong.Description(summary),
		kong.Writers(out, errors),
		kong.ExplicitGroups([]kong.Group{
			{Key: "try", Title: "Try it:"},
			{Key: "run", Title: "Run a pool:"},
			{Key: "watch", Title: "Look after it:"},
		}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoAppDescFormat: true, WrapUpperBound: 90}),
	)
}
