package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// swarmCommand is "bench swarm": viewers of one stream. It prints a line of
// JSON when all have joined and the measuring begins, and one at the end.
func swarmCommand(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("swarm", flag.ContinueOnError)
	address := flags.String("url", "", "the multivariant playlist, http or https")
	viewers := flags.Int("viewers", 500, "how many")
	lasting := flags.Duration("for", 30*time.Second, "how long to measure, once all have joined")
	ramp := flags.Duration("ramp", 5*time.Second, "the time in which they join")
	http2 := flags.Bool("h2", false, "HTTP/2, with https")
	laps := flags.Bool("laps", false, "measure from line to line of the standard input, to its end, instead of once")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	target, err := parseTarget(*address)
	if err != nil {
		return err
	}
	if *http2 && !target.secure {
		return errors.New("-h2 needs an https URL")
	}
	s := &swarm{target: target, over: plain, tally: newTally(), out: os.Stdout, lists: map[string]*media{}}
	if target.secure {
		s.over = secured
	}
	if *http2 {
		s.over = h2
	}
	var lines <-chan struct{}
	if *laps {
		lines = linesOf(os.Stdin)
	}
	return s.run(ctx, *viewers, *ramp, *lasting, lines)
}

// settleTime lies between the last viewer's joining and the measuring.
const settleTime = 3 * time.Second

// run lets the viewers join and, when they have, measures for a time; with laps
// from one of them to the next instead, until no more come.
func (s *swarm) run(ctx context.Context, viewers int, ramp, lasting time.Duration, laps <-chan struct{}) (err error) {
	if s.loop, err = newLoop(s.target.address.String(), browserFields); err != nil {
		return err
	}
	defer s.loop.stop()
	for n := range viewers {
		v := &viewer{swarm: s, n: n}
		s.loop.after(ramp*time.Duration(n)/time.Duration(viewers), v.join)
	}
	var current lap
	ended := false
	s.loop.after(ramp+settleTime, func() {
		s.tally.measure()
		current = s.lap(viewers)
		fmt.Fprintln(s.out, `{"Event":"measuring"}`)
		if laps == nil {
			s.loop.after(lasting, func() { current.end(); ended = true })
		}
	})
	err = s.serve(ctx, func() bool {
		select {
		case _, more := <-laps:
			if ended = !more; more {
				current.end()
				*s.tally = *newTally()
				current = s.lap(viewers)
			}
		default:
		}
		return ended
	})
	if err == nil && !ended {
		err = context.Cause(ctx)
	}
	return err
}

// linesOf says when a line comes, and is closed at the end.
func linesOf(in io.Reader) <-chan struct{} {
	lines := make(chan struct{})
	go func() { // ends with in, or with this process
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- struct{}{}
		}
	}()
	return lines
}

// lap is a time that is measured.
type lap struct {
	swarm   *swarm
	viewers int
	began   time.Time
	cpu     time.Duration
}

func (s *swarm) lap(viewers int) lap { return lap{s, viewers, time.Now(), ownCPU()} }

// end prints what was measured.
func (l lap) end() {
	result := l.swarm.tally.result(l.viewers, time.Since(l.began), ownCPU()-l.cpu)
	_ = json.NewEncoder(l.swarm.out).Encode(result) // who reads it sees that it is missing
}

// serve runs the loop.
func (s *swarm) serve(ctx context.Context, finished func() bool) error {
	if s.over == plain {
		return s.loop.run(ctx, finished)
	}
	s.loop.runPosted(ctx, finished)
	return nil
}
