package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
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
	s := &swarm{target: target, over: plain, tally: newTally(), lists: map[string]*media{}}
	if target.secure {
		s.over = secured
	}
	if *http2 {
		s.over = h2
	}
	return s.run(ctx, *viewers, *ramp, *lasting)
}

// settleTime lies between the last viewer's joining and the measuring.
const settleTime = 3 * time.Second

func (s *swarm) run(ctx context.Context, viewers int, ramp, lasting time.Duration) (err error) {
	if s.loop, err = newLoop(s.target.address.String(), browserFields); err != nil {
		return err
	}
	defer s.loop.stop()
	for n := range viewers {
		v := &viewer{swarm: s, n: n}
		s.loop.after(ramp*time.Duration(n)/time.Duration(viewers), v.join)
	}
	var began time.Time
	var cpu time.Duration
	s.loop.after(ramp+settleTime, func() {
		s.tally.measure()
		began, cpu = time.Now(), ownCPU()
		fmt.Println(`{"Event":"measuring"}`)
	})
	ended := false
	s.loop.after(ramp+settleTime+lasting, func() { ended = true })
	if err := s.serve(ctx, func() bool { return ended }); err != nil {
		return err
	}
	if !ended {
		return context.Cause(ctx)
	}
	return json.NewEncoder(os.Stdout).Encode(s.tally.result(viewers, time.Since(began), ownCPU()-cpu))
}

// serve runs the loop.
func (s *swarm) serve(ctx context.Context, finished func() bool) error {
	if s.over == plain {
		return s.loop.run(ctx, finished)
	}
	s.loop.runPosted(ctx, finished)
	return nil
}
