package main

import (
	"fmt"
	"io"

	"surgecast/origin"
)

// writeLadders prints how what makes lower rungs is, a line each, and what
// ffmpeg wrote last where it does not run.
func (s *poolStatus) writeLadders(out io.Writer, on terminal) error {
	for _, n := range s.Nodes {
		for _, l := range n.Ladders {
			if _, err := fmt.Fprintf(out, "\n%s\n", fold(ladderText(l), on.width)); err != nil {
				return err
			}
			for i := 0; i < len(l.Log) && !l.Running(); i++ {
				if _, err := fmt.Fprintln(out, on.paint(yellow, fold("  "+l.Log[i], on.width))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func ladderText(l origin.LadderStatus) string {
	text := fmt.Sprintf("%s  ladder by ffmpeg: %s", l.Stream, l.State)
	if l.Restarts > 0 {
		text += fmt.Sprintf("; started again %d times", l.Restarts)
	}
	return text
}
