package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"surgecast/origin"
)

// writeRungs prints how the rungs of each stream lie to the one that leads.
func (s *poolStatus) writeRungs(out io.Writer, on terminal) error {
	for _, n := range s.Nodes {
		stream, lead := "", ""
		for _, r := range n.Rungs {
			before := ""
			if r.Stream != stream {
				before, stream, lead = "\n", r.Stream, leadOf(n.Rungs, r.Stream)
			}
			text := fold(rungText(r, lead), on.width)
			if r.State == origin.RungMisaligned {
				text = on.paint(yellow, text)
			}
			if _, err := fmt.Fprintf(out, "%s%s\n", before, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// leadOf is the rung of a stream that leads, "" while none does.
func leadOf(rungs []origin.RungStatus, stream string) string {
	for _, r := range rungs {
		if r.Stream == stream && r.State == origin.RungLeads {
			return r.Rung
		}
	}
	return ""
}

func rungText(r origin.RungStatus, lead string) string {
	text := fmt.Sprintf("%s/%s  rung %s", r.Stream, r.Rung, r.State)
	switch r.State {
	case origin.RungAligned:
		text += fmt.Sprintf(" with %s by %s", lead, r.By)
	case origin.RungMisaligned:
		text = fmt.Sprintf("! %s/%s  rung is not aligned with %s", r.Stream, r.Rung, lead)
	}
	if r.OffsetSeconds != nil {
		text += fmt.Sprintf(", key frames %+d ms off", int(math.Round(*r.OffsetSeconds*1000)))
	}
	if r.LastMisaligned != nil && r.State != origin.RungLeads {
		text += fmt.Sprintf(", missed %s, the last %v ago", count(int(r.Misaligned), "time"), time.Since(*r.LastMisaligned).Round(time.Second))
	}
	if !r.Listed {
		text += "; not listed"
	}
	return text
}
