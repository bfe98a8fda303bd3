// Progress reads what go test -json writes. As it comes it prints each test that
// took a second or more, and all that a failed one said. It fails if a test did, or
// if a package has no end.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// event is described by go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

func main() {
	p := progress{said: map[[2]string]string{}, open: map[string]bool{}}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			p.take(line)
		}
		if err != nil {
			break
		}
	}
	if p.failed || !p.begun || len(p.open) > 0 {
		os.Exit(1)
	}
}

type progress struct {
	said          map[[2]string]string // by package and test
	open          map[string]bool      // packages
	begun, failed bool
}

func (p *progress) take(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		os.Stdout.Write(line)
		return
	}
	test := [2]string{e.Package, e.Test}
	switch e.Action {
	case "start":
		p.begun, p.open[e.Package] = true, true
	case "build-output":
		fmt.Print(e.Output)
	case "build-fail":
		p.failed = true
	case "output":
		if e.Test != "" {
			p.said[test] += e.Output
		} else if e.Output != "PASS\n" && e.Output != "FAIL\n" {
			fmt.Print(e.Output)
		}
	case "pass", "fail", "skip":
		if e.Action == "fail" {
			p.failed = true
			fmt.Print(p.said[test])
		}
		if delete(p.said, test); e.Test == "" {
			delete(p.open, e.Package)
		} else if e.Elapsed >= 1 || e.Action == "fail" {
			fmt.Printf("%s %7.1f s  %s %s\n", e.Action, e.Elapsed, e.Package, e.Test)
		}
	}
}
